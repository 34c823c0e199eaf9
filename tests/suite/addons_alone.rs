//! Add-ons that are sold alone, to the owners of a plan.

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::Card;
use serde_json::{Value, json};

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

/// A plan that is sold once and by the year, and leaves a perpetual license; and its add-on.
const RENT: &str = r#"
[[plan]]
id = "rent"
name = "Rent"
fallback_months = 12
prices = [
    { id = "price_rent_year", interval = "year", amount = 12000, currency = "usd" },
    { id = "price_rent_once", interval = "once", amount = 40000, currency = "usd", updates_months = 12 },
]

[[addon]]
id = "cad"
name = "CAD"
features = ["cad"]
plans = ["rent"]
prices = [
    { id = "price_cad", interval = "once", amount = 700, currency = "usd" },
    { id = "price_cad_year", interval = "year", amount = 200, currency = "usd" },
]
"#;

fn rent(addons: &[&str]) -> Value {
    json!({ "plan": "rent", "interval": "once", "addons": addons })
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
async fn rent_for_a_year(shop: &Shop, buyer: &mut Buyer, addons: &[&str]) {
    let request = json!({ "plan": "rent", "interval": "year", "addons": addons });
    let session = shop.purchase(buyer, request).await;
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.settled().await;
    // The plan is not owned yet, so the request sells it.
    let price = 40_000 + if addons.is_empty() { 0 } else { 700 };
    assert_eq!(offered(shop, buyer, rent(addons)).await, price);
    shop.pass_days(buyer, 367).await;
}

#[tokio::test]
async fn a_license_that_a_subscription_left_gets_an_add_on_alone() {
    let shop = Shop::selling_with(RENT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    rent_for_a_year(&shop, &mut ada, &[]).await;
    let before = shop.claims(&ada).await;
    assert_eq!((before.plan.as_str(), before.license_expires), ("rent", None));
    assert!(before.updates_until.is_some() && !has_cad(&shop, &ada).await);
    let with_units =
        json!({ "plan": "rent", "interval": "once", "quantity": 1, "addons": ["cad"] });
    assert_eq!(offered(&shop, &ada, with_units).await, 40_700, "a quantity sells the plan too");
    assert_eq!(offered(&shop, &ada, rent(&["cad"])).await, 700);
    shop.purchase(&ada, rent(&["cad"])).await;
    assert!(has_cad(&shop, &ada).await);
    assert_eq!(shop.claims(&ada).await.updates_until, before.updates_until);
    let refused = shop.order(&ada, rent(&["cad"])).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"), "it is owned");
    assert_eq!(shop.sync_all().await.need_action(), 0);
    // The subscription left it with the add-on.
    let mut bob = shop.buyer("bob@example.com").await;
    rent_for_a_year(&shop, &mut bob, &["cad"]).await;
    assert!(has_cad(&shop, &bob).await);
    assert_eq!(shop.order(&bob, rent(&["cad"])).await.problem(), (409, "lower_than_owned"));
}

#[tokio::test]
async fn an_add_on_alone_is_refused_while_a_grant_stays_the_license() {
    let shop = Shop::selling_with(RENT).await;
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
    grant(&ada, "rent").await;
    let detail = refused(&ada, rent(&["cad"])).await;
    assert!(detail.contains("license for `rent` was granted, so an add-on"), "{detail}");
    assert!(detail.ends_with("or send `quantity` to buy the plan too"), "{detail}");
    let with_units =
        json!({ "plan": "rent", "interval": "once", "quantity": 1, "addons": ["cad"] });
    shop.purchase(&ada, with_units).await;
    assert!(has_cad(&shop, &ada).await, "what is bought is worth more than the grant");
    // A plan that is not sold once.
    let bob = shop.buyer("bob@example.com").await;
    grant(&bob, "team").await;
    let team = json!({ "plan": "team", "interval": "once", "addons": ["pdf"] });
    let detail = refused(&bob, team).await;
    assert!(detail.ends_with("ask the vendor for the add-on"), "{detail}");
    // The grant covers new builds, and the perpetual license beside it no longer does.
    let mut eve = shop.buyer("eve@example.com").await;
    shop.purchase(&eve, rent(&[])).await;
    grant(&eve, "rent").await;
    assert_eq!(offered(&shop, &eve, rent(&["cad"])).await, 700, "it replaces the grant");
    shop.pass_days(&mut eve, 400).await;
    refused(&eve, rent(&["cad"])).await;
}
