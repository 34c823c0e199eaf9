//! Determines which plans, units and periods of a subscription were paid for, from the lines that
//! `counted.rs` finds to be paid. [`super`] decides what the customer may use because of it.

use std::collections::BTreeSet;

use super::counted::{CountedInvoices, PaidLine, charges, counted_invoices, credits};
use crate::domain::sale::invoice::{Invoice, Line};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Sold};
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::{SKEW, Timestamp};

/// How much less than the exact amount for the rest of a period may be returned, in percent: people
/// count in days or months.
const ROUNDED_PERCENT: i128 = 10;

/// Returns whether an invoice is only for something beside the plan: for add-ons that were added
/// later, or for `other_prices`, such as metered usage. Whether it is paid does not decide about
/// the plan.
pub(super) fn is_beside_the_plan(invoice: &Invoice, catalog: &Catalog) -> bool {
    let is_for_other =
        |line: &Line| line.price.as_deref().is_some_and(|price| catalog.is_other_price(price));
    let is_beside = |line: &Line| is_for_addon(line, catalog) || is_for_other(line);
    !invoice.lines.is_empty() && invoice.lines.iter().all(is_beside)
}

/// Returns whether a line is for an add-on.
pub(super) fn is_for_addon(line: &Line, catalog: &Catalog) -> bool {
    let price = line.price.as_deref();
    price.is_some_and(|price| matches!(catalog.sold(price), Some(Sold::Addon { .. })))
}

/// Returns the units of a plan that are paid for at `now`. If none of its periods has begun, those
/// of the earliest; if all have ended, those of the last one, but no more than the `at_stripe`
/// units that are billed next. Without a paid line of the plan, those at Stripe count, or else 1.
pub(super) fn paid_units(
    own: &CountedInvoices<'_>,
    (rank, at_stripe): (usize, Option<u32>),
    catalog: &Catalog,
    now: Timestamp,
) -> u32 {
    let of_plan = |line: &Line| match plan_period(line, catalog)? {
        (end, Some((paid, _))) if paid == rank => Some((line.period_start, end)),
        (end, None) => Some((line.period_start, end)),
        _ => None,
    };
    let lines: Vec<_> = own
        .paid_lines
        .iter()
        .filter_map(|paid| of_plan(paid.line).map(|(start, end)| (start, end, paid.units)))
        .collect();
    let sum = |is_counted: &dyn Fn(Option<Timestamp>, Timestamp) -> bool| {
        let counted = lines.iter().filter(|(start, end, _)| is_counted(*start, *end));
        counted.map(|(_, _, units)| *units).fold(0, u32::saturating_add)
    };
    let has_begun = |start: Option<Timestamp>| start.is_none_or(|start| start <= now + SKEW);
    // Within the skew, a renewal that was paid early has begun and the former period has not ended.
    let is_followed = |end: Timestamp| {
        let mut starts = lines.iter().filter_map(|(start, ..)| *start);
        starts.any(|start| start >= end && has_begun(Some(start)))
    };
    let running = |start, end| has_begun(start) && end > now && !is_followed(end);
    if lines.iter().any(|(start, end, _)| running(*start, *end)) {
        return sum(&running);
    }
    let at_stripe = at_stripe.unwrap_or(1);
    if let Some(first) =
        lines.iter().filter(|(_, end, _)| *end > now).map(|(start, ..)| *start).min()
    {
        return sum(&|start, end| start == first && end > now);
    }
    match lines.iter().map(|(_, end, _)| *end).max() {
        Some(last) => sum(&|_, end| end == last).min(at_stripe),
        None => at_stripe,
    }
}

/// Returns whether an add-on is paid for at `now`: by a line that has begun and not ended, or by
/// the last one while a renewal is not paid yet.
pub(super) fn is_addon_paid(own: &CountedInvoices<'_>, addon: &Addon, now: Timestamp) -> bool {
    let is_of_addon = |line: &Line| {
        let price = line.price.as_deref();
        price.is_some_and(|price| addon.price_ids().any(|id| id == price))
    };
    let last = own.paid_lines.iter().filter_map(|paid| paid.line.period_end).max();
    own.paid_lines.iter().filter(|paid| is_of_addon(paid.line)).any(|paid| {
        let has_begun = paid.line.period_start.is_none_or(|start| start <= now + SKEW);
        let end = paid.line.period_end;
        has_begun && (end > Some(now) || end == last)
    })
}

