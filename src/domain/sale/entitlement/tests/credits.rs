//! Plan changes that Stripe pays with a credit for an unpaid or refunded period. Stripe reports
//! their invoices as paid although no money was paid.

use super::*;

const YEAR_END: i64 = PERIOD_START + 365 * DAY;

/// The end of the usual grace period.
const WEEK: Option<i64> = Some(PERIOD_END + 7 * DAY);

/// Returns a subscription whose period was paid by an invoice with this line.
fn billed(first: Line) -> StripeState {
    let mut state = paid("active");
    state.invoices[0].lines = vec![first];
    state.invoices[0].reason = BillingReason::Other;
    state
}

/// Returns a subscription to a year of the higher plan, changed to a month of the lower one.
/// `first` is the status of the first invoice. No amount is due for the change.
fn lowered(first: InvoiceStatus, payment: Payment) -> StripeState {
    let mut state = billed(line("price_pro_yearly", YEAR_END, 49000));
    (state.invoices[0].status, state.invoices[0].payment) = (first, payment);
    let lower = [
        line("price_pro_yearly", YEAR_END, -48000),
        line("price_starter_monthly", PERIOD_END, 1900),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Paid, 0, lower));
    state.subscriptions[0].items[0].price = "price_starter_monthly".into();
    state
}

/// Returns a subscription to a month of the lower plan, changed to the higher one. `first` is the
/// status of the first invoice. The `difference` to the rest of the first period was paid.
fn raised(first: InvoiceStatus, payment: Payment, difference: i64) -> StripeState {
    let mut state = billed(line("price_starter_monthly", PERIOD_END, 1900));
    (state.invoices[0].status, state.invoices[0].payment) = (first, payment);
    let higher = [
        line("price_starter_monthly", PERIOD_END, -1800),
        line("price_pro_monthly", PERIOD_END, 1800 + difference),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Paid, 0, higher));
    state
}

/// A difference that is less than the credit, and one that is more.
const DIFFERENCES: [i64; 2] = [1000, 2900];

fn starter() -> Option<(String, i64, Option<i64>)> {
    Some(("starter".into(), PERIOD_END, WEEK))
}

#[test]
fn a_credit_for_what_is_owed_buys_nothing_until_that_is_paid_stripe_3() {
    use InvoiceStatus::{Open, Paid, Uncollectible, Void};
    let (processing, failed) = (Payment::Processing, Payment::Failed);
    for (status, payment) in
        [(Open, processing), (Open, failed), (Uncollectible, failed), (Void, failed)]
    {
        assert_eq!(entitlement(&lowered(status, payment), NOW), None, "{status:?} {payment:?}");
        let upgraded =
            DIFFERENCES.map(|difference| entitlement(&raised(status, payment, difference), NOW));
        assert_eq!(upgraded, [None, professional(PERIOD_END, WEEK)], "{status:?} {payment:?}");
    }
    assert_eq!(entitlement(&lowered(Paid, Payment::Unremarkable), NOW), starter());
    let both = DIFFERENCES.map(|more| entitlement(&raised(Paid, Payment::Unremarkable, more), NOW));
    assert_eq!(both, [professional(PERIOD_END, WEEK), professional(PERIOD_END, WEEK)]);
}

#[test]
fn a_credit_for_what_was_given_back_buys_nothing_by_the_policy_stripe_15() {
    for payment in [Payment::Refunded, Payment::DisputeLost] {
        let by_little = raised(InvoiceStatus::Paid, payment, DIFFERENCES[0]);
        for state in [lowered(InvoiceStatus::Paid, payment), by_little] {
            assert_eq!(entitlement(&state, NOW), None, "{payment:?}");
            assert!(entitlement_by(Policy::KEEP_ALL, &state, NOW).is_some(), "{payment:?}");
        }
        let mostly_paid = raised(InvoiceStatus::Paid, payment, DIFFERENCES[1]);
        assert_eq!(entitlement(&mostly_paid, NOW).unwrap().0, "professional", "{payment:?}");
    }
}

#[test]
fn a_change_counts_if_the_credited_invoice_was_forgiven_stripe_25() {
    let mut state = raised(InvoiceStatus::Void, Payment::Unremarkable, DIFFERENCES[0]);
    // A voided renewal is forgiven, and counts as paid.
    state.invoices[0].reason = BillingReason::Renewal;
    assert_eq!(entitlement(&state, NOW).unwrap().0, "professional");
}

