//! Metered prices beside licensed ones, billed in arrears or at a threshold
//! (<https://docs.stripe.com/billing/subscriptions/usage-based>).

use licentia_sandbox::{Card, Interval, NewPrice, Paid, PriceOptions};
use serde_json::{Value, json};

use crate::harness::{START, Stripe};

const METERED: &str = "price_calls";

impl Stripe {
    /// Returns a subscription to a licensed and to a metered price of 0.10, by Checkout.
    async fn metered(&self, more: &str) -> String {
        let (currency, interval) = ("usd", Interval::Month);
        let new = NewPrice { id: METERED, product: "Calls", amount: 10, currency, interval };
        self.sandbox
            .add_price_with(&new, &PriceOptions { is_metered: true, ..PriceOptions::default() });
        let customer = self.customer().await;
        let session =
            self.session(&customer, &format!("&line_items[1][price]={METERED}{more}")).await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid), Ok(Paid::Completed));
        self.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned()
    }

    async fn invoice_lines(&self, subscription: &str) -> (Value, Vec<Value>) {
        let (invoice, _) = self.payment(subscription).await;
        let invoice = self.sandbox.object(&invoice);
        let lines = invoice["lines"]["data"].as_array().unwrap().clone();
        (invoice, lines)
    }
}

#[tokio::test]
async fn usage_is_billed_at_the_end_of_its_period() {
    // https://docs.stripe.com/billing/subscriptions/usage-based/how-it-works
    let stripe = Stripe::start().await;
    let subscription = stripe.metered("").await;
    let body = stripe.sandbox.object(&subscription);
    let items = body["items"]["data"].as_array().unwrap();
    assert_eq!(items[1]["price"]["recurring"]["usage_type"], "metered");
    assert!(items[1].get("quantity").is_none() && items[0]["quantity"] == 1, "{items:#?}");
    let (first, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!(first["total"], 4900, "nothing is used yet");
    stripe.sandbox.add_usage(&subscription, METERED, 30).unwrap();
    stripe.sandbox.add_usage(&subscription, METERED, 12).unwrap();
    let end = items[1]["current_period_end"].clone();
    stripe.sandbox.advance_days(31);
    let (renewal, lines) = stripe.invoice_lines(&subscription).await;
    assert_eq!(
        (&renewal["total"], &renewal["billing_reason"]),
        (&json!(5320), &json!("subscription_cycle"))
    );
    let metered = lines.iter().find(|line| line["pricing"]["price_details"]["price"] == METERED);
    let metered = metered.unwrap();
    assert_eq!((&metered["amount"], &metered["quantity"]), (&json!(420), &json!(42)));
    assert_eq!(metered["period"], json!({ "start": START, "end": end }), "in arrears");
    stripe.sandbox.advance_days(31);
    let (next, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!(next["total"], 4900, "usage is billed once");
}

#[tokio::test]
async fn usage_that_reaches_the_threshold_is_billed_at_once() {
    // https://docs.stripe.com/billing/subscriptions/usage-based/thresholds
    let stripe = Stripe::start().await;
    let subscription = stripe.metered("").await;
    let form = "billing_thresholds[amount_gte]=1000";
    let changed = stripe.post(&format!("/v1/subscriptions/{subscription}"), form).await;
    assert_eq!(changed.body["billing_thresholds"]["amount_gte"], 1000);
    stripe.sandbox.advance_days(3);
    stripe.sandbox.add_usage(&subscription, METERED, 99).unwrap();
    assert_eq!(stripe.sandbox.events("invoice.paid").len(), 1);
    stripe.sandbox.add_usage(&subscription, METERED, 2).unwrap();
    let (invoice, lines) = stripe.invoice_lines(&subscription).await;
    assert_eq!(
        (&invoice["billing_reason"], &invoice["amount_paid"]),
        (&json!("subscription_threshold"), &json!(1010))
    );
    assert_eq!(lines.len(), 1, "only the usage");
    let period = stripe.sandbox.object(&subscription)["items"]["data"][0].take();
    assert_eq!(period["current_period_start"], START, "the period goes on");
    stripe.sandbox.advance_days(28);
    let (renewal, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!(renewal["total"], 4900);
}

#[tokio::test]
async fn the_usage_of_a_trial_is_free_and_the_last_usage_is_billed() {
    // https://docs.stripe.com/billing/subscriptions/trials,
    // https://docs.stripe.com/billing/subscriptions/cancel
    let stripe = Stripe::start().await;
    let subscription = stripe.metered("&subscription_data[trial_period_days]=7").await;
    let form = "billing_thresholds[amount_gte]=1000";
    stripe.post(&format!("/v1/subscriptions/{subscription}"), form).await.id();
    stripe.sandbox.add_usage(&subscription, METERED, 500).unwrap();
    stripe.sandbox.advance_days(7);
    let (after_trial, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!(after_trial["total"], 4900);
    stripe.sandbox.cancel(&subscription, true).unwrap();
    stripe.sandbox.add_usage(&subscription, METERED, 5).unwrap();
    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.status(&subscription), "canceled");
    let (last, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!((&last["total"], &last["status"]), (&json!(50), &json!("paid")));
}

#[tokio::test]
async fn a_metered_price_has_a_meter_and_takes_no_quantity() {
    // https://docs.stripe.com/api/prices/create#create_price-recurring-meter
    let stripe = Stripe::start().await;
    let form = "product_data[name]=X&currency=usd&unit_amount=5&recurring[interval]=month\
                &recurring[usage_type]=metered";
    assert_eq!(stripe.post("/v1/prices", form).await.error("param"), "recurring[meter]");
    let price = stripe.post("/v1/prices", &format!("{form}&recurring[meter]=mtr_1")).await.id();
    let customer = stripe.customer().await;
    let form = format!("customer={customer}&items[0][price]={price}&items[0][quantity]=1");
    let refused = stripe.post("/v1/subscriptions", &form).await;
    assert_eq!((refused.status, refused.error("param")), (400, "items[0][quantity]"));
    assert!(stripe.sandbox.add_usage("sub_none", &price, 1).is_err());
    let (_, subscription) = stripe.subscriber().await;
    assert!(stripe.sandbox.add_usage(&subscription, "price_pro_monthly", 1).is_err());
}

#[tokio::test]
async fn a_metered_item_is_added_and_left_alone_by_changes() {
    // https://docs.stripe.com/billing/subscriptions/prorations: usage is not prorated.
    let stripe = Stripe::start().await;
    let subscription = stripe.metered("").await;
    stripe.sandbox.advance_days(10);
    stripe.sandbox.add_usage(&subscription, METERED, 30).unwrap();
    let items = stripe.sandbox.object(&subscription)["items"]["data"].clone();
    let (plan, metered) = (&items[0]["id"], &items[1]["id"]);
    let path = format!("/v1/subscriptions/{subscription}");
    let form = format!("items[0][id]={}&items[0][quantity]=2", metered.as_str().unwrap());
    assert_eq!(stripe.post(&path, &form).await.error("param"), "items[0][quantity]");
    let form = format!("items[0][id]={}&items[0][quantity]=2", plan.as_str().unwrap());
    let changed = stripe.post(&path, &format!("{form}&proration_behavior=none")).await;
    assert_eq!(changed.body["items"]["data"][1], items[1]);
    stripe.sandbox.add_price_with(
        &NewPrice {
            id: "price_bytes",
            product: "Bytes",
            amount: 1,
            currency: "usd",
            interval: Interval::Month,
        },
        &PriceOptions { is_metered: true, ..PriceOptions::default() },
    );
    let added = stripe.post(&path, "items[0][price]=price_bytes").await;
    assert!(added.body["items"]["data"][2].get("quantity").is_none(), "{:#}", added.body);
    stripe.sandbox.add_usage(&subscription, "price_bytes", 7).unwrap();
    stripe.sandbox.advance_days(21);
    let (renewal, _) = stripe.invoice_lines(&subscription).await;
    assert_eq!(renewal["total"], 2 * 4900 + 300 + 7);
}
