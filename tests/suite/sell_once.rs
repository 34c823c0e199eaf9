//! Perpetual licenses: bought by one payment, with updates for a time. The numbers are those of
//! docs/requirements.md.

use std::time::{Duration, SystemTime};

use chrono::Months;
use licentia_sandbox::{ApiFault, Card, DeliveryFault, Order, Paid, Times};
use licentia_verify::KeySet;
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};

/// Returns the time this many months after a time, in epoch seconds.
fn months_after(seconds: i64, months: u32) -> i64 {
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    time.checked_add_months(Months::new(months)).unwrap().timestamp()
}

fn now(shop: &Shop) -> i64 {
    shop.sandbox.clock().now()
}

fn studio() -> Value {
    json!({ "plan": "studio", "interval": "once" })
}

/// Returns the payment of the only order that succeeded.
async fn payment_of(shop: &Shop, session: &str) -> String {
    shop.sandbox.payment_intent(session).expect("a payment")
}

#[tokio::test]
async fn a_perpetual_license_is_sold_by_one_payment() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let bought_at = now(&shop);
    shop.purchase(&ada, studio()).await;
    let claims = shop.claims(&ada).await;
    assert_eq!(
        (claims.plan.as_str(), claims.license_expires, claims.grace_until),
        ("studio", None, None)
    );
    assert_eq!(claims.updates_until, Some(months_after(bought_at, 12)));
    let orders = shop.orders(&ada).await;
    let [order] = orders.as_slice() else { panic!("{orders:?}") };
    assert_eq!((&order["amount"], &order["status"]), (&json!(30_000), &json!("succeeded")));
    assert_eq!((&order["interval"], &order["quantity"]), (&json!("once"), &json!(1)));
    assert_eq!((&order["tax"], &order["refunded_amount"]), (&json!(0), &json!(0)));
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!(mails.len(), 1, "{:?}", mails.iter().map(|mail| mail.subject()).collect::<Vec<_>>());
    // An app verifies it with the time of its build.
    let jwks = shop.app.client.get("/.well-known/jwks.json").await.text;
    let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();
    let license = shop.license(&ada).await;
    let verify = |build: i64| {
        let build = SystemTime::UNIX_EPOCH + Duration::from_secs(build.unsigned_abs());
        let now = shop.app.app.now().to_system_time();
        licentia_verify::verify_build(license["token"].as_str().unwrap(), &keys, now, build)
    };
    let end = claims.updates_until.unwrap();
    assert!(verify(end).is_ok(), "a build of exactly that time is covered");
    assert_eq!(verify(end + 1).unwrap_err().code(), "update_not_covered");
    assert_eq!(shop.sync_all().await.drifted.len(), 0, "a repeated sync is silent");
}
