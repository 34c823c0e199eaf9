//! The life of a subscription, moved along by the sandbox's clock and by what people do.

use licentia_sandbox::{AfterRetries, Behavior, CancelField, Card, Options, Paid};

use crate::harness::{START, Stripe};

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_paid_checkout_makes_an_active_subscription_with_a_paid_invoice() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let path = format!("/v1/subscriptions/{subscription}?expand[]=latest_invoice.payments");
    let body = stripe.get(&path).await.body;
    assert_eq!(body["status"], "active");
    assert_eq!(body["customer"], customer.as_str());
    assert_eq!(body["metadata"]["customer_id"], "cust_1");
    assert_eq!(body["current_period_end"], serde_json::Value::Null);
    assert_eq!(body["items"]["data"][0]["current_period_end"], START + 30 * DAY);
    assert_eq!(body["items"]["data"][0]["price"]["id"], "price_pro_monthly");
    let invoice = &body["latest_invoice"];
    assert_eq!(invoice["status"], "paid");
    assert_eq!(invoice["amount_paid"], 4900);
    let billed = &invoice["parent"]["subscription_details"]["subscription"];
    assert_eq!(*billed, subscription.as_str());
    let intent = invoice["payments"]["data"][0]["payment"]["payment_intent"].as_str().unwrap();
    assert_eq!(stripe.status(intent), "succeeded");
}

#[tokio::test]
async fn the_session_says_what_became_of_it() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    assert_eq!(stripe.sandbox.pay(&session, Card::Declined), Ok(Paid::Declined));
    assert_eq!(stripe.status(&session), "open");
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!(body["status"], "complete");
    assert_eq!(body["payment_status"], "paid");
    assert_eq!(body["payment_intent"], serde_json::Value::Null);
    let path = format!("/v1/subscriptions?customer={customer}&status=all");
    let subscriptions = stripe.get(&path).await;
    assert_eq!(subscriptions.ids(), [body["subscription"].as_str().unwrap()]);
    assert!(stripe.sandbox.pay(&session, Card::Paid).is_err());
}