/// Returns the highest plan that was paid for, and the end of its period. Plans above the rank
/// `wanted` count alike; of those, the later end wins. Each is `None` if the lines of the invoices
/// do not have it. Returns `None` if no invoice was paid, or if the policy revokes the one for the
/// plan and only others were paid.
pub(super) fn paid_through<'c>(
    own: &CountedInvoices<'_>,
    catalog: &'c Catalog,
    (wanted, now): (usize, Timestamp),
) -> Option<(Option<&'c Plan>, Option<Timestamp>)> {
    let policy = &catalog.policy;
    let is_for_plan = |invoice: &&&Invoice| !is_beside_the_plan(invoice, catalog);
    if !own.invoices.iter().filter(is_for_plan).any(|invoice| invoice.is_paid(policy)) {
        return None;
    }
    let of_plans = own.paid_lines.iter().filter_map(|paid| plan_period(paid.line, catalog));
    // The highest plan whose period has not ended. If all have ended, the latest end counts.
    let best = of_plans.max_by_key(|(end, plan)| {
        let rank = plan.map(|(rank, _)| rank);
        (rank.filter(|_| *end > now).map(|rank| rank.min(wanted)), *end, rank)
    });
    if let Some((end, plan)) = best {
        return Some((plan.map(|(_, plan)| plan), Some(end)));
    }
    let mut revoked = own.invoices.iter().filter(|invoice| invoice.is_revoked(policy));
    let is_plan_revoked = revoked
        .any(|invoice| invoice.lines.iter().any(|line| plan_period(line, catalog).is_some()));
    (!is_plan_revoked).then_some((None, None))
}

/// Returns the end of the period that a line covers, and the plan with its rank if the line names a
/// price; `None` if the line is not for a plan.
pub(super) fn plan_period<'c>(
    line: &Line,
    catalog: &'c Catalog,
) -> Option<(Timestamp, Option<(usize, &'c Plan)>)> {
    let plan = match &line.price {
        Some(price) => Some(catalog.by_price(price)?),
        None => None,
    };
    Some((line.period_end?, plan))
}

/// Returns whether the policy revokes an invoice for a period after `paid_until`, and no later
/// invoice for a plan was paid. Then no payment is expected.
pub(super) fn is_later_period_revoked(
    own: &[&Invoice],
    catalog: &Catalog,
    paid_until: Timestamp,
) -> bool {
    let ends = |invoice: &Invoice| {
        invoice.lines.iter().filter_map(|line| plan_period(line, catalog)).map(|(end, _)| end).max()
    };
    own.iter().filter(|invoice| invoice.is_revoked(&catalog.policy)).any(|invoice| {
        let is_paid_since =
            |later: &&&Invoice| later.created > invoice.created && later.is_paid(&catalog.policy);
        ends(invoice) > Some(paid_until)
            && !own.iter().filter(is_paid_since).any(|later| ends(later).is_some())
    })
}

/// Returns the invoices that were paid after a subscription was canceled, with what they sold;
/// `None` if it was not canceled. Dunning cancels a subscription whose renewal is not paid in time,
/// and the invoice stays payable (<https://docs.stripe.com/billing/subscriptions/cancel>). What was
/// paid before the end grants nothing: the vendor or the customer canceled the subscription. What
/// any invoice credits is removed, whenever that was paid. A change that credits what a late
/// invoice sold is paid by that one, although Stripe reported it as paid before.
pub(super) fn paid_after_end<'i>(
    subscription: &Subscription,
    invoices: &'i [Invoice],
    catalog: &Catalog,
) -> Option<CountedInvoices<'i>> {
    let ended_at = subscription.ended_at?;
    let counted = counted_invoices(subscription, invoices, catalog, &catalog.policy);
    let is_late = |invoice: &Invoice| {
        // Stripe may create a final invoice when the subscription ends, for the time before it.
        invoice.created < ended_at
            && invoice.paid_at.is_some_and(|paid| paid > ended_at)
            && !invoice.is_forgiven()
    };
    let (mut late, mut sold) = (BTreeSet::new(), BTreeSet::new());
    // The oldest come first, so one pass also finds what credits the change of a change.
    for invoice in counted.invoices.iter().filter(|invoice| invoice.is_paid(&catalog.policy)) {
        let mut credited = credits(invoice).flat_map(|credit| &credit.credits);
        // A change in the second of the end has no charge, unlike a final invoice.
        let is_change = invoice.created < ended_at
            || (invoice.created == ended_at && invoice.charged_at.is_none());
        let is_paid_by_late = is_change && credited.any(|line| sold.contains(line.as_str()));
        if is_late(invoice) || is_paid_by_late {
            late.insert(&invoice.id);
            sold.extend(charges(invoice).map(|line| line.id.as_str()));
        }
    }
    Some(counted.only(&late))
}

