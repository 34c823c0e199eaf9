//! Decides what one subscription grants: which plan, until when, with which grace.

use chrono::TimeDelta;

use super::counted::{CountedInvoices, charges, counted_invoices};
use super::paid::{
    is_addon_paid, is_beside_the_plan, is_later_period_revoked, last_payment, last_period,
    paid_after_end, paid_beyond_end, paid_through, paid_units, plan_period,
};
use super::{Alert, PaidEntitlement, is_recent};
use crate::domain::license::{Basis, Phase, Term};
use crate::domain::sale::invoice::{BillingReason, Invoice, Line, Payment};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Quantity, Sold};
use crate::domain::sale::subscription::{Item, Status, Subscription};
use crate::domain::time::Timestamp;

/// The least grace while a bank debit for a renewal is processing and Stripe reports the
/// subscription as active (<https://docs.stripe.com/payments/sepa-debit>).
const PROCESSING: TimeDelta = TimeDelta::days(14);

/// The least grace while a renewal is not collected yet: its invoice is a draft for an hour, or
/// longer when Stripe has problems
/// (<https://docs.stripe.com/billing/invoices/subscription>).
const DRAFT: TimeDelta = TimeDelta::days(3);

/// The longest grace during a trial at Stripe, or after one if nothing was paid since.
const AFTER_TRIAL: TimeDelta = TimeDelta::days(1);

/// The result for one subscription.
pub(super) enum Standing<'a> {
    /// The subscription grants this.
    Grants(PaidEntitlement<'a>),
    /// Nothing.
    Nothing,
    /// Something about it is unknown to this version or to the plans file.
    Unclear,
}

/// Returns what a subscription grants at `now`, and adds what an operator should check about it.
pub(super) fn standing<'a>(
    subscription: &'a Subscription,
    invoices: &[Invoice],
    catalog: &'a Catalog,
    now: Timestamp,
    alerts: &mut Vec<Alert>,
) -> Standing<'a> {
    match &subscription.status {
        Status::Trialing | Status::Active | Status::PastDue => {}
        Status::Unknown(status) => {
            alerts.push(Alert::UnknownStatus(status.clone()));
            return Standing::Unclear;
        }
        Status::Canceled => {
            let late = paid_after_end(subscription, invoices, catalog);
            let Some((rank, plan, until)) =
                late.as_ref().and_then(|late| last_period(late, subscription, catalog, now))
            else {
                let paid_at = late.as_ref().and_then(last_payment);
                let paid_at = paid_at.filter(|paid_at| is_recent(*paid_at, now));
                let alert = |paid_at| Alert::PaidTooLate { id: subscription.id.clone(), paid_at };
                alerts.extend(paid_at.map(alert));
                return Standing::Nothing;
            };
            alerts.push(Alert::PaidAfterEnd(subscription.id.clone()));
            let term = Term { expires: Some(until), grace_until: None };
            let units = late.as_ref().map_or(Units::AtStripe, Units::Paid);
            return entitled(subscription, (rank, plan, term), units, catalog, now);
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
    let own = counted_invoices(subscription, invoices, catalog, &catalog.policy);
    if subscription.is_trial_refused && !has_paid_after_trial(subscription, &own, catalog) {
        return Standing::Nothing;
    }
    alerts.extend(unsold_items(subscription, plan, catalog));
    alerts.extend(paid_beyond_end(subscription, &own, catalog).map(|(ends_at, paid_until)| {
        Alert::PaidBeyondEnd { id: subscription.id.clone(), ends_at, paid_until }
    }));
    match granted(subscription, (plan, item), &own, catalog, now) {
        Some((plan, term)) if term.phase(now) != Phase::Over => {
            let rank = catalog.rank(plan.id.as_str());
            let units = if bills_nothing_yet(subscription, &own) {
                Units::AtStripe
            } else {
                Units::Paid(&own)
            };
            entitled(subscription, (rank, plan, term), units, catalog, now)
        }
        _ => Standing::Nothing,
    }
}

/// Returns whether a subscription grants its plan without a payment: in a trial, or because it has
/// no invoice.
fn bills_nothing_yet(subscription: &Subscription, own: &CountedInvoices<'_>) -> bool {
    match subscription.status {
        Status::Trialing => true,
        Status::Active => own.invoices.is_empty() && !subscription.awaits_payment,
        _ => false,
    }
}

/// The source of the number of units and of the add-ons.
enum Units<'o> {
    /// The quantities of the items: nothing is billed yet.
    AtStripe,
    /// The lines that were paid for.
    Paid(&'o CountedInvoices<'o>),
}