#[test]
fn a_change_that_credits_a_draft_counts_once_the_draft_is_paid_stripe_3() {
    let mut state = raised(InvoiceStatus::Draft, Payment::Unremarkable, DIFFERENCES[0]);
    state.invoices[0].reason = BillingReason::Renewal;
    assert_eq!(entitlement(&state, NOW), None, "nothing was ever paid");
    let of = &state.subscriptions[0];
    let mut before = invoice("in_0", of, InvoiceStatus::Paid, PERIOD_START);
    before.lines = vec![line("price_starter_monthly", PERIOD_START, 1900)];
    state.invoices.push(before);
    let after = PERIOD_START + DAY;
    let grace = Some(("starter".into(), PERIOD_START, Some(PERIOD_START + 7 * DAY)));
    assert_eq!(entitlement(&state, after), grace);
    // The vendor keeps the renewals as drafts while collection is paused.
    state.subscriptions[0].collection_paused = true;
    assert_eq!(entitlement(&state, after).unwrap().0, "professional");
    state.subscriptions[0].collection_paused = false;
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, after).unwrap().0, "professional");
}

#[test]
fn a_change_paid_by_a_credit_for_an_unpaid_change_grants_nothing() {
    let mut state = lowered(InvoiceStatus::Open, Payment::Failed);
    let back = [
        line("price_starter_monthly", PERIOD_END, -1800),
        line("price_pro_monthly", PERIOD_END, 2800),
    ];
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 1, back));
    assert_eq!(entitlement(&state, NOW), None);
    state.invoices[0].status = InvoiceStatus::Paid;
    state.subscriptions[0].items[0].price = "price_pro_monthly".into();
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, WEEK));
}

#[test]
fn a_change_counts_if_more_was_paid_than_credited_for_unpaid_invoices() {
    let mut state = billed(line("price_starter_monthly", PERIOD_END, 1900));
    // First to the higher plan: the difference of 3000 is not paid. Then to a year of it, which is
    // paid.
    let higher = [
        line("price_starter_monthly", PERIOD_END, -1900),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    let year =
        [line("price_pro_monthly", PERIOD_END, -4900), line("price_pro_yearly", YEAR_END, 9000)];
    state.invoices.push(change("in_2", InvoiceStatus::Open, 0, higher));
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 1, year));
    let item = &mut state.subscriptions[0].items[0];
    (item.price, item.period_end) = ("price_pro_yearly".into(), Some(at(YEAR_END)));
    assert_eq!(entitlement(&state, NOW), professional(YEAR_END, Some(YEAR_END + 7 * DAY)));
    state.invoices[2].lines[1].amount = 7000;
    state.invoices[2].amount = 2100;
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
}

#[test]
fn a_credit_for_more_than_was_paid_is_a_credit_for_something_unpaid() {
    let mut state = billed(line("price_starter_monthly", PERIOD_END, 1900));
    // A quantity of ten, of which nine are not paid; then one of the higher plan.
    let ten = [
        line("price_starter_monthly", PERIOD_END, -1900),
        line("price_starter_monthly", PERIOD_END, 19000),
    ];
    let higher = [
        line("price_starter_monthly", PERIOD_END, -19000),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Open, 0, ten));
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 1, higher));
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
}

#[test]
fn a_renewal_that_is_owed_is_not_paid_by_changing_to_a_lower_plan_stripe_11() {
    let mut state = unpaid_renewal("past_due");
    state.invoices[0].lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    state.invoices[1].lines = vec![line("price_pro_monthly", PERIOD_START, 4900)];
    let lower = [
        line("price_pro_monthly", PERIOD_END, -4700),
        line("price_starter_monthly", PERIOD_END, 1800),
    ];
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 0, lower));
    state.subscriptions[0].items[0].price = "price_starter_monthly".into();
    let grace = Some(("starter".into(), PERIOD_START, Some(PERIOD_START + 7 * DAY)));
    assert_eq!(entitlement(&state, PERIOD_START + 2 * DAY), grace);
    assert_eq!(entitlement(&state, PERIOD_START + 8 * DAY), None);
    // The status at Stripe makes no difference.
    state.subscriptions[0].status = Status::Active;
    assert_eq!(entitlement(&state, PERIOD_START + 8 * DAY), None);
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, PERIOD_START + 8 * DAY), starter());
}

