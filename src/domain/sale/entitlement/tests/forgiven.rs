//! Renewals that the vendor forgives, and renewals that are paid after the subscription has ended.

use super::*;
use crate::domain::sale::policy::Consequence::{Keep, Revoke};

/// Returns a subscription with an unpaid renewal, after this change to the renewal's invoice.
fn renewal(status: &str, change: impl Fn(&mut Invoice)) -> StripeState {
    let mut state = unpaid_renewal(status);
    change(&mut state.invoices[0]);
    state
}

#[test]
fn each_way_to_forgive_a_renewal_has_one_result_by_one_policy_stripe_25() {
    let voided = renewal("active", |invoice| invoice.status = InvoiceStatus::Void);
    let written_off = renewal("active", |invoice| {
        invoice.status = InvoiceStatus::Uncollectible;
        invoice.is_written_off_by_hand = true;
    });
    let credited = renewal("active", |invoice| {
        invoice.status = InvoiceStatus::Paid;
        (invoice.credited, invoice.amount) = (invoice.amount, 0);
    });
    for (way, state) in [("void", voided), ("written off", written_off), ("credited", credited)] {
        let kept = entitlement_by(Policy { forgiven: Keep, ..Policy::default() }, &state, NOW);
        assert_eq!(kept, entitlement(&paid("active"), NOW), "{way}");
        let revoked = Policy { forgiven: Revoke, ..Policy::default() };
        assert_eq!(entitlement_by(revoked, &state, NOW), None, "{way}");
    }
}

#[test]
fn dunning_that_gives_up_forgives_nothing_stripe_25() {
    let state = renewal("past_due", |invoice| invoice.status = InvoiceStatus::Uncollectible);
    assert_eq!(entitlement(&state, PERIOD_START + 8 * DAY), None);
}

#[test]
fn a_first_or_changing_invoice_that_is_voided_grants_nothing_stripe_25() {
    let state = renewal("active", |invoice| {
        invoice.status = InvoiceStatus::Void;
        invoice.reason = BillingReason::Other;
    });
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn no_grace_waits_for_a_renewal_that_nobody_collects_stripe_31() {
    let revoke = Policy { forgiven: Revoke, ..Policy::default() };
    let state = renewal("active", |invoice| invoice.status = InvoiceStatus::Void);
    assert_eq!(entitlement_by(revoke, &state, PERIOD_START + 1), None);
}

#[test]
fn a_renewal_that_is_paid_after_dunning_cancelled_is_licensed_without_grace_stripe_22() {
    let mut state = unpaid_renewal("canceled");
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + 3 * DAY));
    assert_eq!(entitlement(&state, NOW), None);
    state.invoices[0].status = InvoiceStatus::Paid;
    state.invoices[0].paid_at = Some(at(PERIOD_START + 5 * DAY));
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, None));
    let catalog = catalog();
    let alerts = assess(&state, None, &catalog, at(NOW)).alerts;
    assert_eq!(alerts, [Alert::PaidAfterEnd("sub_1".parse().unwrap())]);
    assert_eq!(entitlement(&state, PERIOD_END), None);
    // After the end of the period, the payment has no effect.
    state.invoices[0].paid_at = Some(at(PERIOD_END + DAY));
    let late = assess(&state, None, &catalog, at(PERIOD_END + DAY));
    let (id, paid_at) = ("sub_1".parse().unwrap(), at(PERIOD_END + DAY));
    assert_eq!(late.alerts, [Alert::PaidTooLate { id, paid_at }]);
    let later = assess(&state, None, &catalog, at(PERIOD_END + 32 * DAY));
    assert_eq!(later.alerts, [], "nobody can act on it any more");
    // Refunded, it grants nothing.
    state.invoices[0].payment = Payment::Refunded;
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn a_renewal_that_is_forgiven_after_the_end_grants_nothing_in_any_way_stripe_25() {
    let mut state = unpaid_renewal("canceled");
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + 3 * DAY));
    state.invoices[0].status = InvoiceStatus::Void;
    assert_eq!(entitlement(&state, NOW), None, "void");
    let credited = &mut state.invoices[0];
    credited.status = InvoiceStatus::Paid;
    credited.paid_at = Some(at(PERIOD_START + 5 * DAY));
    (credited.credited, credited.amount) = (credited.amount, 0);
    assert_eq!(entitlement(&state, NOW), None, "credited");
}

