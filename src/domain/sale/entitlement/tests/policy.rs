//! The vendor's policy for refunds and disputes.

use super::*;
use crate::domain::sale::policy::Consequence::{Keep, Revoke};

/// Returns a subscription whose current period was paid, with this outcome of the payment.
fn paid_and(payment: Payment) -> StripeState {
    let mut state = paid("active");
    state.invoices[0].payment = payment;
    state
}

#[test]
fn each_policy_decides_its_own_case_and_no_other_stripe_15() {
    let whole = professional(PERIOD_END, Some(PERIOD_END + 7 * DAY));
    for refund in [Keep, Revoke] {
        for (dispute, dispute_lost) in [(Keep, Keep), (Keep, Revoke), (Revoke, Revoke)] {
            let policy = Policy { refund, dispute, dispute_lost, ..Policy::default() };
            for (payment, bought) in [
                (Payment::Unremarkable, Keep),
                (Payment::Refunded, refund),
                (Payment::Disputed, dispute),
                (Payment::DisputeLost, dispute_lost),
            ] {
                let expected = if bought == Keep { whole.clone() } else { None };
                let granted = entitlement_by(policy, &paid_and(payment), NOW);
                assert_eq!(granted, expected, "{payment:?} by {policy:?}");
            }
        }
    }
}

#[test]
fn by_default_what_is_settled_is_taken_back_and_what_is_claimed_is_not_stripe_15() {
    assert_eq!(entitlement(&paid_and(Payment::Refunded), NOW), None);
    assert_eq!(entitlement(&paid_and(Payment::DisputeLost), NOW), None);
    assert_eq!(entitlement(&paid_and(Payment::Disputed), NOW), entitlement(&paid("active"), NOW));
}

#[test]
fn what_is_kept_ends_with_its_period_and_the_next_payment_counts_again_stripe_15() {
    let keep = Policy { refund: Keep, ..Policy::default() };
    // The renewal of a refunded period is not paid: grace begins at the end of the refunded period.
    let mut state = unpaid_renewal("past_due");
    state.invoices[1].payment = Payment::Refunded;
    let expected = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    assert_eq!(entitlement_by(keep, &state, PERIOD_START + DAY), expected);
    assert_eq!(entitlement(&state, PERIOD_START + DAY), None);
    // The renewal is paid: the refund of the earlier period makes no difference.
    state.invoices[0].status = InvoiceStatus::Paid;
    state.subscriptions[0].status = Status::Active;
    assert_eq!(entitlement(&state, NOW), entitlement(&paid("active"), NOW));
}

#[test]
fn only_what_the_money_paid_for_is_taken_back_stripe_15() {
    // An upgrade within the period is disputed; the payment for the lower plan still counts.
    let mut state = paid("active");
    state.invoices[0].lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    let mut upgrade =
        invoice("in_2", &state.subscriptions[0], InvoiceStatus::Paid, PERIOD_END + MONTH);
    upgrade.lines = vec![
        line("price_starter_monthly", PERIOD_END, -1000),
        line("price_pro_monthly", PERIOD_END, 2500),
    ];
    upgrade.payment = Payment::Disputed;
    state.invoices.push(upgrade);
    let revoke = Policy { dispute: Revoke, ..Policy::default() };
    assert_eq!(entitlement_by(revoke, &state, NOW), Some(("starter".into(), PERIOD_END, None)));
    assert_eq!(entitlement(&state, NOW).unwrap().0, "professional");
}

#[test]
fn what_was_paid_beside_the_plan_does_not_stand_for_a_plan_that_was_refunded_stripe_15() {
    let mut state = paid_and(Payment::Refunded);
    let mut beside =
        invoice("in_2", &state.subscriptions[0], InvoiceStatus::Paid, PERIOD_END + MONTH);
    beside.lines = vec![line("price_support", PERIOD_END, 900)];
    state.invoices.push(beside);
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn an_upgrade_on_its_way_is_not_granted_where_the_period_before_it_was_refunded_stripe_15() {
    // Two months of the lower plan, the second one refunded; then a change that a bank debit pays.
    let mut state = unpaid_renewal("active");
    state.invoices[1].lines = vec![line("price_starter_monthly", PERIOD_START, 1900)];
    let base = state.subscriptions[0].clone();
    let mut refunded = invoice("in_2", &base, InvoiceStatus::Paid, PERIOD_END);
    refunded.lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    refunded.payment = Payment::Refunded;
    state.invoices.push(refunded);
    state.invoices[0].created = at(PERIOD_START + DAY);
    state.invoices[0].payment = Payment::Processing;
    let soon = PERIOD_START + 2 * DAY;
    // As with a first debit, nothing of this period is paid while the debit is processing.
    assert_eq!(entitlement(&state, soon), None);
    assert_eq!(entitlement_by(Policy::KEEP_ALL, &state, soon).unwrap().0, "starter");
}

#[test]
fn a_pause_of_collection_does_not_bring_back_what_was_refunded_stripe_15() {
    let mut state = unpaid_renewal("active");
    state.subscriptions[0].collection_paused = true;
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, NOW), entitlement(&paid("active"), NOW));
    state.invoices[0].payment = Payment::Refunded;
    assert_eq!(entitlement(&state, NOW), None);
}
