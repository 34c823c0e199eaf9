//! Decides which mail a settlement sends: at most one, about the most important change. It contains
//! the license that the settlement issues, or else is about the current one. The texts are in
//! [`crate::domain::message`].

use chrono::TimeDelta;

use super::licenses::LicenseChanges;
use super::{Change, Record};
use crate::domain::ids::OrderId;
use crate::domain::license::{Basis, Entitlement, IssuedLicense, Phase, Source};
use crate::domain::message::Kind;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::{Catalog, Interval};
use crate::domain::sale::subscription::{Status, SubscriptionRow};
use crate::domain::time::Timestamp;

/// The changes to the subscription that a mail may report.
#[derive(Clone, Copy)]
struct News {
    /// It is newly scheduled to end.
    is_ending: bool,
    /// It became past due.
    became_past_due: bool,
    /// It was paused, for example because its trial ended without a payment method.
    became_paused: bool,
    /// It ended, and no mail has announced that.
    has_ended: bool,
}

/// Returns the kind of mail to send, if any. `after` is the subscription to store, and `orders` are
/// the changes of orders.
pub(super) fn decide(
    record: &Record,
    after: Option<&SubscriptionRow>,
    (licenses, orders): (&LicenseChanges<'_>, &[Change<'_>]),
    catalog: &Catalog,
    now: Timestamp,
) -> Option<Kind> {
    let news = news(record.subscription.as_ref(), after);
    let current = record.current_license.as_ref();
    if let Some(issued) = &licenses.issue {
        let status = after.map(|row| &row.status);
        let paid: Vec<_> = newly_paid(orders, now).collect();
        return Some(kind_of_issued(issued, record, (news, status, &paid), catalog, now));
    }
    let current = current?;
    let is_paid = current.source == Source::Paid;
    let is_canceled = licenses.ends_paid_license
        || (news.is_ending && is_paid && current.works(now))
        || (news.has_ended && is_paid);
    if news.became_paused && is_paid || news.became_past_due && !licenses.ends_paid_license {
        return Some(Kind::PaymentProblem);
    }
    is_canceled.then_some(Kind::Cancellation)
}

/// How long after a payment a mail reports it: longer than Stripe retries a webhook. The first sync
/// of a customer also finds payments of former years.
const REPORTED_FOR: TimeDelta = TimeDelta::days(7);

/// Adds the payment that a mail reports: that of the newest order that is now paid, or in a mail
/// about a missing payment, the newest unpaid order. A payment that no other mail reports gets a
/// receipt of its own.
pub(super) fn with_payment(
    kind: Option<Kind>,
    changes: &[Change<'_>],
    now: Timestamp,
) -> (Option<Kind>, Option<OrderId>) {
    let unpaid = changed_orders(changes)
        .map(|(_, after)| after)
        .filter(|order| is_unpaid(order) && order.stripe_invoice_id.is_some());
    let paid = newly_paid(changes, now).max_by_key(|order| order.created_at);
    let order = match kind {
        Some(Kind::PaymentPending | Kind::PaymentProblem) => {
            unpaid.max_by_key(|order| order.created_at)
        }
        _ => paid,
    };
    let kind = kind.or_else(|| paid.map(|_| Kind::Receipt));
    (kind, order.map(|order| order.order_id.clone()))
}

/// Returns the orders that are newly paid, and recent enough to be reported.
fn newly_paid<'c>(changes: &'c [Change<'_>], now: Timestamp) -> impl Iterator<Item = &'c Order> {
    let paid = changed_orders(changes).filter(|(before, after)| {
        after.status == OrderStatus::Succeeded && before.is_none_or(is_unpaid)
    });
    paid.map(|(_, after)| after)
        .filter(move |order| now <= order.purchased_at.unwrap_or(order.created_at) + REPORTED_FOR)
}

fn changed_orders<'c>(
    changes: &'c [Change<'_>],
) -> impl Iterator<Item = (Option<&'c Order>, &'c Order)> {
    changes.iter().filter_map(|change| match change {
        Change::Order { before, after } => Some((before.as_ref(), &**after)),
        _ => None,
    })
}

