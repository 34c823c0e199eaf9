//! Quantities that the buyer chooses
//! (<https://docs.stripe.com/payments/checkout/adjustable-quantity>).

use licentia_sandbox::Card;
use serde_json::json;

use crate::harness::Stripe;

const ADJUSTABLE: &str = "&line_items[0][adjustable_quantity][enabled]=true\
                          &line_items[0][adjustable_quantity][minimum]=2\
                          &line_items[0][adjustable_quantity][maximum]=20\
                          &line_items[0][quantity]=3";

const PRICE: &str = "price_pro_monthly";

#[tokio::test]
async fn a_buyer_chooses_the_quantity_within_its_limits() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, ADJUSTABLE).await;
    let path = format!("/v1/checkout/sessions/{session}/line_items");
    let line = stripe.get(&path).await.body["data"][0].take();
    let limits = json!({ "enabled": true, "maximum": 20, "minimum": 2 });
    assert_eq!((&line["quantity"], &line["adjustable_quantity"]), (&json!(3), &limits));
    for quantity in [0, 1, 21] {
        assert!(stripe.sandbox.choose_quantity(&session, PRICE, quantity).is_err());
    }
    stripe.sandbox.choose_quantity(&session, PRICE, 5).unwrap();
    assert_eq!(stripe.sandbox.object(&session)["amount_total"], 5 * 4900);
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    assert_eq!(stripe.get(&path).await.body["data"][0]["quantity"], 5);
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.object(&subscription)["items"]["data"][0]["quantity"], 5);
    let (invoice, _) = stripe.payment(&subscription).await;
    let invoice = stripe.sandbox.object(&invoice);
    assert_eq!(
        (&invoice["amount_paid"], &invoice["lines"]["data"][0]["quantity"]),
        (&json!(5 * 4900), &json!(5))
    );
    assert!(stripe.sandbox.choose_quantity(&session, PRICE, 6).is_err(), "it is complete");
}

#[tokio::test]
async fn a_quantity_that_changes_after_a_declined_card_is_the_one_paid() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, ADJUSTABLE).await;
    stripe.sandbox.pay(&session, Card::Declined).unwrap();
    stripe.sandbox.choose_quantity(&session, PRICE, 7).unwrap();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let body = stripe.sandbox.object(&session);
    let subscription = stripe.sandbox.object(body["subscription"].as_str().unwrap());
    assert_eq!(
        (&subscription["status"], &subscription["items"]["data"][0]["quantity"]),
        (&json!("active"), &json!(7))
    );
}

#[tokio::test]
async fn a_line_is_removed_by_zero_unless_it_is_the_only_one() {
    let stripe = Stripe::with_perpetual_plans().await;
    let more = "&line_items[0][adjustable_quantity][enabled]=true&line_items[1][price]=price_pdf\
                &line_items[1][adjustable_quantity][enabled]=true";
    let session = stripe.create_payment(more).await.id();
    stripe.sandbox.choose_quantity(&session, "price_pdf", 0).unwrap();
    assert!(stripe.sandbox.choose_quantity(&session, "price_studio", 0).is_err());
    let lines = stripe.get(&format!("/v1/checkout/sessions/{session}/line_items")).await.body;
    assert_eq!(lines["data"].as_array().unwrap().len(), 1);
    // The default maximum is 99.
    assert!(stripe.sandbox.choose_quantity(&session, "price_studio", 100).is_err());
    stripe.sandbox.choose_quantity(&session, "price_studio", 99).unwrap();
    assert_eq!(stripe.sandbox.object(&session)["amount_total"], 99 * 19_900);
}

#[tokio::test]
async fn a_fixed_quantity_and_impossible_limits_are_refused() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let fixed = stripe.session(&customer, "").await;
    assert!(stripe.sandbox.choose_quantity(&fixed, PRICE, 2).is_err());
    for limits in ["minimum]=4", "maximum]=2", "maximum]=1000000"] {
        let form = format!(
            "mode=subscription&success_url=http://x/&line_items[0][price]={PRICE}\
             &line_items[0][quantity]=3&line_items[0][adjustable_quantity][enabled]=true\
             &line_items[0][adjustable_quantity][{limits}"
        );
        let refused = stripe.post("/v1/checkout/sessions", &form).await;
        assert_eq!(
            (refused.status, refused.error("param")),
            (400, "line_items[0][adjustable_quantity][maximum]")
        );
    }
}
