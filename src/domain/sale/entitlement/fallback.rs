//! A subscription that was paid without a gap for long enough leaves a perpetual license when it
//! ends. It covers the builds up to `fallback_months` of the plan before the end of the paid time.
//!
//! A period that the vendor forgave was not paid, whatever the policy says about the license of
//! that period. A payment that was returned in part counts by the policy.

use std::collections::BTreeSet;

use super::PaidEntitlement;
use super::counted::{Span, counted_invoices};
use crate::domain::license::{Basis, Term};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Sold};
use crate::domain::sale::policy::{Consequence, Policy};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;

/// A time that was paid for.
#[derive(Clone, Copy)]
struct PaidTime<'a> {
    subscription: &'a Subscription,
    start: Timestamp,
    end: Timestamp,
    sold: PlanOrAddon<'a>,
}

#[derive(Clone, Copy)]
enum PlanOrAddon<'a> {
    /// A plan by its rank, and the units.
    Plan(usize, u32),
    Addon(&'a Addon),
}

/// Returns the entitlement that each series of paid periods without a gap leaves. While a
/// subscription runs, its own entitlement is worth more, because it covers new builds.
pub(super) fn entitlements<'a>(
    state: &'a StripeState,
    catalog: &'a Catalog,
) -> Vec<PaidEntitlement<'a>> {
    let all = series(paid_times(state, catalog, &catalog.policy));
    all.iter().filter_map(|series| kept(series, catalog)).collect()
}

/// Returns the ended subscriptions that left something, whatever the policy says about refunds.
#[must_use]
pub fn subscriptions(state: &StripeState, catalog: &Catalog) -> BTreeSet<StripeSubscriptionId> {
    let all = series(paid_times(state, catalog, &Policy::KEEP_ALL));
    let leaving = all.iter().filter(|series| kept(series, catalog).is_some());
    let subscriptions = leaving.flatten().map(|time| time.subscription);
    let ended = subscriptions.filter(|subscription| subscription.status.has_ended());
    ended.map(|subscription| subscription.id.clone()).collect()
}

/// Returns every time that was paid for; none if no plan leaves anything.
fn paid_times<'a>(
    state: &'a StripeState,
    catalog: &'a Catalog,
    policy: &Policy,
) -> Vec<PaidTime<'a>> {
    let mut paid = Vec::new();
    if catalog.plans.iter().all(|plan| plan.fallback_months.is_none()) {
        return paid;
    }
    let policy = &Policy { forgiven: Consequence::Revoke, ..*policy };
    for subscription in &state.subscriptions {
        let own = counted_invoices(subscription, &state.invoices, catalog, policy);
        paid.extend(own.spans().filter_map(|span| paid_time(span, subscription, catalog)));
    }
    paid
}

/// Returns what a span was paid for. Times of a trial were not paid.
fn paid_time<'a>(
    span: Span<'_>,
    subscription: &'a Subscription,
    catalog: &'a Catalog,
) -> Option<PaidTime<'a>> {
    let is_trial =
        span.line.amount == 0 && subscription.trial_end.is_some_and(|end| span.end <= end);
    let sold = match catalog.sold(span.line.price.as_deref()?)? {
        Sold::Plan { rank, plan, .. } => PlanOrAddon::Plan(rank, plan.counted(span.units)),
        Sold::Addon { addon, .. } => PlanOrAddon::Addon(addon),
    };
    let Span { start, end, .. } = span;
    (!is_trial && start < end).then_some(PaidTime { subscription, start, end, sold })
}

/// Returns the paid times in series without a gap. A payment that came late leaves none; a month
/// that was not paid, or was refunded, does.
fn series(mut paid: Vec<PaidTime<'_>>) -> Vec<Vec<PaidTime<'_>>> {
    paid.sort_by_key(|time| (time.start, time.end));
    let mut all: Vec<(Timestamp, Vec<PaidTime<'_>>)> = Vec::new();
    for time in paid {
        match all.last_mut().filter(|(end, _)| time.start <= *end) {
            Some((end, series)) => {
                *end = time.end.max(*end);
                series.push(time);
            }
            None => all.push((time.end, vec![time])),
        }
    }
    all.into_iter().map(|(_, series)| series).collect()
}

/// Returns the highest plan that a series leaves.
fn kept<'a>(series: &[PaidTime<'a>], catalog: &'a Catalog) -> Option<PaidEntitlement<'a>> {
    let of_plans = || series.iter().filter(|time| matches!(time.sold, PlanOrAddon::Plan(..)));
    let start = of_plans().map(|time| time.start).min()?;
    let end = of_plans().map(|time| time.end).max()?;
    let plans = catalog.plans.iter().enumerate().rev();
    plans.into_iter().find_map(|(rank, plan)| {
        let months = plan.fallback_months?;
        // 31 August plus six months is 28 February, but 28 February minus six months is 28 August,
        // before the start. So the length is counted forward, and `since` is never before it.
        let is_long_enough = start.plus_months(months) <= end;
        let since = end.minus_months(months).max(start);
        let units = least_units(series, (rank, plan), (since, end)).filter(|_| is_long_enough)?;
        let has_all_the_time = |addon: &&Addon| {
            let of_addon = |time: &&PaidTime<'_>| match time.sold {
                PlanOrAddon::Addon(paid) => paid.id == addon.id,
                PlanOrAddon::Plan(..) => false,
            };
            is_gapless(series.iter().filter(of_addon), (since, end))
        };
        let of_plan = catalog.addons.iter().filter(|addon| addon.is_for(plan));
        Some(PaidEntitlement {
            plan,
            rank,
            term: Term::default(),
            quantity: units,
            addons: of_plan.filter(has_all_the_time).collect(),
            updates_until: Some(since),
            basis: Basis::Fallback,
            of: None,
        })
    })
}

/// Returns the fewest units that were paid at any moment, of this plan or a higher one; `None` if
/// at some moment only a lower plan was paid, or nothing.
fn least_units(
    series: &[PaidTime<'_>],
    (rank, plan): (usize, &Plan),
    (since, end): (Timestamp, Timestamp),
) -> Option<u32> {
    let mut moments: Vec<Timestamp> =
        series.iter().flat_map(|time| [time.start, time.end]).collect();
    moments.push(since);
    let within = moments.into_iter().filter(|moment| since <= *moment && *moment < end);
    let units = within.map(|moment| {
        let paid = series.iter().filter(|time| time.start <= moment && moment < time.end);
        let of_plan = paid.filter_map(|time| match time.sold {
            PlanOrAddon::Plan(paid, units) if paid >= rank => Some(units),
            _ => None,
        });
        of_plan.fold(0, u32::saturating_add)
    });
    let least = units.min().filter(|units| *units > 0)?;
    Some(plan.counted(least))
}

/// Returns whether these times cover the whole time, without a gap.
fn is_gapless<'p>(
    times: impl Iterator<Item = &'p PaidTime<'p>>,
    (since, end): (Timestamp, Timestamp),
) -> bool {
    let mut times: Vec<_> = times.map(|time| (time.start, time.end)).collect();
    times.sort_unstable();
    let reached =
        times.into_iter().fold(
            since,
            |reached, (start, end)| {
                if start <= reached { reached.max(end) } else { reached }
            },
        );
    reached >= end
}