/// Returns the end of a paid period that is longer than the subscription, if its invoice was open
/// when the end was scheduled: it stays payable, and what it sells is cut short. A renewal after
/// that was expected. It is settled once the money for the time after the end was returned.
pub(super) fn paid_beyond_end(
    subscription: &Subscription,
    own: &CountedInvoices<'_>,
    catalog: &Catalog,
) -> Option<(Timestamp, Timestamp)> {
    let (ends_at, scheduled_at) = (subscription.ends_at(catalog)?, subscription.canceled_at?);
    let is_since = |paid: &&PaidLine<'_>| {
        let mut invoices = own.invoices.iter().filter(|invoice| invoice.id == *paid.invoice);
        invoices.any(|invoice| {
            let was_open = invoice.created <= scheduled_at;
            was_open
                && invoice.paid_at >= Some(scheduled_at)
                && !is_rest_returned(invoice, own, ends_at)
        })
    };
    let since = own.paid_lines.iter().filter(|paid| paid.units > 0).filter(is_since);
    let end = since.filter_map(|paid| plan_period(paid.line, catalog)).map(|(end, _)| end).max();
    end.filter(|end| *end > ends_at + SKEW).map(|end| (ends_at, end))
}

/// Returns whether so much of an invoice was returned as it bills for the time after `ends_at`.
/// Discounts and credits lower what was paid for each of its lines alike.
fn is_rest_returned(invoice: &Invoice, own: &CountedInvoices<'_>, ends_at: Timestamp) -> bool {
    let seconds = |start: Timestamp, end: Timestamp| i128::from((end - start).num_seconds());
    let rest = |paid: &PaidLine<'_>| {
        let end = paid.line.period_end?;
        let start = paid.line.period_start.unwrap_or(invoice.created).min(end);
        let unused = seconds(start.max(ends_at).min(end), end);
        Some(i128::from(paid.amount()) * unused / seconds(start, end).max(1))
    };
    let lines = own.paid_lines.iter().filter(|paid| *paid.invoice == invoice.id);
    let rest: i128 = lines.filter_map(rest).sum();
    let charged: i128 = charges(invoice).map(|line| i128::from(line.amount)).sum();
    let rest = i128::from(invoice.amount) * rest / charged.max(1);
    invoice.returned > 0 && i128::from(invoice.returned) * 100 >= rest * (100 - ROUNDED_PERCENT)
}

/// Returns the highest plan of these invoices whose period has not ended, with its rank and the end
/// of the period.
pub(super) fn last_period<'c>(
    paid: &CountedInvoices<'_>,
    subscription: &Subscription,
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(usize, &'c Plan, Timestamp)> {
    let of_subscription = subscription.plan(catalog).map(|(plan, _)| plan);
    let periods = paid.paid_lines.iter().filter_map(|paid| {
        let (end, plan) = plan_period(paid.line, catalog)?;
        let plan = plan.map(|(_, plan)| plan).or(of_subscription)?;
        (end > now).then(|| (catalog.rank(plan.id.as_str()), plan, end))
    });
    periods.max_by_key(|(rank, _, end)| (*rank, *end))
}

/// Returns the time of the last payment of these invoices.
pub(super) fn last_payment(paid: &CountedInvoices<'_>) -> Option<Timestamp> {
    paid.invoices.iter().filter_map(|invoice| invoice.paid_at).max()
}