/// Returns the entitlement to a plan with the units and the add-ons that count; nothing for no
/// units.
fn entitled<'a>(
    subscription: &'a Subscription,
    (rank, plan, term): (usize, &'a Plan, Term),
    units: Units<'_>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Standing<'a> {
    let items = || subscription.items.iter();
    let of_plan = |price: &str| catalog.by_price(price).is_some_and(|(of, _)| of == rank);
    let at_stripe = || {
        let own = items().filter(|item| of_plan(&item.price));
        own.map(|item| item.quantity.unwrap_or(1))
            .fold(None, |sum: Option<u32>, units| Some(sum.unwrap_or(0).saturating_add(units)))
    };
    let quantity = match &units {
        Units::AtStripe => at_stripe().unwrap_or(1),
        Units::Paid(own) => paid_units(own, (rank, at_stripe()), catalog, now),
    };
    let is_bought = |addon: &&Addon| match &units {
        Units::AtStripe => items().any(|item| {
            item.quantity != Some(0) && addon.price_ids().any(|price| price == item.price)
        }),
        Units::Paid(own) => is_addon_paid(own, addon, now),
    };
    let of_plan = catalog.addons.iter().filter(|addon| addon.is_for(plan));
    let addons = of_plan.filter(is_bought).collect();
    if quantity == 0 {
        return Standing::Nothing;
    }
    let quantity = plan.counted(quantity);
    let basis = Basis::Subscription;
    let of = Some(subscription);
    Standing::Grants(PaidEntitlement {
        plan,
        rank,
        term,
        quantity,
        addons,
        updates_until: None,
        basis,
        of,
    })
}

/// Returns what an operator should check about the items at Stripe, which anyone can change there:
/// quantities that the plans file does not sell, add-ons that belong to no plan, lower plans, and
/// prices of nothing. Metered items are for something else.
fn unsold_items(subscription: &Subscription, plan: &Plan, catalog: &Catalog) -> Vec<Alert> {
    let check = |item: &Item| {
        let found = item.quantity?;
        match catalog.sold(&item.price) {
            Some(Sold::Plan { plan: of, .. }) if of.id == plan.id => {
                Alert::unsold(&plan.id, found, plan.quantity, None)
            }
            Some(Sold::Addon { addon, .. }) if !addon.is_for(plan) => {
                Some(Alert::AddonWithoutPlan { addon: addon.id.clone(), paid_at: None })
            }
            Some(Sold::Addon { addon, .. }) => Alert::unsold(&addon.id, found, Quantity::ONE, None),
            Some(Sold::Plan { plan: of, .. }) => (found > 0)
                .then(|| Alert::SecondPlan { plan: of.id.clone(), granted: plan.id.clone() }),
            None => (found > 0 && !catalog.is_other_price(&item.price))
                .then(|| Alert::UnknownPrice(item.price.clone())),
        }
    };
    subscription.items.iter().filter_map(check).collect()
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
    own: &CountedInvoices<'_>,
    catalog: &'c Catalog,
    now: Timestamp,
) -> Option<(&'c Plan, Term)> {
    let invoices = &own.invoices;
    let period_end = item.period_end?;
    let policy = &catalog.policy;
    // A free invoice may still wait for the payment of an earlier debt. What it bills takes effect
    // when it is paid, like anything else.
    let is_due = |invoice: &&&Invoice| {
        invoice.amount_billed() > 0 || (invoice.is_unpaid() && !invoice.is_forgiven())
    };
    let decides = |invoice: &&&Invoice| !is_beside_the_plan(invoice, catalog);
    let newest = invoices.iter().filter(decides).filter(is_due).max_by_key(|i| i.created);
    let unsettled = newest.filter(|invoice| !invoice.is_paid(policy)).copied();
    let is_newest_revoked = unsettled.is_some_and(|invoice| invoice.is_revoked(policy));
    let is_newest_returned = unsettled.is_some_and(|invoice| invoice.is_returned(policy));
    let rank = |plan: &Plan| catalog.rank(plan.id.as_str());
    let at_most =
        |limit: Option<&'c Plan>| limit.filter(|limit| rank(limit) < rank(plan)).unwrap_or(plan);
    let (plan, paid_until) = match subscription.status {
        Status::Trialing => (plan, subscription.trial_end.unwrap_or(period_end)),
        Status::Active if bills_nothing_yet(subscription, own) => (plan, period_end),
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
                let of = plan_period(line, catalog).and_then(|(_, of)| of);
                line.period_end <= item.period_start && of.is_some_and(|(of, _)| of >= rank(plan))
            };
            let is_unpaid = unsettled
                .is_some_and(|invoice| !invoice.lines.iter().any(is_earlier_change))
                || own.has_dropped_plan
                || subscription.status == Status::PastDue;
            let plan = at_most(paid_plan.filter(|_| is_unpaid));
            (plan, until.or(of_period)?.min(period_end))
        }
    };
    let has_paid = has_paid_after_trial(subscription, own, catalog);
    let is_trialing = subscription.status == Status::Trialing;
    let has_trial_grace = is_trialing || (subscription.trial_end.is_some() && !has_paid);
    let is_revoked = is_newest_revoked || is_later_period_revoked(invoices, catalog, paid_until);
    let grace = if is_revoked {
        TimeDelta::zero()
    } else {
        grace(subscription, plan, own, unsettled, catalog, (paid_until, period_end))
    };
    let grace = if has_trial_grace { grace.min(AFTER_TRIAL) } else { grace };
    let scheduled = subscription.ends_at(catalog);
    let expires = scheduled.map_or(paid_until, |end| end.min(paid_until));
    // Grace waits for a payment. After a scheduled end, no payment follows.
    let latest = Timestamp::or_never(scheduled);
    let grace_until = Some((paid_until + grace).min(latest)).filter(|until| *until > expires);
    Some((plan, Term { expires: Some(expires), grace_until }))
}

