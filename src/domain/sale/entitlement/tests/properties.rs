//! Properties of every state that Stripe can be in, and of every policy.

use proptest::prelude::*;

use super::*;
use crate::domain::sale::policy::Consequence::{Keep, Revoke};

const PRICES: [&str; 3] = ["price_starter_monthly", "price_pro_monthly", "price_x"];

const PAYMENTS: [Payment; 7] = [
    Payment::Unremarkable,
    Payment::Processing,
    Payment::Failed,
    Payment::Refunded,
    Payment::Disputed,
    Payment::DisputeLost,
    Payment::PartlyReturned,
];

pub(crate) fn any_state() -> impl Strategy<Value = StripeState> {
    let status = prop::sample::select(vec![
        "trialing",
        "active",
        "past_due",
        "incomplete",
        "unpaid",
        "canceled",
        "paused",
        "odd",
    ]);
    let price = prop::sample::select(&PRICES);
    let bills = prop::option::of(prop::sample::select(&PRICES));
    let invoices =
        prop::collection::vec((0..5_u8, 0..4_i64, 0..7_usize, bills, any::<bool>()), 0..4);
    let cancel = (prop::option::of(-2..3_i64), any::<bool>());
    let one = (status, price, invoices, cancel, any::<bool>());
    prop::collection::vec(one, 0..3).prop_map(|subscriptions| {
        let mut state = StripeState::default();
        for (n, (status, price, invoices, (cancel, flag), paused)) in
            subscriptions.into_iter().enumerate()
        {
            let mut made = subscription(&format!("sub_{n}"), status, &[price]);
            made.cancel_at = cancel.map(|weeks| at(NOW + weeks * 7 * DAY));
            made.cancel_at_period_end = flag;
            made.collection_paused = paused;
            for (m, (standing, months, payment, bills, free)) in invoices.into_iter().enumerate() {
                use InvoiceStatus::{Draft, Open, Paid, Uncollectible, Void};
                let status = [Draft, Open, Paid, Void, Uncollectible][usize::from(standing)];
                let end = PERIOD_END - months * MONTH;
                let mut bill = invoice(&format!("in_{n}_{m}"), &made, status, end);
                bill.payment = PAYMENTS[payment];
                bill.is_written_off_by_hand = months % 2 == 0;
                if free {
                    bill.amount = 0;
                }
                bill.lines[0].price = bills.map(str::to_owned);
                state.invoices.push(bill);
            }
            state.subscriptions.push(made);
        }
        state
    })
}

pub(crate) fn any_policy() -> impl Strategy<Value = Policy> {
    let bought = || prop::sample::select(vec![Keep, Revoke]);
    let four = (bought(), bought(), bought(), bought());
    four.prop_map(|(refund, dispute, dispute_lost, forgiven)| Policy {
        refund,
        dispute,
        dispute_lost,
        forgiven,
        ..Policy::default()
    })
}

/// Returns the rank of the plan and the end with the grace period, to compare entitlements.
fn worth(policy: Policy, state: &StripeState, now: i64) -> Option<(usize, i64)> {
    let (plan, expires, grace) = entitlement_by(policy, state, now)?;
    Some((catalog().rank(&plan), grace.unwrap_or(expires)))
}

/// Returns the policy that revokes in every case in which one of the two does.
fn stricter(one: Policy, other: Policy) -> Policy {
    Policy {
        refund: one.refund.max(other.refund),
        dispute: one.dispute.max(other.dispute),
        dispute_lost: one.dispute_lost.max(other.dispute_lost),
        forgiven: one.forgiven.max(other.forgiven),
        ..one
    }
}

/// Returns the state with every invoice for the subscription's plan.
fn without_changes(mut state: StripeState) -> StripeState {
    state.invoices.iter_mut().for_each(|invoice| invoice.lines[0].price = None);
    state
}

/// Returns the state with the outcome `after` for each payment that had the outcome `before`.
fn with_outcome(state: &StripeState, before: Payment, after: Payment) -> StripeState {
    let mut state = state.clone();
    for invoice in state.invoices.iter_mut().filter(|invoice| invoice.payment == before) {
        invoice.payment = after;
    }
    state
}

