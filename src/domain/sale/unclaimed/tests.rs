use super::*;
use crate::domain::sale::entitlement::tests::{NOW, at, invoice, line, selling, subscription};
use crate::domain::sale::invoice::{Invoice, InvoiceStatus, Line, Payment};
use crate::domain::sale::stripe_state::{PaidSession, SessionTotal};
use crate::domain::sale::subscription::Subscription;

fn customer(number: u128) -> CustomerId {
    CustomerId::from_random(number)
}

fn session_id(id: &str) -> CheckoutSessionId {
    id.parse().unwrap()
}

/// Returns a line that bills a price once.
fn once(price: &str) -> Line {
    Line { period_start: None, period_end: None, quantity: Some(1), ..line(price, 0, 1000) }
}

/// Returns a completed session of a single payment.
fn completed(id: &str, invoice: Option<&str>) -> CheckoutSession {
    CheckoutSession {
        status: CheckoutStatus::Complete,
        invoice: invoice.map(|invoice| invoice.parse().unwrap()),
        ..CheckoutSession::unknown_to_stripe(&session_id(id))
    }
}

/// Returns a single payment without an invoice.
fn paid(id: &str, price: &str, charged_at: i64) -> PaidSession {
    PaidSession {
        id: session_id(id),
        created: at(charged_at - 60),
        total: SessionTotal::default(),
        lines: vec![once(price)],
        payment_intent: None,
        payment: Payment::Unremarkable,
        returned: 0,
        charged_at: Some(at(charged_at)),
        receipt_url: None,
    }
}

/// Returns the paid invoice of a single payment.
fn invoiced(id: &str, price: &str, charged_at: i64) -> Invoice {
    let none = subscription("sub_x", "active", &[]);
    Invoice {
        subscription: None,
        charged_at: Some(at(charged_at)),
        lines: vec![once(price)],
        ..invoice(id, &none, InvoiceStatus::Paid, charged_at)
    }
}

/// Returns the state of a Stripe customer who bought Studio twice: with an invoice, and without.
fn two_payments() -> StripeState {
    StripeState {
        checkout_sessions: vec![completed("cs_1", Some("in_1")), completed("cs_2", None)],
        invoices: vec![invoiced("in_1", "price_studio_once", NOW)],
        paid_sessions: vec![paid("cs_2", "price_studio_once", NOW)],
        ..StripeState::default()
    }
}

/// Returns the ids of everything in a state that shows a single payment.
fn shown(state: &StripeState) -> Vec<String> {
    let sessions = state.checkout_sessions.iter().map(|one| one.id.to_string());
    let paid = state.paid_sessions.iter().map(|one| format!("paid {}", one.id));
    sessions.chain(paid).chain(state.invoices.iter().map(|one| one.id.to_string())).collect()
}

#[test]
fn a_payment_that_another_customer_claimed_is_left_out() {
    let (ada, bob) = (customer(1), customer(2));
    let claims = |first: Option<&CustomerId>| vec![(session_id("cs_1"), first.cloned())];
    for (owner, id, is_removed) in [
        (Some(&ada), Some(&ada), false),
        (Some(&ada), Some(&bob), true),
        (Some(&ada), None, true),
        // Of a deleted customer: anybody named may have it, and nobody else.
        (None, Some(&ada), false),
        (None, None, true),
    ] {
        let mut bought = two_payments();
        let removed = leave_out(&mut bought, claims(owner), id);
        let expected: &[&str] = match is_removed {
            true => &["cs_2", "paid cs_2"],
            false => &["cs_1", "cs_2", "paid cs_2", "in_1"],
        };
        assert_eq!(shown(&bought), expected, "{owner:?} {id:?}");
        assert_eq!(removed, if is_removed { claims(owner) } else { Vec::new() });
    }
}

#[test]
fn the_single_payments_before_a_deletion_are_removed_and_subscriptions_stay() {
    let of = subscription("sub_1", "active", &["price_team_month"]);
    let mut bought = StripeState {
        invoices: vec![
            invoice("in_sub", &of, InvoiceStatus::Paid, NOW),
            invoiced("in_before", "price_studio_once", NOW),
            invoiced("in_after", "price_studio_once", NOW + 1),
        ],
        paid_sessions: vec![
            paid("cs_before", "price_studio_once", NOW),
            paid("cs_after", "price_studio_once", NOW + 1),
        ],
        subscriptions: vec![of],
        ..StripeState::default()
    };
    assert!(has_single_payments(&bought));
    keep_paid_after(&mut bought, at(NOW));
    assert_eq!(shown(&bought), ["paid cs_after", "in_sub", "in_after"]);
    bought.paid_sessions.clear();
    bought.invoices.pop();
    assert!(!has_single_payments(&bought), "only the subscription is left");
}