#[test]
fn a_period_that_is_paid_beyond_a_scheduled_end_is_reported_stripe_12() {
    let mut state = paid("active");
    let (ends_at, scheduled_at) = (PERIOD_START + 9 * DAY, PERIOD_START + DAY);
    let of = &mut state.subscriptions[0];
    (of.cancel_at, of.canceled_at) = (Some(at(ends_at)), Some(at(scheduled_at)));
    let catalog = catalog();
    let mut alerts = |ends_at: i64, paid_at: i64| {
        state.subscriptions[0].cancel_at = Some(at(ends_at));
        state.invoices[0].paid_at = Some(at(paid_at));
        assess(&state, None, &catalog, at(NOW)).alerts
    };
    let id = "sub_1".parse().unwrap();
    let cut = Alert::PaidBeyondEnd { id, ends_at: at(ends_at), paid_until: at(PERIOD_END) };
    assert_eq!(alerts(ends_at, scheduled_at), [cut]);
    assert_eq!(alerts(PERIOD_END, scheduled_at), [], "everything that was paid is used");
    assert_eq!(alerts(ends_at, scheduled_at - 1), [], "it was paid before the end was scheduled");
    alerts(ends_at, scheduled_at);
    let mut renewed = state.clone();
    renewed.invoices[0].created = at(scheduled_at + 1);
    assert_eq!(assess(&renewed, None, &catalog, at(NOW)).alerts, [], "an ordinary renewal");
    state.invoices[0].returned = 500;
    assert_eq!(assess(&state, None, &catalog, at(NOW)).alerts, [], "the rest was refunded");
}

#[test]
fn what_was_paid_before_a_cancellation_at_once_grants_nothing_stripe_12() {
    let mut state = paid("canceled");
    state.invoices[0].paid_at = Some(at(PERIOD_START));
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + DAY));
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn a_dead_renewal_that_is_credited_in_full_is_not_paid_late_stripe_22() {
    let mut state = unpaid_renewal("canceled");
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + 3 * DAY));
    let renewal = &mut state.invoices[0];
    (renewal.status, renewal.paid_at) = (InvoiceStatus::Paid, Some(at(PERIOD_START + 5 * DAY)));
    (renewal.credited, renewal.amount) = (4900, 0);
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn the_final_invoice_of_a_cancellation_is_no_late_renewal_stripe_12() {
    let mut state = paid("canceled");
    state.subscriptions[0].ended_at = Some(at(NOW - DAY));
    let of = state.subscriptions[0].clone();
    let mut last = invoice("in_2", &of, InvoiceStatus::Paid, PERIOD_END);
    (last.created, last.paid_at) = (at(NOW - DAY), Some(at(NOW - DAY + 5)));
    state.invoices.push(last);
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn a_late_renewal_of_a_higher_plan_leaves_the_live_subscription_current_stripe_22() {
    let mut state = unpaid_renewal("canceled");
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + 3 * DAY));
    (state.invoices[0].status, state.invoices[0].paid_at) =
        (InvoiceStatus::Paid, Some(at(PERIOD_START + 5 * DAY)));
    let live = subscription("sub_2", "active", &["price_starter_monthly"]);
    state.invoices.push(invoice("in_9", &live, InvoiceStatus::Paid, PERIOD_END));
    state.subscriptions.push(live);
    let catalog = catalog();
    let assessment = assess(&state, None, &catalog, at(NOW));
    assert_eq!(assessment.entitlement.unwrap().plan.id.as_str(), "professional");
    assert_eq!(assessment.subscription.unwrap().id.as_str(), "sub_2");
}

#[test]
fn a_change_of_plan_that_is_credited_in_full_takes_effect_by_the_policy_stripe_25() {
    let mut state = paid("active");
    state.invoices[0].lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    let higher = [
        line("price_starter_monthly", PERIOD_END, -1900),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    let mut change = change("in_2", InvoiceStatus::Paid, 0, higher);
    (change.credited, change.amount) = (change.amount, 0);
    state.invoices.push(change);
    let plan = |forgiven| {
        let policy = Policy { forgiven, ..Policy::default() };
        entitlement_by(policy, &state, NOW).map(|(plan, ..)| plan)
    };
    assert_eq!(plan(Keep).as_deref(), Some("professional"));
    assert_eq!(plan(Revoke).as_deref(), Some("starter"));
}
