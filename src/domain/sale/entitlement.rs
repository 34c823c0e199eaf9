//! Decides which plan a customer may use because of Stripe's state, and until when: a pure function
//! from a [`StripeState`] to an [`Assessment`]. [`crate::domain::sale::settlement`] decides what
//! changes because of it.
//!
//! Each assessment reads the whole state. It does not depend on earlier events, so lost, repeated
//! and reordered events lead to the same result.

mod paid;

use std::fmt;

use chrono::TimeDelta;

use crate::domain::license::{Entitlement, Phase, Source, Term};
use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus, Line, Payment};
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Item, Status, Subscription};
use crate::domain::time::Timestamp;

use paid::{
    Counted, counting, covers, is_later_period_revoked, paid_after_end, paid_through, plan_invoices,
};

/// The least grace while a bank debit for a renewal is processing and Stripe reports the
/// subscription as active (<https://docs.stripe.com/payments/sepa-debit>).
const PROCESSING: TimeDelta = TimeDelta::days(14);

/// The least grace while a renewal is not collected yet: its invoice is a draft for an hour, or
/// longer when Stripe has problems
/// (<https://docs.stripe.com/billing/invoices/subscription>).
const DRAFT: TimeDelta = TimeDelta::days(3);

/// The longest grace during a trial at Stripe, or after one if nothing was paid since.
const AFTER_TRIAL: TimeDelta = TimeDelta::days(1);

/// Something at Stripe that an operator should check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// More than one subscription grants something: the customer pays twice.
    SeveralLive,
    /// No plan has any of these prices.
    UnknownPrice(String),
    /// A live subscription without items.
    NoItems(StripeSubscriptionId),
    /// A subscription status that this version does not know.
    UnknownStatus(String),
    /// The customer paid a renewal after this subscription had ended.
    PaidAfterEnd(StripeSubscriptionId),
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralLive => formatter.write_str(
                "the customer has several live subscriptions and pays for each; cancel all but one \
                 at Stripe",
            ),
            Self::UnknownPrice(price) => write!(
                formatter,
                "the customer has a live subscription to {price}, which no plan has; add it to the \
                 plan's `prices` or `former_prices`, or to `other_prices` if it is for no plan"
            ),
            Self::NoItems(id) => write!(
                formatter,
                "the subscription {id} has no items; give it a plan's price at Stripe, or cancel \
                 it; the license stays as it is"
            ),
            Self::UnknownStatus(status) => write!(
                formatter,
                "a subscription has the status {status:?}, which this version does not know; the \
                 license stays as it is"
            ),
            Self::PaidAfterEnd(id) => write!(
                formatter,
                "the customer paid a renewal after the subscription {id} had ended; the period is \
                 licensed, and no renewal follows; ask whether they want a new subscription"
            ),
        }
    }
}

/// What Stripe's state means for a customer.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// The current subscription: the one to show and to write mails about. `None` if the customer
    /// never had one.
    pub subscription: Option<&'a Subscription>,
    /// What the customer may use because of a payment. `None` leaves a trial or a grant as it is.
    pub entitlement: Option<Entitlement<'a>>,
    /// Whether this version or the plans file does not know something about a subscription. Then no
    /// license is revoked.
    pub is_unclear: bool,
    /// What an operator should check.
    pub alerts: Vec<Alert>,
}

/// What one subscription grants.
enum Standing<'c> {
    /// A plan with its rank, for this term.
    Grants(usize, &'c Plan, Term),
    /// Nothing.
    Nothing,
    /// Something about it is unknown to this version or to the plans file.
    Unclear,
}

/// Returns what a customer may use at `now`, because of everything that Stripe says. `current` is
/// the subscription that was current at the last sync.
#[must_use]
pub fn assess<'a>(
    state: &'a StripeState,
    current: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Assessment<'a> {
    // A subscription to something besides the plans is never current and never unclear.
    let concerns_us = |subscription: &&Subscription| {
        subscription.is_ours
            || current == Some(&subscription.id)
            || subscription.plan(catalog).is_some()
    };
    let mut alerts = Vec::new();
    let mut unclear = None;
    let mut granting: Vec<(usize, &Plan, Term, &Subscription)> = Vec::new();
    for subscription in &state.subscriptions {
        match standing(subscription, &state.invoices, catalog, now, &mut alerts) {
            Standing::Grants(rank, plan, term) => granting.push((rank, plan, term, subscription)),
            Standing::Unclear => unclear = Some(subscription).filter(concerns_us).or(unclear),
            Standing::Nothing => {}
        }
    }
    if granting.iter().filter(|(.., subscription)| subscription.status.is_live()).count() > 1 {
        alerts.push(Alert::SeveralLive);
    }
    if state.is_deleted {
        granting.clear();
    }
    granting.sort_by_key(|(rank, _, term, subscription)| {
        (*rank, term.ends().unwrap_or(Timestamp::MAX), subscription.created, &subscription.id)
    });
    let best = granting.last();
    // A renewal that was paid late may grant more than the subscription that is charged.
    let live = granting.iter().rev().find(|(.., subscription)| subscription.status.is_live());
    // A current subscription that becomes unclear stays current. Otherwise the next sync would no
    // longer know that it concerns us.
    let still_current = unclear.filter(|subscription| current == Some(&subscription.id));
    let subscription = still_current
        .or(live.or(best).map(|(.., subscription)| *subscription))
        .or(unclear)
        .or_else(|| most_recent(state.subscriptions.iter().filter(concerns_us)));
    let entitlement =
        best.map(|&(_, plan, term, _)| Entitlement::new(plan, Source::Subscription, term));
    Assessment {
        subscription,
        entitlement,
        is_unclear: unclear.is_some() && !state.is_deleted,
        alerts,
    }
}

