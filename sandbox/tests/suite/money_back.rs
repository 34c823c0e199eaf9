//! Refunds and disputes.

use licentia_sandbox::{Card, Paid};
use serde_json::Value;

use crate::harness::Stripe;

/// Returns the payment intent of a paid subscription, and its charge.
async fn paid(stripe: &Stripe) -> (String, String) {
    let (_, subscription) = stripe.subscriber().await;
    let (_, intent) = stripe.payment(&subscription).await;
    let charge = stripe.sandbox.object(&intent)["latest_charge"].as_str().unwrap().to_owned();
    (intent, charge)
}

fn refunded(stripe: &Stripe, charge: &str) -> (i64, bool) {
    stripe.sandbox.look(charge, |charge| {
        (charge["amount_refunded"].as_i64().unwrap(), charge["refunded"] == true)
    })
}

#[tokio::test]
async fn stripe_15_refunds_of_a_payment_and_of_its_charge_add_up() {
    // https://docs.stripe.com/refunds: several partial refunds, up to the whole charge.
    let stripe = Stripe::start().await;
    let (intent, charge) = paid(&stripe).await;
    let form = format!("payment_intent={intent}&amount=1000");
    stripe.post("/v1/refunds", &form).await.id();
    stripe.post("/v1/refunds", &format!("charge={charge}&amount=2000")).await.id();
    assert_eq!(refunded(&stripe, &charge), (3000, false));
    let too_much = stripe.post("/v1/refunds", &format!("charge={charge}&amount=2000")).await;
    assert_eq!(too_much.status, 400);
    stripe.sandbox.refund(&charge, None).unwrap();
    assert_eq!(refunded(&stripe, &charge), (4900, true));
    let by_charge = stripe.get(&format!("/v1/refunds?charge={charge}")).await;
    let by_intent = stripe.get(&format!("/v1/refunds?payment_intent={intent}")).await;
    assert_eq!(by_charge.ids().len(), 3);
    assert_eq!(by_charge.ids(), by_intent.ids());
    assert_eq!(stripe.sandbox.object(&charge)["refunds"]["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn stripe_15_a_pending_refund_succeeds_or_fails_later() {
    // https://docs.stripe.com/refunds#failed-refunds: a failed refund returns to the account.
    let stripe = Stripe::start().await;
    let (intent, charge) = paid(&stripe).await;
    let refund = stripe.sandbox.refund_slowly(&intent, None).unwrap();
    assert_eq!(
        (stripe.status(&refund), refunded(&stripe, &charge)),
        ("pending".into(), (4900, true))
    );
    stripe.sandbox.settle_refund(&refund, false).unwrap();
    assert_eq!((stripe.status(&refund), refunded(&stripe, &charge)), ("failed".into(), (0, false)));
    assert_eq!(stripe.sandbox.events("refund.failed").len(), 1);
    assert!(stripe.sandbox.settle_refund(&refund, true).is_err());

    let refund = stripe.sandbox.refund_slowly(&intent, Some(900)).unwrap();
    stripe.sandbox.settle_refund(&refund, true).unwrap();
    assert_eq!(
        (stripe.status(&refund), refunded(&stripe, &charge)),
        ("succeeded".into(), (900, false))
    );
    // A card's bank may return a refund that it accepted.
    stripe.sandbox.settle_refund(&refund, false).unwrap();
    assert_eq!((stripe.status(&refund), refunded(&stripe, &charge)), ("failed".into(), (0, false)));
}

fn moved(dispute: &Value) -> Vec<i64> {
    let transactions = dispute["balance_transactions"].as_array().unwrap().iter();
    transactions.map(|transaction| transaction["amount"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn stripe_24_a_dispute_has_an_amount_of_its_own() {
    // https://docs.stripe.com/api/disputes/object#dispute_object-amount: usually the charge's. It
    // differs by exchange rates, or when a part is disputed.
    for amount in [1200, 4900, 4900 - 97, 4900 + 97] {
        let stripe = Stripe::start().await;
        let (intent, charge) = paid(&stripe).await;
        let dispute = stripe.sandbox.open_dispute_about(&intent, amount).unwrap();
        let body = stripe.get(&format!("/v1/disputes?payment_intent={intent}")).await.body;
        assert_eq!(body["data"][0]["id"], dispute.as_str());
        assert_eq!(body["data"][0]["amount"], amount);
        assert_eq!(body["data"][0]["status"], "needs_response");
        assert_eq!(moved(&body["data"][0]), [-amount]);
        let object = stripe.sandbox.object(&charge);
        assert_eq!((&object["disputed"], &object["refunded"]), (&true.into(), &false.into()));
        stripe.sandbox.answer_dispute(&dispute).unwrap();
        assert_eq!(stripe.status(&dispute), "under_review");
        stripe.sandbox.close_dispute(&dispute, false).unwrap();
        assert_eq!(stripe.status(&dispute), "lost");
        assert_eq!(moved(&stripe.sandbox.object(&dispute)), [-amount]);
        assert_eq!(refunded(&stripe, &charge), (0, false), "a lost dispute is no refund");
        assert_eq!(stripe.sandbox.events("charge.dispute.closed").len(), 1);
    }
}

#[tokio::test]
async fn stripe_24_a_won_dispute_returns_the_money() {
    let stripe = Stripe::start().await;
    let (intent, charge) = paid(&stripe).await;
    let dispute = stripe.sandbox.open_dispute_about(&intent, 1200).unwrap();
    stripe.sandbox.close_dispute(&dispute, true).unwrap();
    let body = stripe.sandbox.object(&dispute);
    assert_eq!((&body["status"], moved(&body)), (&"won".into(), vec![-1200, 1200]));
    assert_eq!(stripe.sandbox.object(&charge)["disputed"], true, "it was disputed once");
    assert_eq!(stripe.sandbox.events("charge.dispute.funds_reinstated").len(), 1);
}

#[tokio::test]
async fn stripe_24_an_inquiry_withdraws_no_money_and_can_become_a_dispute() {
    // https://docs.stripe.com/disputes/how-disputes-work#inquiries
    let stripe = Stripe::start().await;
    let (intent, _) = paid(&stripe).await;
    let inquiry = stripe.sandbox.open_inquiry(&intent, None).unwrap();
    let body = stripe.sandbox.object(&inquiry);
    assert_eq!((&body["status"], moved(&body)), (&"warning_needs_response".into(), vec![]));
    assert_eq!(body["is_charge_refundable"], true);
    assert!(stripe.sandbox.close_dispute(&inquiry, false).is_err());
    stripe.sandbox.answer_dispute(&inquiry).unwrap();
    assert_eq!(stripe.status(&inquiry), "warning_under_review");
    stripe.sandbox.close_inquiry(&inquiry).unwrap();
    assert_eq!(stripe.status(&inquiry), "warning_closed");
    assert_eq!(stripe.sandbox.events("charge.dispute.funds_withdrawn").len(), 0);

    let inquiry = stripe.sandbox.open_inquiry(&intent, Some(1200)).unwrap();
    stripe.sandbox.escalate_inquiry(&inquiry).unwrap();
    let body = stripe.sandbox.object(&inquiry);
    assert_eq!((&body["status"], moved(&body)), (&"needs_response".into(), vec![-1200]));
    assert_eq!(stripe.sandbox.events("charge.dispute.funds_withdrawn").len(), 1);
    let closed = stripe.post(&format!("/v1/disputes/{inquiry}/close"), "").await;
    assert_eq!(closed.body["status"], "lost");
}

#[tokio::test]
async fn a_failed_first_debit_makes_its_active_subscription_past_due() {
    // https://docs.stripe.com/billing/subscriptions/overview: with a pending bank debit, the
    // subscription is active.
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    assert_eq!(stripe.sandbox.pay(&session, Card::DelayedFailed), Ok(Paid::Completed));
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    assert_eq!(stripe.status(&subscription), "active");
    stripe.sandbox.advance_days(3);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(
        (stripe.status(&subscription), stripe.status(&invoice)),
        ("past_due".into(), "open".into())
    );
    assert_eq!(stripe.sandbox.object(&session)["payment_status"], "unpaid");
    // The invoice is paid with another card after all.
    stripe.sandbox.pay_invoice_with(&invoice, Card::Paid).unwrap();
    assert_eq!(
        (stripe.status(&subscription), stripe.status(&invoice)),
        ("active".into(), "paid".into())
    );
}

#[tokio::test]
async fn a_failed_first_debit_can_leave_an_active_subscription_without_a_payment() {
    // https://docs.stripe.com/billing/subscriptions/overview: the invoice is voided, and the
    // subscription stays active.
    let stripe = Stripe::start().await;
    stripe.sandbox.void_failed_first_debits(true);
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    stripe.sandbox.pay(&session, Card::DelayedFailed).unwrap();
    stripe.sandbox.advance_days(3);
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    let (invoice, intent) = stripe.payment(&subscription).await;
    assert_eq!(stripe.status(&subscription), "active");
    assert_eq!(
        (stripe.status(&invoice), stripe.status(&intent)),
        ("void".into(), "canceled".into())
    );
    assert_eq!(stripe.sandbox.object(&session)["payment_status"], "unpaid");
    assert_eq!(stripe.sandbox.events("checkout.session.async_payment_failed").len(), 1);
}