#[test]
fn a_balance_pays_like_money_unless_credits_for_what_was_not_paid_made_it_stripe_36() {
    // A refunded month of the lower plan, changed to a year that the customer's balance pays.
    let mut state = billed(line("price_starter_monthly", PERIOD_END, 1900));
    state.invoices[0].payment = Payment::Refunded;
    let year = [
        line("price_starter_monthly", PERIOD_END, -1800),
        line("price_pro_yearly", YEAR_END, 19000),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Paid, 0, year));
    (state.invoices[1].balance_before, state.invoices[1].balance_after) = (-20_000, -2800);
    let item = &mut state.subscriptions[0].items[0];
    (item.price, item.period_end) = ("price_pro_yearly".into(), Some(at(YEAR_END)));
    assert_eq!(entitlement(&state, NOW), professional(YEAR_END, Some(YEAR_END + 7 * DAY)));

    // An unpaid year, changed to a month: its credit becomes the balance that pays the next change.
    let mut state = lowered(InvoiceStatus::Open, Payment::Failed);
    state.invoices[0].amount = 49_000;
    let higher = [
        line("price_starter_monthly", PERIOD_END, -1000),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 1, higher));
    state.subscriptions[0].items[0].price = "price_pro_monthly".into();
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, WEEK), "paid in money");
    (state.invoices[1].balance_before, state.invoices[1].balance_after) = (-500, -46_600);
    (state.invoices[2].balance_before, state.invoices[2].balance_after) = (-46_600, -42_700);
    assert_eq!(entitlement(&state, NOW), None, "paid by the balance");
    // The earlier balance is used first.
    (state.invoices[1].balance_before, state.invoices[1].balance_after) = (-4000, -50_100);
    (state.invoices[2].balance_before, state.invoices[2].balance_after) = (-50_100, -46_200);
    assert_eq!(
        entitlement(&state, NOW),
        professional(PERIOD_END, WEEK),
        "paid by the earlier balance"
    );
    (state.invoices[1].balance_before, state.invoices[1].balance_after) = (-500, -46_600);
    (state.invoices[2].balance_before, state.invoices[2].balance_after) = (-46_600, -42_700);
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, WEEK), "the year is paid");
}

#[test]
fn a_free_change_takes_effect_when_the_earlier_debt_that_it_collects_is_paid_stripe_36() {
    let mut state = billed(line("price_starter_yearly", YEAR_END, 19_000));
    let higher = [
        line("price_starter_yearly", YEAR_END, -18_000),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Open, 0, higher));
    assert_eq!(state.invoices[1].amount, 0);
    assert_eq!(entitlement(&state, NOW), starter());
    state.invoices[1].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, WEEK));
}

#[test]
fn a_late_payment_counts_no_credit_for_what_was_not_paid_stripe_22() {
    // The year is not paid. A change to a month of the lower plan, which its credit pays, is
    // settled with a small debt after the subscription has ended.
    let late = |year: InvoiceStatus, payment: Payment, amount: i64| {
        let mut state = lowered(year, payment);
        state.invoices[0].amount = 49_000;
        let change = &mut state.invoices[1];
        (change.amount, change.paid_at) = (amount, Some(at(PERIOD_START + 5 * DAY)));
        change.lines[0].amount = amount - 1900;
        let of = &mut state.subscriptions[0];
        (of.status, of.ended_at) = (Status::Canceled, Some(at(PERIOD_START + 3 * DAY)));
        entitlement(&state, NOW)
    };
    use InvoiceStatus::{Open, Paid};
    let starter = Some(("starter".into(), PERIOD_END, None));
    assert_eq!(late(Open, Payment::Failed, 100), None, "paid by the credit");
    assert_eq!(late(Paid, Payment::Refunded, 100), None);
    assert_eq!(late(Paid, Payment::Unremarkable, 100), starter);
    assert_eq!(late(Open, Payment::Failed, 1000), starter, "most of it is paid in money");
}