/// Returns the subscription to show when none grants anything: a live one, or else the newest.
fn most_recent<'a>(all: impl Iterator<Item = &'a Subscription>) -> Option<&'a Subscription> {
    all.max_by_key(|subscription| {
        (subscription.status.is_live(), subscription.created, &subscription.id)
    })
}

fn standing<'c>(
    subscription: &Subscription,
    invoices: &[Invoice],
    catalog: &'c Catalog,
    now: Timestamp,
    alerts: &mut Vec<Alert>,
) -> Standing<'c> {
    match &subscription.status {
        Status::Trialing | Status::Active | Status::PastDue => {}
        Status::Unknown(status) => {
            alerts.push(Alert::UnknownStatus(status.clone()));
            return Standing::Unclear;
        }
        Status::Canceled => {
            let Some((rank, plan, until)) = paid_after_end(subscription, invoices, catalog, now)
            else {
                return Standing::Nothing;
            };
            alerts.push(Alert::PaidAfterEnd(subscription.id.clone()));
            return Standing::Grants(rank, plan, Term { expires: Some(until), grace_until: None });
        }
        _ => return Standing::Nothing,
    }
    let Some((plan, item)) = subscription.plan(catalog) else {
        let items = &subscription.items;
        if !items.is_empty() && items.iter().all(|item| catalog.is_other_price(&item.price)) {
            return Standing::Nothing;
        }
        let prices = items.iter().map(|item| item.price.as_str()).collect::<Vec<_>>();
        alerts.push(match prices.is_empty() {
            true => Alert::NoItems(subscription.id.clone()),
            false => Alert::UnknownPrice(prices.join(", ")),
        });
        return Standing::Unclear;
    };
    if is_inconsistent(subscription, invoices) {
        return Standing::Unclear;
    }
    let own = plan_invoices(subscription, invoices, catalog);
    match granted(subscription, (plan, item), &counting(&own, catalog), catalog, now) {
        Some((plan, term)) if term.phase(now) != Phase::Over => {
            Standing::Grants(catalog.rank(plan.id.as_str()), plan, term)
        }
        _ => Standing::Nothing,
    }
}

/// Returns whether the subscription changed between the calls that listed it and its invoices: none
/// of its invoices is listed, or one that is newer than its latest. After a plan change between the
/// two calls, the old plan would be granted for a payment for the new one.
fn is_inconsistent(subscription: &Subscription, invoices: &[Invoice]) -> bool {
    let Some(latest) = &subscription.latest_invoice else { return false };
    let mut own = invoices.iter().filter(|invoice| invoice.is_of(&subscription.id)).peekable();
    if own.peek().is_none() {
        return true;
    }
    // The oldest comes first. `latest_invoice` is never one that the vendor created by hand.
    let automatic: Vec<_> = own.filter(|invoice| invoice.reason != BillingReason::Manual).collect();
    automatic
        .iter()
        .position(|invoice| invoice.id == *latest)
        .is_some_and(|place| place + 1 < automatic.len())
}

