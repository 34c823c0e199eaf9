//! Changes of the plan in the portal, now and scheduled; and subscriptions with several items.

use licentia_sandbox::{Card, Interval, NewPrice};
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};

/// The end of the first and of the second period.
const FIRST: &str = "2026-12-20T15:00:00+00:00";
const SECOND: &str = "2027-01-20T15:00:00+00:00";

/// Asserts the plan of the current license, and the time until which it works.
async fn must_have(shop: &Shop, buyer: &Buyer, plan: &str, expires: &str) {
    let license = shop.license(buyer).await;
    assert_eq!(
        (&license["plan"], &license["status"]),
        (&json!(plan), &json!("active")),
        "{license}"
    );
    assert_eq!(license["expires_at"], expires);
    assert_eq!(shop.subscription(buyer).await["plan"], plan);
}

/// Returns the plan, amount and status of each order, sorted by plan, because orders of the same
/// second have no other order.
async fn orders(shop: &Shop, buyer: &Buyer) -> Vec<(String, i64, String)> {
    let text = |order: &Value, field: &str| order[field].as_str().unwrap().to_owned();
    let order = |order: &Value| {
        (text(order, "plan"), order["amount"].as_i64().unwrap(), text(order, "status"))
    };
    let mut orders: Vec<_> = shop.orders(buyer).await.iter().map(order).collect();
    orders.sort();
    orders
}

fn order(plan: &str, amount: i64, status: &str) -> (String, i64, String) {
    (plan.to_owned(), amount, status.to_owned())
}

#[tokio::test]
async fn an_upgrade_takes_effect_when_its_difference_is_paid_stripe_13() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    let (customer, subscription) =
        (shop.stripe_customer_of(&session), shop.subscription_of(&session));
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.sandbox.change_plan(&subscription, "price_pro_monthly").unwrap();
    shop.settled().await;
    // Stripe has changed the price already, but the payment is missing.
    assert_eq!(shop.license(&ada).await["plan"], "starter");
    assert_eq!(orders(&shop, &ada).await[0], order("professional", 3000, "failed"));
    shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
    let invoice = shop.sandbox.object(&subscription)["latest_invoice"].clone();
    shop.sandbox.pay_invoice(invoice.as_str().unwrap()).unwrap();
    shop.settled().await;
    must_have(&shop, &ada, "professional", FIRST).await;
    let both = [order("professional", 3000, "succeeded"), order("starter", 1900, "succeeded")];
    assert_eq!(orders(&shop, &ada).await, both);
}

#[tokio::test]
async fn an_immediate_downgrade_follows_the_price_stripe_13() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.sandbox.change_plan(&shop.subscription_of(&session), "price_starter_monthly").unwrap();
    shop.settled().await;
    must_have(&shop, &ada, "starter", FIRST).await;
    shop.pass_days(&mut ada, 31).await;
    must_have(&shop, &ada, "starter", SECOND).await;
    let both = [order("professional", 4900, "succeeded"), order("starter", 1900, "succeeded")];
    assert_eq!(orders(&shop, &ada).await, both);
}

#[tokio::test]
async fn a_change_to_a_yearly_price_begins_a_new_period_stripe_13() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.sandbox.advance_days(10);
    shop.sandbox.change_plan(&shop.subscription_of(&session), "price_pro_yearly").unwrap();
    shop.settled().await;
    must_have(&shop, &ada, "professional", "2027-11-30T15:00:00+00:00").await;
}

#[tokio::test]
async fn a_scheduled_downgrade_keeps_the_old_plan_until_its_phase_begins_stripe_13() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let before = shop.license(&ada).await;
    shop.sandbox.schedule_change(&shop.subscription_of(&session), "price_starter_monthly").unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["license_id"], before["license_id"], "nothing changed yet");
    must_have(&shop, &ada, "professional", FIRST).await;
    shop.pass_days(&mut ada, 29).await;
    must_have(&shop, &ada, "professional", FIRST).await;
    assert_eq!(shop.orders(&ada).await.len(), 1);

    shop.pass_days(&mut ada, 2).await;
    must_have(&shop, &ada, "starter", SECOND).await;
    let both = [order("professional", 4900, "succeeded"), order("starter", 1900, "succeeded")];
    assert_eq!(orders(&shop, &ada).await, both);
    let token = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    assert!(!shop.offline(&token).await.unwrap().allows("sso"));
    // The schedule is complete, and the plan stays.
    shop.pass_days(&mut ada, 31).await;
    must_have(&shop, &ada, "starter", "2027-02-20T15:00:00+00:00").await;
    assert_eq!(shop.sandbox.events("subscription_schedule.completed").len(), 1);
}

