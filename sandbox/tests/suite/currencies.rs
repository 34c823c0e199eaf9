//! Prices in several currencies, and the currency of a customer's subscriptions.

use licentia_sandbox::{Card, Interval, NewPrice, PriceOptions, TaxBehavior};
use serde_json::{Value, json};

use crate::harness::{Answer, Stripe};

/// Sells in dollars and euros.
const BOTH: &str = "price_team_both";

impl Stripe {
    /// Starts with a monthly price in dollars and euros, and a perpetual one.
    async fn with_currencies() -> Self {
        let stripe = Self::start().await;
        let tax = TaxBehavior::Exclusive;
        for (id, interval) in [(BOTH, Interval::Month), ("price_once_both", Interval::Once)] {
            let new = NewPrice { id, product: id, amount: 1_000, currency: "usd", interval };
            let options =
                PriceOptions { currencies: &[("eur", 900)], tax, ..PriceOptions::default() };
            stripe.sandbox.add_price_with(&new, &options);
        }
        stripe
    }

    async fn sell(&self, mode: &str, price: &str, more: &str) -> Answer {
        let form = format!(
            "mode={mode}&line_items[0][price]={price}&success_url=http://localhost/ok{more}"
        );
        self.post("/v1/checkout/sessions", &form).await
    }
}

#[tokio::test]
async fn the_other_currencies_of_a_price_are_shown_on_request() {
    // https://docs.stripe.com/api/prices/object#price_object-currency_options
    let stripe = Stripe::with_currencies().await;
    let path = format!("/v1/prices/{BOTH}");
    let price = stripe.get(&path).await.body;
    assert_eq!((&price["currency"], &price["currency_options"]), (&"usd".into(), &Value::Null));
    assert_eq!(price["tax_behavior"], "exclusive");
    let options = stripe.get(&format!("{path}?expand[]=currency_options")).await.body;
    let options = &options["currency_options"];
    assert_eq!(options["eur"]["unit_amount"], 900);
    assert_eq!(options["usd"]["unit_amount_decimal"], "1000");
    assert_eq!(options["eur"]["tax_behavior"], "exclusive");
    let listed = stripe.get("/v1/prices?expand[]=data.currency_options&limit=1").await.body;
    assert_eq!(listed["data"][0]["currency_options"]["eur"]["unit_amount"], 900);

    let form = "product_data[name]=X&currency=usd&unit_amount=500&recurring[interval]=year\
                &currency_options[eur][unit_amount]=450&currency_options[gbp][unit_amount]=400";
    let made = stripe.post("/v1/prices", form).await.id();
    let made = stripe.get(&format!("/v1/prices/{made}?expand[]=currency_options")).await.body;
    assert_eq!(made["currency_options"]["gbp"]["unit_amount"], 400);
}

#[tokio::test]
async fn a_session_and_its_subscription_have_the_chosen_currency() {
    // https://docs.stripe.com/payments/checkout/localize-prices/manual-currency-prices
    let stripe = Stripe::with_currencies().await;
    let customer = stripe.customer().await;
    let more = format!("&customer={customer}&currency=eur&line_items[0][quantity]=2");
    let session = stripe.sell("subscription", BOTH, &more).await.id();
    let body = stripe.sandbox.object(&session);
    assert_eq!((&body["currency"], &body["amount_total"]), (&"eur".into(), &1_800.into()));
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    let subscription = stripe.sandbox.object(&session)["subscription"].as_str().unwrap().to_owned();
    assert_eq!(stripe.sandbox.object(&subscription)["currency"], "eur");
    assert_eq!(stripe.sandbox.object(&customer)["currency"], "eur");
    stripe.sandbox.advance_days(31);
    let (invoice, intent) = stripe.payment(&subscription).await;
    let invoice = stripe.sandbox.object(&invoice);
    assert_eq!((&invoice["currency"], &invoice["amount_paid"]), (&"eur".into(), &1_800.into()));
    let line = &invoice["lines"]["data"][0];
    assert_eq!(
        (&line["currency"], &line["pricing"]["unit_amount_decimal"]),
        (&"eur".into(), &"900".into())
    );
    assert_eq!(stripe.sandbox.object(&intent)["currency"], "eur");
    // A change to a price without that currency is not possible.
    assert!(stripe.sandbox.change_plan(&subscription, "price_pro_monthly").is_err());
}

