//! Add-ons that are sold alone, to the owners of a plan.

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::Card;
use serde_json::{Value, json};

use crate::harness::selling::{LOFT, loft};
use crate::harness::shop::{Buyer, Shop};
use crate::sell_once::customer_of;

/// A plan with all builds that is sold once, one that is not sold any more, and their add-on.
const ENDLESS: &str = r#"
[[plan]]
id = "old"
name = "Old"
per_unit = ["machines"]
limits = { machines = 1 }
prices = [{ id = "price_old", interval = "once", amount = 2000, currency = "usd", sold = false }]

[[plan]]
id = "forever"
name = "Forever"
prices = [{ id = "price_forever", interval = "once", amount = 99000, currency = "usd" }]

[[addon]]
id = "cad"
name = "CAD"
features = ["cad"]
plans = ["old", "forever"]
prices = [{ id = "price_cad", interval = "once", amount = 700, currency = "usd" }]
"#;

#[tokio::test]
async fn an_add_on_alone_is_sold_to_each_owner_of_a_plan_and_to_nobody_else() {
    let shop = Shop::selling_with(ENDLESS).await;
    let ada = shop.buyer("ada@example.com").await;
    let with_cad = |plan: &str| json!({ "plan": plan, "interval": "once", "addons": ["cad"] });
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    let not_sold = shop.order(&ada, with_cad("old")).await;
    assert_eq!(not_sold.problem(), (422, "unknown_plan"), "only its owners can add something");
    // A plan that is not sold any more.
    let customer = customer_of(&shop, &ada).await;
    let session = shop.session_at_stripe(&customer, "price_old").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(shop.claims(&ada).await.plan, "old");
    shop.purchase(&ada, with_cad("old")).await;
    let claims = shop.claims(&ada).await;
    assert!(claims.features.iter().any(|feature| feature == "cad"), "{claims:?}");
    assert_eq!(shop.orders(&ada).await.remove(0)["amount"], 700);
    // A plan with all builds, also with a quantity: it cannot be bought again.
    let bob = shop.buyer("bob@example.com").await;
    shop.purchase(&bob, json!({ "plan": "forever", "interval": "once" })).await;
    let mut one = with_cad("forever");
    one["quantity"] = json!(1);
    shop.purchase(&bob, one).await;
    assert!(shop.claims(&bob).await.features.iter().any(|feature| feature == "cad"));
    assert_eq!(shop.sync_all().await.need_action(), 0);
    // Whoever does not own the plan buys both.
    let eve = shop.buyer("eve@example.com").await;
    shop.purchase(&eve, with_cad("forever")).await;
    assert_eq!(shop.orders(&eve).await.remove(0)["amount"], 99_700);
}

/// Returns a request for the plan of [`LOFT`], or for its add-ons alone.
fn once(addons: &[&str]) -> Value {
    json!({ "plan": "loft", "interval": "once", "addons": addons })
}

/// Returns the amount of a checkout that a request opens.
async fn offered(shop: &Shop, buyer: &Buyer, request: Value) -> Value {
    shop.open_checkout(buyer, request).await;
    shop.orders(buyer).await.remove(0)["amount"].clone()
}

async fn has_cad(shop: &Shop, buyer: &Buyer) -> bool {
    shop.claims(buyer).await.features.iter().any(|feature| feature == "cad")
}

/// Lets a subscription run for a year, and end.
async fn subscribe_for_a_year(shop: &Shop, buyer: &mut Buyer, addons: &[&str]) {
    shop.purchase_one_period(buyer, loft("year", 1, addons)).await;
    // The plan is not owned yet, so the request sells it.
    let price = 5000 + if addons.is_empty() { 0 } else { 700 };
    assert_eq!(offered(shop, buyer, once(addons)).await, price);
    shop.pass_days(buyer, 367).await;
}

#[tokio::test]
async fn a_license_that_a_subscription_left_gets_an_add_on_alone() {
    let shop = Shop::selling_with(LOFT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    subscribe_for_a_year(&shop, &mut ada, &[]).await;
    let before = shop.claims(&ada).await;
    assert_eq!((before.plan.as_str(), before.license_expires), ("loft", None));
    assert!(before.updates_until.is_some() && !has_cad(&shop, &ada).await);
    let with_units = loft("once", 1, &["cad"]);
    assert_eq!(offered(&shop, &ada, with_units).await, 5700, "a quantity sells the plan too");
    assert_eq!(offered(&shop, &ada, once(&["cad"])).await, 700);
    shop.purchase(&ada, once(&["cad"])).await;
    assert!(has_cad(&shop, &ada).await);
    assert_eq!(shop.claims(&ada).await.updates_until, before.updates_until);
    let refused = shop.order(&ada, once(&["cad"])).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"), "it is owned");
    assert_eq!(shop.sync_all().await.need_action(), 0);
    // The subscription left it with the add-on.
    let mut bob = shop.buyer("bob@example.com").await;
    subscribe_for_a_year(&shop, &mut bob, &["cad"]).await;
    assert!(has_cad(&shop, &bob).await);
    assert_eq!(shop.order(&bob, once(&["cad"])).await.problem(), (409, "lower_than_owned"));
}

#[tokio::test]
async fn an_add_on_alone_is_refused_while_a_grant_stays_the_license() {
    let shop = Shop::selling_with(LOFT).await;
    let admin = shop.app.admin(Scope::Support).await;
    let grant = async |buyer: &Buyer, plan: &str| {
        let path = format!("/api/admin/customers/{}/licenses", buyer.customer_id);
        let answer = admin.post(&path, &json!({ "plan": plan, "forever": true })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    };
    let refused = async |buyer: &Buyer, request: Value| {
        let refused = shop.order(buyer, request).await;
        assert_eq!(refused.problem(), (409, "no_perpetual_license"));
        refused.text("/detail").to_owned()
    };
    let ada = shop.buyer("ada@example.com").await;
    grant(&ada, "loft").await;
    let detail = refused(&ada, once(&["cad"])).await;
    assert!(detail.contains("license for `loft` was granted, so an add-on"), "{detail}");
    assert!(detail.ends_with("or send `quantity` to buy the plan too"), "{detail}");
    shop.purchase(&ada, loft("once", 1, &["cad"])).await;
    assert!(has_cad(&shop, &ada).await, "what is bought is worth more than the grant");
    // A plan that is not sold once.
    let bob = shop.buyer("bob@example.com").await;
    grant(&bob, "team").await;
    let team = json!({ "plan": "team", "interval": "once", "addons": ["pdf"] });
    let detail = refused(&bob, team).await;
    assert!(detail.ends_with("ask the vendor for the add-on"), "{detail}");
    // The grant covers new builds, and the perpetual license beside it no longer does.
    let mut eve = shop.buyer("eve@example.com").await;
    shop.purchase(&eve, once(&[])).await;
    grant(&eve, "loft").await;
    assert_eq!(offered(&shop, &eve, once(&["cad"])).await, 700, "it replaces the grant");
    shop.pass_days(&mut eve, 400).await;
    refused(&eve, once(&["cad"])).await;
}