/// Returns whether an invoice for a time after the trial was paid. It may be free because of a
/// discount or the customer's balance (stripe_36). One that only credits something pays for
/// nothing.
fn has_paid_after_trial(
    subscription: &Subscription,
    own: &CountedInvoices<'_>,
    catalog: &Catalog,
) -> bool {
    own.invoices.iter().any(|invoice| {
        let is_after_trial = invoice.amount > 0
            || invoice.reason == BillingReason::Renewal
            || charges(invoice).any(|line| line.period_end > subscription.trial_end);
        is_after_trial && invoice.is_paid(&catalog.policy)
    })
}

/// Returns how long the plan works after the end of the paid time. `unsettled` is the newest due
/// invoice, if it does not count as paid.
fn grace(
    subscription: &Subscription,
    plan: &Plan,
    own: &CountedInvoices<'_>,
    unsettled: Option<&Invoice>,
    catalog: &Catalog,
    (paid_until, period_end): (Timestamp, Timestamp),
) -> TimeDelta {
    let usual = TimeDelta::days(plan.grace_days.into());
    let is_processing = unsettled.is_some_and(|invoice| invoice.payment == Payment::Processing);
    let bills_more = |invoice: &Invoice| {
        let mut ends = invoice.lines.iter().filter_map(|line| plan_period(line, catalog));
        ends.any(|(end, _)| end > paid_until)
    };
    // A sent invoice is paid by hand: the grace begins at the due date of the oldest unpaid one.
    // Stripe may report `active` meanwhile, and newer invoices are due later. An older invoice for
    // a period before the paid one does not shorten what was paid for.
    let sent = own.invoices.iter().filter(|invoice| {
        invoice.is_unpaid() && !invoice.is_paid(&catalog.policy) && bills_more(invoice)
    });
    if let Some(oldest) = sent.filter_map(|invoice| invoice.due).min() {
        let least = if is_processing { PROCESSING } else { TimeDelta::zero() };
        return (oldest - paid_until + usual).max(least);
    }
    if subscription.status != Status::Active {
        return usual;
    }
    // A voided renewal is no longer collected, so no payment is due.
    let is_given_up = |invoice: &Invoice| !invoice.is_collectible() && bills_more(invoice);
    if unsettled.is_some_and(is_given_up) && !subscription.collection_paused {
        return TimeDelta::zero();
    }
    let needed = match (is_processing, paid_until < period_end) {
        (true, _) => PROCESSING,
        (false, true) => DRAFT,
        (false, false) => TimeDelta::zero(),
    };
    usual.max(needed)
}