#[tokio::test]
async fn without_a_choice_the_customers_currency_applies_then_the_prices_own() {
    // https://docs.stripe.com/api/customers/object#customer_object-currency
    let stripe = Stripe::with_currencies().await;
    let customer = stripe.customer().await;
    let buyer = format!("&customer={customer}");
    let first = stripe.sell("subscription", BOTH, &buyer).await;
    assert_eq!(first.body["currency"], "usd");
    stripe.post(&format!("/v1/checkout/sessions/{}/expire", first.id()), "").await.id();
    let euros = stripe.sell("subscription", BOTH, &format!("{buyer}&currency=eur")).await.id();
    stripe.sandbox.pay(&euros, Card::Paid).unwrap();
    assert_eq!(stripe.sell("subscription", BOTH, &buyer).await.body["currency"], "eur");
}

#[tokio::test]
async fn a_currency_that_a_price_does_not_have_is_refused() {
    let stripe = Stripe::with_currencies().await;
    for (price, currency) in [(BOTH, "gbp"), ("price_pro_monthly", "eur")] {
        let refused = stripe.sell("subscription", price, &format!("&currency={currency}")).await;
        assert_eq!((refused.status, refused.error("param")), (400, "line_items[0][price]"));
    }
}

#[tokio::test]
async fn running_subscriptions_and_open_sessions_pin_the_currency_of_new_ones() {
    // https://support.stripe.com/questions/set-or-change-currency-for-an-invoice-or-customer-in-stripe-billing:
    // the currency changes with the first subscription after the last one in the old currency. The
    // refusal has no code, and says "active subscription mode checkout session" too.
    let stripe = Stripe::with_currencies().await;
    let customer = stripe.customer().await;
    let euros = format!("&customer={customer}&currency=eur");
    let dollars = stripe.sell("subscription", BOTH, &format!("&customer={customer}")).await.id();
    let refused = stripe.sell("subscription", BOTH, &euros).await;
    assert_eq!((refused.status, refused.error("code")), (400, ""));
    assert!(refused.error("message").ends_with("session with currency usd."));
    stripe.sandbox.pay(&dollars, Card::Paid).unwrap();
    assert_eq!(stripe.sell("subscription", BOTH, &euros).await.status, 400);
    let form = format!("items[0][price]={BOTH}{euros}");
    assert_eq!(stripe.post("/v1/subscriptions", &form).await.status, 400);

    let subscription = stripe.sandbox.object(&dollars)["subscription"].clone();
    stripe.sandbox.cancel_now(subscription.as_str().unwrap()).unwrap();
    let session = stripe.sell("subscription", BOTH, &euros).await.id();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    assert_eq!(stripe.sandbox.object(&customer)["currency"], "eur");
}

#[tokio::test]
async fn a_one_time_payment_may_have_any_currency() {
    // https://docs.stripe.com/invoicing/multi-currency-customers: one customer can be billed in
    // another currency than its subscriptions'.
    let stripe = Stripe::with_currencies().await;
    let (customer, _) = stripe.subscriber().await;
    let more = format!("&customer={customer}&currency=eur&invoice_creation[enabled]=true");
    let session = stripe.sell("payment", "price_once_both", &more).await.id();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    stripe.sandbox.advance_days(1);
    let invoice = stripe.sandbox.object(&session)["invoice"].as_str().unwrap().to_owned();
    let invoice = stripe.sandbox.object(&invoice);
    assert_eq!((&invoice["currency"], &invoice["amount_paid"]), (&json!("eur"), &json!(900)));
    assert_eq!(stripe.sandbox.object(&customer)["currency"], "usd");
}