#[tokio::test]
async fn an_unpaid_scheduled_downgrade_has_the_grace_period_of_the_new_plan_stripe_13() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.sandbox.schedule_change(&shop.subscription_of(&session), "price_starter_monthly").unwrap();
    shop.sandbox.replace_card(&shop.stripe_customer_of(&session), Card::DeclinedLater).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["status"]), (&json!("starter"), &json!("grace")));
    assert_eq!(license["expires_at"], FIRST);
}

#[tokio::test]
async fn an_undone_scheduled_downgrade_never_takes_effect_stripe_13() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    shop.sandbox.schedule_change(&subscription, "price_starter_monthly").unwrap();
    shop.settled().await;
    shop.sandbox.unschedule(&subscription).unwrap();
    shop.pass_days(&mut ada, 31).await;
    must_have(&shop, &ada, "professional", SECOND).await;
    let both = [order("professional", 4900, "succeeded"), order("professional", 4900, "succeeded")];
    assert_eq!(orders(&shop, &ada).await, both);
}

#[tokio::test]
async fn a_cancellation_before_a_scheduled_change_ends_the_old_plan_stripe_13() {
    let shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    let subscription = shop.subscription_of(&session);
    shop.sandbox.schedule_change(&subscription, "price_starter_monthly").unwrap();
    shop.settled().await;
    shop.sandbox.cancel(&subscription, true).unwrap();
    shop.settled().await;
    must_have(&shop, &ada, "professional", FIRST).await;
    assert_eq!(shop.license(&ada).await["grace_until"], Value::Null);
    shop.pass_days(&mut ada, 31).await;
    assert_eq!(shop.license(&ada).await["status"], "expired");
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    assert_eq!(shop.orders(&ada).await.len(), 1);
}

#[tokio::test]
async fn the_highest_plan_of_several_items_applies_in_any_order_stripe_19() {
    let mut decided = Vec::new();
    for prices in [
        ["price_starter_yearly", "price_pro_monthly", "price_seats"],
        ["price_seats", "price_pro_monthly", "price_starter_yearly"],
        ["price_pro_monthly", "price_starter_yearly", "price_seats"],
    ] {
        let shop = Shop::open().await;
        shop.sandbox.add_price(&NewPrice {
            id: "price_seats",
            product: "Seats",
            amount: 500,
            currency: "usd",
            interval: Interval::Month,
        });
        let mut ada = shop.buyer("ada@example.com").await;
        // A checkout links the customer. Then the vendor sells in the dashboard.
        let session = shop.checkout(&ada, "starter").await;
        let customer = shop.stripe_customer_of(&session);
        shop.sandbox.replace_card(&customer, Card::Paid).unwrap();
        let form = [
            ("customer", customer.as_str()),
            ("items[0][price]", prices[0]),
            ("items[1][price]", prices[1]),
            ("items[2][price]", prices[2]),
        ];
        shop.at_stripe("subscriptions", &form).await;
        shop.settled().await;
        must_have(&shop, &ada, "professional", FIRST).await;
        let at_first = shop.license(&ada).await;
        shop.pass_days(&mut ada, 31).await;
        must_have(&shop, &ada, "professional", SECOND).await;
        let later = shop.license(&ada).await;
        let said = |license: &Value| {
            ["plan", "features", "limits", "expires_at", "grace_until"].map(|f| license[f].clone())
        };
        decided.push((said(&at_first), said(&later), orders(&shop, &ada).await));
    }
    assert!(decided.iter().all(|each| *each == decided[0]), "{decided:#?}");
}