/// Returns the plan that a trialing, active or past-due subscription grants, and its term. `None`
/// if its item has no period, or if it had to be paid and was not, or the money was returned.
fn granted<'c>(
    subscription: &Subscription,
    (plan, item): (&'c Plan, &Item),
    own: &Counted<'_>,
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(&'c Plan, Term)> {
    let invoices = &own.invoices;
    let period_end = item.period_end?;
    let policy = &catalog.policy;
    // A free invoice may still wait for the payment of an earlier debt. What it bills takes effect
    // when it is paid, like anything else.
    let is_due = |invoice: &&&Invoice| {
        let is_unpaid =
            matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible);
        invoice.amount_billed() > 0 || (is_unpaid && !invoice.is_forgiven())
    };
    let newest = invoices.iter().filter(is_due).max_by_key(|i| i.created);
    let unsettled = newest.filter(|invoice| !invoice.is_paid(policy)).copied();
    let is_newest_revoked = unsettled.is_some_and(|invoice| invoice.is_revoked(policy));
    let is_newest_returned = unsettled.is_some_and(|invoice| invoice.is_returned(policy));
    let rank = |plan: &Plan| catalog.rank(plan.id.as_str());
    let at_most =
        |limit: Option<&'c Plan>| limit.filter(|limit| rank(limit) < rank(plan)).unwrap_or(plan);
    let (plan, paid) = match subscription.status {
        Status::Trialing => (plan, subscription.trial_end.unwrap_or(period_end)),
        // A subscription that bills nothing yet has no invoice.
        Status::Active if invoices.is_empty() && !subscription.awaits_payment => (plan, period_end),
        // The vendor paused collection: the license continues, but a higher plan must be paid for.
        Status::Active if subscription.collection_paused && !is_newest_returned => {
            let (paid_plan, _) = paid_through(own, catalog, (rank(plan), now))?;
            (at_most(paid_plan), period_end)
        }
        _ => {
            let (paid_plan, until) = paid_through(own, catalog, (rank(plan), now))?;
            let of_period = if unsettled.is_some() { item.period_start } else { Some(period_end) };
            // A plan change takes effect when it is paid, except while it is billed together with
            // an unsettled renewal.
            let is_earlier_change = |line: &Line| {
                let of = covers(line, catalog).and_then(|(_, of)| of);
                line.period_end <= item.period_start && of.is_some_and(|(of, _)| of >= rank(plan))
            };
            let is_unpaid = unsettled
                .is_some_and(|invoice| !invoice.lines.iter().any(is_earlier_change))
                || subscription.status == Status::PastDue;
            let plan = at_most(paid_plan.filter(|_| is_unpaid));
            (plan, until.or(of_period)?.min(period_end))
        }
    };
    // A renewal that was free because of a discount is not part of a trial.
    let has_paid = invoices.iter().any(|invoice| {
        let is_after_trial = invoice.amount > 0 || invoice.reason == BillingReason::Renewal;
        is_after_trial && invoice.is_paid(policy)
    });
    let is_trialing = subscription.status == Status::Trialing;
    let has_trial_grace = is_trialing || (subscription.trial_end.is_some() && !has_paid);
    let is_revoked = is_newest_revoked || is_later_period_revoked(invoices, catalog, paid);
    let grace = if is_revoked {
        TimeDelta::zero()
    } else {
        grace(subscription, plan, own, unsettled, catalog, (paid, period_end))
    };
    let grace = if has_trial_grace { grace.min(AFTER_TRIAL) } else { grace };
    let scheduled = subscription.ends_at(catalog);
    let expires = scheduled.map_or(paid, |end| end.min(paid));
    // Grace waits for a payment. After a scheduled end, no payment follows.
    let latest = scheduled.unwrap_or(Timestamp::MAX);
    let grace_until = Some((paid + grace).min(latest)).filter(|until| *until > expires);
    Some((plan, Term { expires: Some(expires), grace_until }))
}

/// Returns how long the plan works after the end of the paid time. `unsettled` is the newest due
/// invoice, if it does not count as paid.
fn grace(
    subscription: &Subscription,
    plan: &Plan,
    own: &Counted<'_>,
    unsettled: Option<&Invoice>,
    catalog: &Catalog,
    (paid, period_end): (Timestamp, Timestamp),
) -> TimeDelta {
    let usual = TimeDelta::days(plan.grace_days.into());
    let is_processing = unsettled.is_some_and(|invoice| invoice.payment == Payment::Processing);
    let bills_more = |invoice: &Invoice| {
        let mut ends = invoice.lines.iter().filter_map(|line| covers(line, catalog));
        ends.any(|(end, _)| end > paid)
    };
    // A sent invoice is paid by hand: the grace begins at the due date of the oldest unpaid one.
    // Stripe may report `active` meanwhile, and newer invoices are due later. An older invoice for
    // a period before the paid one does not shorten what was paid for.
    let sent = own.invoices.iter().filter(|invoice| {
        let is_unpaid =
            matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible);
        is_unpaid && !invoice.is_paid(&catalog.policy) && bills_more(invoice)
    });
    if let Some(oldest) = sent.filter_map(|invoice| invoice.due).min() {
        let least = if is_processing { PROCESSING } else { TimeDelta::zero() };
        return (oldest - paid + usual).max(least);
    }
    if subscription.status != Status::Active {
        return usual;
    }
    // A voided renewal is no longer collected, so no payment is due.
    let is_given_up = |invoice: &Invoice| !invoice.is_collectible() && bills_more(invoice);
    if unsettled.is_some_and(is_given_up) && !subscription.collection_paused {
        return TimeDelta::zero();
    }
    let needed = match (is_processing, paid < period_end) {
        (true, _) => PROCESSING,
        (false, true) => DRAFT,
        (false, false) => TimeDelta::zero(),
    };
    usual.max(needed)
}

#[cfg(test)]
pub(crate) mod tests;
