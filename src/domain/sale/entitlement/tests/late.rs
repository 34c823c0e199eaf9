//! Payments after the end of a subscription, or after its end was scheduled.

use super::*;

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
    let mut are_alerted = |returned: i64| {
        state.invoices[0].returned = returned;
        !assess(&state, None, &catalog, at(NOW)).alerts.is_empty()
    };
    let (all, rest) = (4900, 4900 * (PERIOD_END - ends_at) / MONTH);
    assert!(are_alerted(0) && are_alerted(1) && are_alerted(rest / 2));
    assert!(!are_alerted(rest) && !are_alerted(rest - rest / 12), "counted in days or months");
    assert!(!are_alerted(all));
}

#[test]
fn the_rest_of_a_period_is_a_part_of_what_was_paid_stripe_12() {
    let mut state = paid("active");
    let (ends_at, scheduled_at) = (PERIOD_START + 9 * DAY, PERIOD_START + DAY);
    let of = &mut state.subscriptions[0];
    (of.cancel_at, of.canceled_at) = (Some(at(ends_at)), Some(at(scheduled_at)));
    state.invoices[0].paid_at = Some(at(scheduled_at));
    let catalog = catalog();
    // Half was discounted.
    state.invoices[0].amount = 2450;
    for (returned, is_settled) in
        [(100, false), (1000, false), (2450 * (PERIOD_END - ends_at) / MONTH, true)]
    {
        state.invoices[0].returned = returned;
        let alerts = assess(&state, None, &catalog, at(NOW)).alerts;
        assert_eq!(alerts.is_empty(), is_settled, "{returned}");
    }
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
