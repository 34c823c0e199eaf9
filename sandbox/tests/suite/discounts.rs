//! Coupons and promotion codes (<https://docs.stripe.com/billing/subscriptions/coupons>).

use licentia_sandbox::{Card, CouponDuration, Paid};

use crate::harness::Stripe;

#[tokio::test]
async fn stripe_36_a_full_discount_pays_the_invoice_without_a_payment() {
    let stripe = Stripe::start().await;
    stripe.post("/v1/coupons", "id=FREE&percent_off=100&duration=forever").await.id();
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "&discounts[0][coupon]=FREE").await;
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["amount_subtotal"], &body["amount_total"]), (&4900.into(), &0.into()));
    assert_eq!(body["discounts"][0]["coupon"], "FREE");
    assert_eq!(stripe.sandbox.pay(&session, Card::Declined), Ok(Paid::Declined));
    assert_eq!(stripe.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["status"], &body["payment_status"]), (&"complete".into(), &"paid".into()));
    let subscription = body["subscription"].as_str().unwrap().to_owned();
    assert_eq!(stripe.status(&subscription), "active");
    for _ in 0..2 {
        let (invoice, intent) = stripe.payment(&subscription).await;
        assert_eq!(intent, "");
        let body = stripe.sandbox.object(&invoice);
        assert_eq!((&body["status"], &body["amount_due"]), (&"paid".into(), &0.into()));
        assert_eq!((&body["subtotal"], &body["total"]), (&4900.into(), &0.into()));
        assert_eq!(body["total_discount_amounts"][0]["amount"], 4900);
        stripe.sandbox.advance_days(31);
    }
    assert_eq!(stripe.sandbox.events("payment_intent.created").len(), 0);
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 3);
}

#[tokio::test]
async fn stripe_36_a_promotion_code_is_entered_at_the_checkout() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Once);
    let form = "promotion[type]=coupon&promotion[coupon]=HALF&code=FALL";
    let code = stripe.post("/v1/promotion_codes", form).await.id();
    let customer = stripe.customer().await;
    let without = stripe.session(&customer, "").await;
    assert!(stripe.sandbox.enter_promotion_code(&without, "FALL").is_err());
    let session = stripe.session(&customer, "&allow_promotion_codes=true").await;
    assert!(stripe.sandbox.enter_promotion_code(&session, "SPRING").is_err());
    stripe.sandbox.enter_promotion_code(&session, "FALL").unwrap();
    let body = stripe.sandbox.object(&session);
    assert_eq!(
        (&body["amount_total"], &body["total_details"]["amount_discount"]),
        (&2450.into(), &2450.into())
    );
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    let (invoice, intent) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 2450);
    assert_eq!(stripe.sandbox.object(&intent)["amount"], 2450);
    let path = format!("/v1/invoices/{invoice}?expand[]=discounts");
    let discount = stripe.get(&path).await.body["discounts"][0].take();
    assert_eq!(
        (&discount["promotion_code"], &discount["source"]["coupon"]),
        (&code.as_str().into(), &"HALF".into())
    );
    assert_eq!(stripe.sandbox.object("HALF")["times_redeemed"], 1);
    // It applied to one invoice.
    assert_eq!(stripe.sandbox.object(&subscription)["discounts"].as_array().unwrap().len(), 0);
    stripe.sandbox.advance_days(31);
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 4900);
}

#[tokio::test]
async fn stripe_36_a_coupon_applies_for_its_months() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("START", 20, CouponDuration::Months(2));
    let (_, subscription) = stripe.subscriber().await;
    stripe.sandbox.discount(&subscription, "START").unwrap();
    let mut paid = Vec::new();
    for _ in 0..3 {
        stripe.sandbox.advance_days(31);
        let (invoice, _) = stripe.payment(&subscription).await;
        paid.push(stripe.sandbox.object(&invoice)["amount_paid"].as_i64().unwrap());
    }
    assert_eq!(paid, [3920, 4900, 4900], "the second month is over when the second renewal comes");
    assert_eq!(stripe.sandbox.events("customer.discount.deleted").len(), 1);
}

#[tokio::test]
async fn stripe_36_a_trial_does_not_use_a_coupon_up() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Once);
    let customer = stripe.customer().await;
    let more = "&discounts[0][coupon]=HALF&subscription_data[trial_period_days]=7";
    let session = stripe.session(&customer, more).await;
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    assert_eq!(stripe.sandbox.object(&session)["payment_status"], "no_payment_required");
    stripe.sandbox.advance_days(7);
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    let (invoice, _) = stripe.payment(&subscription).await;
    assert_eq!(stripe.sandbox.object(&invoice)["amount_paid"], 2450);
}