fn is_unpaid(order: &Order) -> bool {
    matches!(order.status, OrderStatus::Pending | OrderStatus::Failed)
}

fn news(before: Option<&SubscriptionRow>, after: Option<&SubscriptionRow>) -> News {
    let is_new = |holds: fn(&SubscriptionRow) -> bool| {
        after.is_some_and(holds) && !before.is_some_and(holds)
    };
    let was_announced = before.is_some_and(|row| row.cancel_at.is_some());
    News {
        is_ending: is_new(|row| row.cancel_at.is_some() && row.status.is_live()),
        became_past_due: is_new(|row| row.status == Status::PastDue),
        became_paused: is_new(|row| row.status == Status::Paused),
        has_ended: is_new(|row| matches!(row.status, Status::Canceled | Status::Unpaid))
            && !was_announced,
    }
}

fn kind_of_issued(
    issued: &Entitlement<'_>,
    record: &Record,
    (news, status, paid): (News, Option<&Status>, &[&Order]),
    catalog: &Catalog,
    now: Timestamp,
) -> Kind {
    // A first license replaces none: the customer bought before having an account here.
    let current = record.current_license.as_ref();
    let Some(current) = current.filter(|_| issued.source != Source::Operator) else {
        let is_bought = issued.source == Source::Paid && !record.has_password;
        return if is_bought { Kind::Bought } else { Kind::Granted };
    };
    if news.became_paused && current.source == Source::Paid {
        // The license is what remains of other purchases.
        return Kind::PaymentProblem;
    }
    let is_paid = current.source == Source::Paid && current.revoked_at.is_none();
    let is_same_plan = is_paid && issued.plan.has_id(&current.plan);
    match issued.basis {
        Basis::Fallback => return Kind::Fallback,
        Basis::Once if current.basis == Basis::Subscription && was_bought_before(record) => {
            let is_paid_now = |interval| paid.iter().any(|one| one.billing_interval == interval);
            match current.source {
                // The purchase replaces what the subscription grants.
                Source::Paid if is_paid_now(Some(Interval::Once)) => {}
                Source::Paid if is_paid_now(Some(Interval::Updates)) => {
                    return Kind::UpdatesExtended;
                }
                Source::Paid => return Kind::PerpetualAgain,
                // A grant or a trial ended, and no subscription.
                _ if !current.works(now) => return Kind::Granted,
                _ => {}
            }
        }
        Basis::Once if is_same_plan && extends_updates(current, issued) => {
            return Kind::UpdatesExtended;
        }
        // No subscription renews a perpetual license: its units or its add-ons changed.
        Basis::Once if is_same_plan && current.basis == Basis::Once => {
            return Kind::QuantityChanged;
        }
        _ => {}
    }
    if !is_same_plan || current.basis != issued.basis {
        let is_lower = catalog.rank(issued.plan.id.as_str()) < catalog.rank(&current.plan);
        let is_step_down = is_paid && current.works(now) && is_lower;
        return if is_step_down { Kind::LowerPlan } else { Kind::Upgrade };
    }
    // A late payment for a subscription that has ended renews nothing.
    if status.is_some_and(|status| !status.is_live()) {
        return Kind::Granted;
    }
    let in_grace = issued.term.phase(now) == Phase::Grace;
    match news {
        News { is_ending: true, .. } => Kind::Cancellation,
        News { became_past_due: true, .. } => Kind::PaymentProblem,
        _ if in_grace && status == Some(&Status::PastDue) => Kind::PaymentProblem,
        _ if in_grace => Kind::PaymentPending,
        _ if current.expires_at == issued.term.expires => Kind::QuantityChanged,
        _ => Kind::Renewal,
    }
}

/// Returns whether the customer had a perpetual license before.
fn was_bought_before(record: &Record) -> bool {
    record.orders.iter().any(|order| {
        order.status == OrderStatus::Succeeded && order.billing_interval == Some(Interval::Once)
    })
}

/// Returns whether the updates of a perpetual license last longer.
fn extends_updates(current: &IssuedLicense, issued: &Entitlement<'_>) -> bool {
    let end = Timestamp::or_never;
    current.basis == Basis::Once && end(current.updates_until) < end(issued.updates_until)
}