proptest! {
    #[test]
    fn the_order_of_what_stripe_lists_never_matters_stripe_9(state in any_state()) {
        let mut state = state;
        // The order of the list matters only for invoices of the same second.
        for (second, invoice) in (0..).zip(&mut state.invoices) {
            invoice.created = invoice.created + TimeDelta::seconds(second);
        }
        let mut turned = state.clone();
        turned.subscriptions.reverse();
        turned.invoices.reverse();
        prop_assert_eq!(entitlement(&state, NOW), entitlement(&turned, NOW));
    }

    #[test]
    fn nothing_is_granted_beyond_the_period_or_a_cancellation(state in any_state()) {
        if let Some((_, expires, grace)) = entitlement(&state, NOW) {
            prop_assert!(expires <= PERIOD_END);
            let until = grace.unwrap_or(expires);
            prop_assert!(until > NOW, "an entitlement that is over");
            prop_assert!(until <= PERIOD_END + 14 * DAY);
            let is_endless = |s: &Subscription| s.cancel_at.is_none() && !s.cancel_at_period_end;
            let has_no_end = state.subscriptions.iter().any(is_endless);
            let latest = state.subscriptions.iter().filter_map(|s| s.cancel_at).max();
            let is_within = |end: Timestamp| until <= end.epoch_seconds().max(PERIOD_END);
            prop_assert!(has_no_end || latest.is_none_or(is_within));
        }
    }

    #[test]
    fn without_a_payment_only_a_trial_or_a_free_subscription_grants_a_plan(state in any_state()) {
        let unpaid = |s: &Subscription| {
            let own: Vec<_> = state.invoices.iter().filter(|i| i.is_of(&s.id)).collect();
            !own.is_empty() && own.iter().all(|i| !i.is_paid(&Policy::default()))
        };
        let is_free = |s: &Subscription| unpaid(s) && s.status != Status::Trialing;
        let is_all_unpaid = state.subscriptions.iter().all(is_free);
        if is_all_unpaid {
            prop_assert_eq!(entitlement(&state, NOW), None);
        }
    }

    #[test]
    fn an_entitlement_never_grows_as_time_passes(
        state in any_state(),
        policy in any_policy(),
        one in -40..40_i64,
        other in -40..40_i64,
    ) {
        // Nobody knows an invoice before it was created.
        let created = state.invoices.iter().map(|invoice| invoice.created.epoch_seconds());
        let known = created.max().unwrap_or(0);
        let (sooner, later) = (NOW + one.min(other) * DAY, NOW + one.max(other) * DAY);
        let (sooner, later) = (sooner.max(known), later.max(known));
        prop_assert!(worth(policy, &state, later) <= worth(policy, &state, sooner));
    }

    #[test]
    fn an_end_that_is_set_never_grants_more_stripe_12(
        state in any_state(),
        day in -40..40_i64,
        by_flag in any::<bool>(),
    ) {
        let mut ending = state.clone();
        for subscription in &mut ending.subscriptions {
            if by_flag {
                subscription.cancel_at_period_end = true;
            } else {
                let end = at(NOW + day * DAY);
                subscription.cancel_at = Some(subscription.cancel_at.map_or(end, |at| at.min(end)));
            }
        }
        let policy = Policy::default();
        prop_assert!(worth(policy, &ending, NOW) <= worth(policy, &state, NOW));
    }

    #[test]
    fn a_stricter_policy_never_grants_more_stripe_15(
        state in any_state(),
        one in any_policy(),
        other in any_policy(),
        day in -20..20_i64,
    ) {
        let now = NOW + day * DAY;
        let stricter = stricter(one, other);
        // One subscription never grants longer, even with plan changes.
        for subscription in &state.subscriptions {
            let alone = StripeState { subscriptions: vec![subscription.clone()], ..state.clone() };
            let ends = |policy| worth(policy, &alone, now).map(|(_, ends)| ends);
            prop_assert!(ends(stricter) <= ends(one));
        }
        // Without plan changes, it never grants a higher plan either. (If a downgrade is revoked,
        // the plan before it is granted.)
        let state = without_changes(state);
        prop_assert!(worth(stricter, &state, now) <= worth(one, &state, now));
    }

    #[test]
    fn a_dispute_that_is_won_leaves_no_trace_stripe_15(
        state in any_state(),
        policy in any_policy(),
    ) {
        let open = with_outcome(&state, Payment::DisputeLost, Payment::Disputed);
        let won = with_outcome(&open, Payment::Disputed, Payment::Unremarkable);
        let kept = Policy { dispute: Keep, ..policy };
        prop_assert_eq!(entitlement_by(kept, &open, NOW), entitlement_by(policy, &won, NOW));
        let (open, won) = (without_changes(open), without_changes(won));
        let revoked = Policy { dispute: Revoke, ..policy };
        prop_assert!(worth(revoked, &open, NOW) <= worth(policy, &won, NOW));
    }

    #[test]
    fn without_refunds_disputes_and_forgiven_invoices_the_policy_changes_nothing(
        state in any_state(),
        policy in any_policy(),
    ) {
        let mut state = state;
        state.invoices.iter_mut().for_each(|invoice| invoice.payment = Payment::Unremarkable);
        state.invoices.retain(|invoice| !invoice.is_forgiven());
        prop_assert_eq!(entitlement_by(policy, &state, NOW), entitlement(&state, NOW));
    }
}
