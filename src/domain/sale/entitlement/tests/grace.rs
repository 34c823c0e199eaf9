//! How long a plan works after the end of the paid period.

use super::*;

#[test]
fn past_due_works_within_the_grace_that_counts_from_what_was_paid_stripe_11() {
    let state = unpaid_renewal("past_due");
    let expected = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    assert_eq!(entitlement(&state, PERIOD_START + DAY), expected);
    assert_eq!(entitlement(&state, PERIOD_START + 7 * DAY), None);
}

#[test]
fn while_a_renewal_is_collected_the_grace_period_applies() {
    // A draft changes nothing, so no license is issued for it.
    let usual = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    for status in [InvoiceStatus::Draft, InvoiceStatus::Open] {
        let mut state = unpaid_renewal("active");
        state.invoices[0].status = status;
        assert_eq!(entitlement(&state, PERIOD_START + DAY), usual, "{status:?}");
    }
    // A bank debit takes longer.
    let mut debit = unpaid_renewal("active");
    debit.invoices[0].payment = Payment::Processing;
    let longer = professional(PERIOD_START, Some(PERIOD_START + 14 * DAY));
    assert_eq!(entitlement(&debit, PERIOD_START + DAY), longer);
}

#[test]
fn after_a_trial_at_stripe_the_grace_period_is_a_day() {
    let mut state = unpaid_renewal("active");
    state.invoices[1].amount = 0;
    state.invoices[1].reason = BillingReason::Other;
    state.invoices[0].status = InvoiceStatus::Draft;
    state.subscriptions[0].trial_end = Some(at(PERIOD_START));
    let expected = professional(PERIOD_START, Some(PERIOD_START + DAY));
    assert_eq!(entitlement(&state, PERIOD_START + 1), expected);
    // A credit alone is no payment, although Stripe reports its invoice as paid.
    let subscription = state.subscriptions[0].clone();
    let mut credit = invoice("in_3", &subscription, InvoiceStatus::Paid, PERIOD_END);
    (credit.reason, credit.amount, credit.lines[0].amount) = (BillingReason::Change, 0, -300);
    state.invoices.insert(0, credit);
    assert_eq!(entitlement(&state, PERIOD_START + 1), expected);
}

#[test]
fn a_month_that_a_coupon_paid_has_the_usual_grace_period() {
    let mut state = unpaid_renewal("past_due");
    state.invoices[1].amount = 0;
    let expected = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    assert_eq!(entitlement(&state, PERIOD_START + 2 * DAY), expected);
}

#[test]
fn the_grace_of_a_sent_invoice_begins_at_its_due_date_whatever_stripe_reports_stripe_23() {
    for status in [Status::Active, Status::PastDue] {
        let mut state = unpaid_renewal("active");
        state.invoices[0].due = Some(at(PERIOD_START + 20 * DAY));
        state.subscriptions[0].status = status;
        let expected = professional(PERIOD_START, Some(PERIOD_START + 27 * DAY));
        assert_eq!(entitlement(&state, PERIOD_START + 26 * DAY), expected);
        assert_eq!(entitlement(&state, PERIOD_START + 27 * DAY), None);
    }
}

#[test]
fn the_oldest_unpaid_sent_invoice_ends_access_whatever_newer_ones_say_stripe_23() {
    let mut state = unpaid_renewal("active");
    state.invoices[0].due = Some(at(PERIOD_START + 14 * DAY));
    let of = state.subscriptions[0].clone();
    let mut newer = invoice("in_3", &of, InvoiceStatus::Open, PERIOD_END + MONTH);
    newer.due = Some(at(PERIOD_END + 14 * DAY));
    state.invoices.push(newer);
    let expected = professional(PERIOD_START, Some(PERIOD_START + 21 * DAY));
    assert_eq!(entitlement(&state, PERIOD_START + DAY), expected);
    assert_eq!(entitlement(&state, PERIOD_START + 21 * DAY), None);
    // Once the oldest is paid, the newer one counts.
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, NOW).map(|(_, expires, _)| expires), Some(PERIOD_END));
}

#[test]
fn a_refunded_renewal_has_no_grace_even_if_something_else_was_paid_since() {
    let mut state = paid("active");
    let of = state.subscriptions[0].clone();
    let before = invoice("in_0", &of, InvoiceStatus::Paid, PERIOD_START);
    state.invoices[0].payment = Payment::Refunded;
    let beside = Invoice {
        created: at(PERIOD_START + DAY),
        lines: vec![line("price_of_support", PERIOD_END, 500)],
        ..invoice("in_2", &of, InvoiceStatus::Paid, PERIOD_END)
    };
    state.invoices.extend([before, beside]);
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn an_invoice_by_hand_for_something_else_pays_for_no_plan() {
    let mut state = paid("active");
    let of = state.subscriptions[0].clone();
    let beside = Invoice {
        reason: BillingReason::Manual,
        created: at(PERIOD_START + DAY),
        lines: vec![line("price_of_support", PERIOD_END, 500)],
        ..invoice("in_2", &of, InvoiceStatus::Paid, PERIOD_END)
    };
    state.invoices[0].status = InvoiceStatus::Open;
    state.invoices.push(beside.clone());
    assert_eq!(entitlement(&state, NOW), None);
    // It counts if it is for the plan, or if there is no other invoice.
    let lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    state.invoices[1] = Invoice { lines, ..beside.clone() };
    assert_eq!(entitlement(&state, NOW).map(|(_, until, _)| until), Some(PERIOD_END));
    state.invoices = vec![beside];
    assert_eq!(entitlement(&state, NOW).map(|(_, until, _)| until), Some(PERIOD_END));
}

#[test]
fn monthly_payments_after_a_refunded_year_have_the_usual_grace_period() {
    let mut state = unpaid_renewal("past_due");
    let mut year =
        invoice("in_0", &state.subscriptions[0], InvoiceStatus::Paid, PERIOD_END + 300 * DAY);
    (year.created, year.payment) = (at(PERIOD_START - 2 * MONTH), Payment::Refunded);
    state.invoices.push(year);
    let expected = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    assert_eq!(entitlement(&state, PERIOD_START + DAY), expected);
}

#[test]
fn a_sent_invoice_that_became_uncollectible_still_ends_access_stripe_23() {
    let mut state = unpaid_renewal("active");
    state.invoices[0].due = Some(at(PERIOD_START + 14 * DAY));
    state.invoices[0].status = InvoiceStatus::Uncollectible;
    let of = state.subscriptions[0].clone();
    let mut newer = invoice("in_3", &of, InvoiceStatus::Open, PERIOD_END + MONTH);
    newer.due = Some(at(PERIOD_END + 14 * DAY));
    state.invoices.push(newer);
    assert_eq!(entitlement(&state, PERIOD_START + 21 * DAY), None);
}

#[test]
fn an_older_unpaid_invoice_takes_nothing_from_a_newer_one_that_is_paid_stripe_23() {
    let mut state = paid("active");
    let of = state.subscriptions[0].clone();
    let mut older = invoice("in_0", &of, InvoiceStatus::Open, PERIOD_START);
    older.due = Some(at(PERIOD_START - 14 * DAY));
    state.invoices.push(older);
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
}

#[test]
fn a_voided_plan_change_keeps_the_grace_period() {
    let mut state = paid("active");
    let of = state.subscriptions[0].clone();
    let mut change = invoice("in_2", &of, InvoiceStatus::Void, PERIOD_END);
    (change.created, change.reason) = (at(NOW - DAY), BillingReason::Other);
    state.invoices.push(change);
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
}
