//! Closed invoices: a sync that does not fetch them must decide the same. STRIPE 33.

use proptest::prelude::*;

use super::*;
use crate::domain::sale::entitlement::tests::properties::any_state;
use crate::domain::sale::settlement::closed_invoices::{ALWAYS_FETCHED, closed_through};

/// What may happen in some days: each subscription may end after a part of them, and each unpaid
/// invoice may be paid at their end.
#[derive(Clone, Debug)]
struct Events {
    ends: Vec<Option<i64>>,
    paid: Vec<bool>,
}

/// The time between two syncs, in days: shorter than what is left of the current period.
const LONGEST: i64 = 10;

fn any_events() -> impl Strategy<Value = Events> {
    let ends = prop::collection::vec(prop::option::of(0..=LONGEST), 3);
    let paid = prop::collection::vec(any::<bool>(), 12);
    (ends, paid).prop_map(|(ends, paid)| Events { ends, paid })
}

/// Returns the state after the events of the days until `end`.
fn after(mut state: StripeState, events: &Events, end: i64) -> StripeState {
    for (subscription, days) in state.subscriptions.iter_mut().zip(&events.ends) {
        if let Some(days) = days.filter(|_| subscription.ended_at.is_none()) {
            subscription.status = Status::Canceled;
            subscription.ended_at = Some(at(end - days * DAY));
        }
    }
    for (invoice, is_paid) in state.invoices.iter_mut().zip(&events.paid) {
        if *is_paid && !matches!(invoice.status, InvoiceStatus::Paid | InvoiceStatus::Void) {
            invoice.status = InvoiceStatus::Paid;
            invoice.paid_at = Some(at(end));
        }
    }
    state
}

/// Returns the state without what a sync does not fetch: closed invoices, unless they are of a
/// subscription that has not ended.
fn fetched(state: &StripeState, closed: Option<&InvoiceId>) -> StripeState {
    let is_closed = |place: usize| {
        let newest = state.invoices.iter().position(|invoice| Some(&invoice.id) == closed);
        newest.is_some_and(|newest| place <= newest)
    };
    let is_of_running =
        |invoice: &Invoice| state.running_subscriptions().any(|id| invoice.is_of(id));
    let all = state.invoices.iter().enumerate();
    let fetched = all.filter(|(place, invoice)| !is_closed(*place) || is_of_running(invoice));
    let invoices = fetched.map(|(_, invoice)| invoice.clone()).collect();
    StripeState { invoices, ..state.clone() }
}

proptest! {
    #[test]
    fn closed_invoices_need_not_be_fetched_again_stripe_33(
        record in super::properties::any_record(),
        state in any_state(),
        earlier in any_events(),
        since in any_events(),
    ) {
        // Some subscriptions have already ended, and were paid late.
        let mut before = after(state, &earlier, NOW);
        before.invoices.sort_by_key(|invoice| invoice.created);
        let closed = closed_through(&before, 0, at(NOW)).cloned();
        let record = apply(record.clone(), &settle_at(&record, &before, NOW), at(NOW));
        let later = NOW + LONGEST * DAY;
        let whole = after(before, &since, later);
        let fully = apply(record.clone(), &settle_at(&record, &whole, later), at(later));
        let part = fetched(&whole, closed.as_ref());
        let again = settle_at(&fully, &part, later);
        prop_assert_eq!(again.changes, []);
        let first = settle_at(&record, &whole, later);
        let partly = settle_at(&record, &part, later);
        prop_assert_eq!(partly.report().alerts, first.report().alerts);
        prop_assert_eq!(partly.needs_action, first.needs_action);
    }
}

#[test]
fn the_newest_invoices_are_always_fetched_stripe_33() {
    let made = subscription("sub_1", "canceled", &["price_pro_monthly"]);
    let month = |n: i64| {
        let end = NOW - n * MONTH;
        Invoice {
            id: format!("in_{n}").parse().unwrap(),
            ..invoice("in_0", &made, InvoiceStatus::Paid, end)
        }
    };
    let invoices = (0..60).rev().map(month).collect();
    let mut state = StripeState { invoices, ..StripeState::default() };
    let closed = closed_through(&state, ALWAYS_FETCHED, at(NOW));
    assert_eq!(closed.map(InvoiceId::as_str), Some("in_50"));
    state.invoices[3].status = InvoiceStatus::Open;
    let closed = closed_through(&state, ALWAYS_FETCHED, at(NOW));
    assert_eq!(closed.map(InvoiceId::as_str), Some("in_57"), "an unpaid one is never closed");
    state.invoices.truncate(ALWAYS_FETCHED);
    assert_eq!(closed_through(&state, ALWAYS_FETCHED, at(NOW)), None);
}
