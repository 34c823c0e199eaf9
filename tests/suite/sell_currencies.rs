//! Sales in several currencies. The numbers are those of docs/requirements.md.

use licentia_sandbox::{ApiFault, Card, Paid, Times};
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};

fn team(currency: Option<&str>) -> Value {
    let mut wanted = json!({ "plan": "team", "interval": "month" });
    if let Some(currency) = currency {
        wanted["currency"] = currency.into();
    }
    wanted
}

/// Returns the currency and the amount of the session that is sold.
async fn sold(shop: &Shop, buyer: &Buyer, currency: Option<&str>) -> (String, i64) {
    let session = shop.open_checkout(buyer, team(currency)).await;
    let session = shop.sandbox.object(&session);
    let currency = session["currency"].as_str().unwrap().to_owned();
    (currency, session["amount_total"].as_i64().unwrap())
}

#[tokio::test]
async fn a_price_per_currency_and_currency_options_both_work_stripe_35() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    for (wanted, amount) in [(None, 1000), (Some("eur"), 900), (Some("gbp"), 800)] {
        let expected = (wanted.unwrap_or("usd").to_owned(), amount);
        assert_eq!(sold(&shop, &ada, wanted).await, expected);
    }
    let answer = shop.order(&ada, team(Some("chf"))).await;
    assert_eq!(answer.problem(), (422, "currency_not_sold"));
    for currency in ["usd", "eur", "gbp"] {
        assert!(answer.text("/detail").contains(currency), "{answer:?}");
    }
    // The order says what was paid, in the currency in which it was paid.
    let session = shop.open_checkout(&ada, team(Some("eur"))).await;
    assert_eq!(shop.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
    shop.settled().await;
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["currency"], &order["amount"]), (&json!("eur"), &json!(900)));
    assert_eq!(shop.license(&ada).await["plan"], "team");
}

#[tokio::test]
async fn the_pinned_currency_is_the_default_stripe_35() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(Some("eur"))).await;
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    // It has ended, so that another currency is possible again; by default it stays.
    assert_eq!(sold(&shop, &ada, None).await, ("eur".to_owned(), 900));
    assert_eq!(sold(&shop, &ada, Some("gbp")).await, ("gbp".to_owned(), 800));
}

#[tokio::test]
async fn a_customer_pinned_to_another_currency_gets_that_reason_stripe_35() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, team(None)).await;
    let customer = shop.stripe_customer_of(&session);
    // The vendor sells something else to the customer in another currency.
    shop.sandbox.add_price(&licentia_sandbox::NewPrice {
        id: "price_support",
        product: "Support",
        amount: 100,
        currency: "chf",
        interval: licentia_sandbox::Interval::Month,
    });
    shop.at_stripe(&format!("checkout/sessions/{session}/expire"), &[]).await;
    shop.sandbox.subscribe(&customer, "price_support", Card::Paid).unwrap();
    shop.settled().await;
    for wanted in [None, Some("usd")] {
        let answer = shop.order(&ada, team(wanted)).await;
        assert_eq!(answer.problem(), (409, "currency_pinned"), "{wanted:?}: {answer:?}");
        assert!(answer.text("/detail").contains("chf"), "{answer:?}");
    }
    // A single payment can be in any currency.
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
}

#[tokio::test]
async fn pinned_by_something_that_is_not_listed_stripe_35() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, team(None)).await;
    let customer = shop.stripe_customer_of(&session);
    shop.at_stripe(&format!("checkout/sessions/{session}/expire"), &[]).await;
    // An open checkout of another program, in another currency.
    let other = [
        ("mode", "subscription"),
        ("customer", customer.as_str()),
        ("line_items[0][price]", "price_team_month_gbp"),
        ("line_items[0][quantity]", "1"),
        ("success_url", "https://vendor.example"),
    ];
    let other = shop.at_stripe("checkout/sessions", &other).await;
    let answer = shop.order(&ada, team(Some("eur"))).await;
    assert_eq!(answer.problem(), (409, "currency_pinned"), "{answer:?}");
    assert!(answer.text("/detail").contains("gbp"), "{answer:?}");
    let expire = format!("checkout/sessions/{}/expire", other["id"].as_str().unwrap());
    shop.at_stripe(&expire, &[]).await;
    assert_eq!(sold(&shop, &ada, Some("eur")).await, ("eur".to_owned(), 900));

    // Another refusal is not taken for it.
    shop.sandbox.faults().api_call(ApiFault::Refused, "POST /v1/checkout/sessions", Times::Next(9));
    let bob = shop.buyer("bob@example.com").await;
    let answer = shop.order(&bob, team(Some("usd"))).await;
    assert_eq!(answer.problem(), (502, "billing_refused"), "{answer:?}");
}

#[tokio::test]
async fn our_own_open_checkout_pins_nothing_stripe_35() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    assert_eq!(sold(&shop, &ada, Some("eur")).await, ("eur".to_owned(), 900));
    assert_eq!(sold(&shop, &ada, Some("usd")).await, ("usd".to_owned(), 1000));
}