#[test]
fn only_a_plan_that_was_bought_later_needs_an_account_after_the_deletion_of_one() {
    let catalog = selling();
    let of_subscription = |status: &str, price: &str, created: i64| StripeState {
        subscriptions: vec![Subscription {
            created: at(created),
            ..subscription("sub_1", status, &[price])
        }],
        ..StripeState::default()
    };
    let of_payment = |price: &str, charged_at: i64| StripeState {
        paid_sessions: vec![paid("cs_1", price, charged_at)],
        ..StripeState::default()
    };
    for (bought, expected) in [
        (StripeState::default(), false),
        (of_payment("price_studio_once", NOW), false),
        (of_payment("price_studio_once", NOW + 1), true),
        (of_payment("price_studio_updates", NOW + 1), false),
        (of_subscription("active", "price_team_month", NOW), false),
        (of_subscription("active", "price_team_month", NOW + 1), true),
        (of_subscription("canceled", "price_team_month", NOW + 1), false),
        (of_subscription("active", "price_of_something_else", NOW + 1), false),
    ] {
        assert_eq!(has_bought_plan_after(&bought, &catalog, at(NOW)), expected, "{bought:?}");
    }
}

#[test]
fn only_paid_sessions_for_the_catalog_can_be_claimed() {
    let catalog = selling();
    let mut bought = two_payments();
    let unpaid = CheckoutSession { is_unpaid: true, ..completed("cs_3", None) };
    let open = CheckoutSession { status: CheckoutStatus::Open, ..completed("cs_4", None) };
    bought.checkout_sessions.extend([unpaid, open, completed("cs_5", None)]);
    for id in ["cs_3", "cs_4"] {
        bought.paid_sessions.push(paid(id, "price_studio_once", NOW));
    }
    bought.paid_sessions.push(paid("cs_5", "price_of_something_else", NOW));
    let ids = claimable_sessions(&bought, &catalog);
    assert_eq!(ids, [&session_id("cs_1"), &session_id("cs_2")]);
}

#[test]
fn the_reason_names_what_the_purchases_add_to_it() {
    let (catalog, ada) = (selling(), customer(1));
    let taken = || Ambiguity::Taken(ada.clone(), "cus_1".parse().unwrap());
    let explained =
        |doubt, bought: &StripeState, claimed| explain(doubt, bought, claimed, &catalog);
    let both = ["cs_1", "cs_2"].map(session_id).to_vec();
    let bought = two_payments();
    let sessions = ClaimAdvice::Sessions(both.clone());
    assert_eq!(explained(taken(), &bought, Vec::new()), (taken(), sessions));
    let no_account = (Ambiguity::NoAccount, ClaimAdvice::Nothing);
    assert_eq!(explained(Ambiguity::NoAccount, &bought, Vec::new()), no_account);

    // Nothing is left.
    let claimed: Claims = both.into_iter().map(|id| (id, Some(ada.clone()))).collect();
    let nothing = StripeState::default();
    let all_claimed = (Ambiguity::AllClaimed(claimed.clone()), ClaimAdvice::Nothing);
    for doubt in [taken(), Ambiguity::NoAccount, Ambiguity::NoEmail] {
        assert_eq!(explained(doubt, &nothing, claimed.clone()), all_claimed);
    }
    let of_deleted = Ambiguity::Deleted { id: ada.clone(), is_subscribed: false };
    for doubt in [Ambiguity::Contradiction(ada.clone(), customer(2)), of_deleted] {
        assert_eq!(explained(doubt.clone(), &nothing, claimed.clone()).0, doubt);
    }
    let no_plan = |id: Option<&str>| Ambiguity::NoPlan(id.map(|id| id.parse().unwrap()));
    assert_eq!(explained(Ambiguity::NoAccount, &nothing, Vec::new()).0, no_plan(None));

    // Updates need a license that a new account does not have.
    let mut updates = StripeState::default();
    updates.paid_sessions.push(paid("cs_1", "price_studio_updates", NOW));
    assert_eq!(explained(Ambiguity::NoAccount, &updates, Vec::new()).0, no_plan(Some("studio")));
    assert_eq!(explained(Ambiguity::NoEmail, &updates, Vec::new()).0, Ambiguity::NoEmail);
}

#[test]
fn the_advice_names_one_command_for_each_payment() {
    let (ada, this) = (customer(1), "cus_2".parse().unwrap());
    let text = |advice: ClaimAdvice| advice.text(&this, &ada);
    let command = |id: &str| format!("`licentia stripe claim {id} --to {ada}`");
    let both = ["cs_1", "cs_2"].map(session_id).to_vec();
    let expected = format!("run {} and {}", command("cs_1"), command("cs_2"));
    assert_eq!(text(ClaimAdvice::Sessions(both)), Some(expected));
    assert_eq!(claim_advice(&StripeState::default(), &selling()), ClaimAdvice::Nothing);
    assert_eq!(text(ClaimAdvice::Nothing), None);
    let ask = "run `licentia stripe claim cus_2`, which prints how".to_owned();
    assert_eq!(text(ClaimAdvice::AskClaim), Some(ask));
}
