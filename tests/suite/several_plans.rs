//! Customers who own several perpetual plans: the highest one is the license.

use licentia_sandbox::Card;
use serde_json::{Value, json};

use crate::harness::shop::{Buyer, Shop};

/// A plan above all others that is sold once, with updates.
const FARM: &str = r#"
[[plan]]
id = "farm"
name = "Farm"
features = ["export", "sync", "render", "farm"]
prices = [
    { id = "price_farm_once", interval = "once", amount = 60000, currency = "usd", updates_months = 12 },
    { id = "price_farm_updates", interval = "updates", amount = 20000, currency = "usd", updates_months = 12 },
]
"#;

fn once(plan: &str) -> Value {
    json!({ "plan": plan, "interval": "once" })
}

fn updates(plan: &str) -> Value {
    json!({ "plan": plan, "interval": "updates" })
}

/// Returns the plan of the license, and the end of its updates.
async fn license(shop: &Shop, buyer: &Buyer) -> (String, Option<i64>) {
    let claims = shop.claims(buyer).await;
    (claims.plan, claims.updates_until)
}

fn last_subject(shop: &Shop) -> String {
    shop.mails_about_sales("ada@example.com").last().unwrap().subject().to_owned()
}

#[tokio::test]
async fn the_higher_perpetual_plan_holds_when_its_updates_end_first() {
    let shop = Shop::selling_with(FARM).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, once("studio")).await;
    shop.purchase(&ada, updates("studio")).await;
    let (_, two_years) = license(&shop, &ada).await;
    shop.pass_days(&mut ada, 30).await;
    let session = shop.purchase(&ada, once("farm")).await;
    assert_eq!(license(&shop, &ada).await, ("farm".into(), two_years), "it takes them over");
    assert_eq!(last_subject(&shop), "Your new license for acme-app");
    let mails = shop.mails_about_sales("ada@example.com").len();
    for _ in 0..3 {
        shop.pass_days(&mut ada, 300).await;
        assert_eq!(license(&shop, &ada).await, ("farm".into(), two_years));
        assert_eq!(shop.sync_all().await.drifted.len(), 0);
    }
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), mails, "nothing happened");
    // The lower plan and its updates would have no effect, also after all updates have ended.
    for lower in [once("studio"), updates("studio")] {
        let refused = shop.order(&ada, lower).await;
        assert_eq!(refused.problem(), (409, "lower_than_owned"));
        assert!(refused.text("/detail").contains("`farm`, whose updates ended at"), "{refused:?}");
    }
    // A refund leaves the lower plan, with everything that was paid for it.
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(license(&shop, &ada).await, ("studio".into(), two_years));
    assert_eq!(last_subject(&shop), "Your license for acme-app has changed");
    assert_eq!(shop.sync_all().await.need_action(), 0);
}

#[tokio::test]
async fn a_lower_perpetual_plan_that_is_bought_elsewhere_is_reported() {
    let shop = Shop::selling_with(FARM).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, once("farm")).await;
    let before = license(&shop, &ada).await;
    let id = ada.customer_id.parse().unwrap();
    let customer = shop.app.app.store.read().await.unwrap().customer(&id).await.unwrap().unwrap();
    let stripe_id = customer.stripe_customer_id.unwrap().to_string();
    let session = shop.session_at_stripe(&stripe_id, "price_studio_once").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(license(&shop, &ada).await, before);
    let report = shop.sync_all().await;
    assert_eq!((report.drifted.len(), report.need_action()), (0, 1), "{report:?}");
}
