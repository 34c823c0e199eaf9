//! Renewals and changes that the vendor forgives.

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
