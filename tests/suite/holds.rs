//! Nothing that was paid or granted is lost or shrinks, and what has no effect is refused or
//! reported. The decisions are tested as tables in `src/domain`; here, that each call follows them.

use licentia::domain::operator::admin_key::Scope;
use licentia::flows::sale::plans::changed_licenses;
use licentia_sandbox::Options;
use serde_json::{Value, json};

use crate::harness::database::execute;
use crate::harness::shop::{Buyer, Shop};

const PLANS: &str = include_str!("harness/selling.toml");

/// A plan above the others that is sold by the unit, for ever and by subscription.
const CAD: &str = r#"
[[plan]]
id = "cad"
name = "CAD"
features = ["export"]
limits = { seats = 1 }
per_unit = ["seats"]
prices = [
    { id = "price_cad_once", interval = "once", amount = 5000, currency = "usd", updates_months = 12 },
    { id = "price_cad_month", interval = "month", amount = 500, currency = "usd" },
]
"#;

fn studio() -> Value {
    json!({ "plan": "studio", "interval": "once" })
}

fn licenses_of(buyer: &Buyer) -> String {
    format!("/api/admin/customers/{}/licenses", buyer.customer_id)
}

#[tokio::test]
async fn days_for_new_builds_stay_until_their_end_and_then_the_owned_license_returns() {
    let mut shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    let owned = shop.claims(&ada).await;
    shop.pass_days(&mut ada, 400).await;
    let admin = shop.app.admin(Scope::Support).await;
    let grant = json!({ "plan": "studio", "days": 60 });
    let granted = admin.post(&licenses_of(&ada), &grant).await;
    assert_eq!(granted.status, 201, "nothing is shortened: {}", granted.text);
    assert_eq!(shop.sync_all().await.drifted.len(), 0, "a sync takes the grant away");
    assert_eq!(shop.claims(&ada).await.updates_until, None, "it covers new builds");
    // No event tells the end of a grant. The app fetches its license, which causes a sync.
    shop.end_worker().await;
    shop.sandbox.advance_days(60);
    shop.log_in(&mut ada).await;
    let returned = shop.claims(&ada).await;
    assert_eq!((returned.license_expires, returned.updates_until), (None, owned.updates_until));
}

#[tokio::test]
async fn a_purchase_does_not_cut_the_builds_of_a_grant() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let admin = shop.app.admin(Scope::Support).await;
    let grant = json!({ "plan": "studio", "days": 1000 });
    assert_eq!(admin.post(&licenses_of(&ada), &grant).await.status, 201);
    shop.purchase(&ada, studio()).await;
    let held = shop.license(&ada).await;
    assert_eq!(held["updates_until"], Value::Null, "{held}");
    assert_ne!(held["expires_at"], Value::Null, "it is the grant: {held}");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn the_updates_of_a_perpetual_license_end_without_an_event_and_the_subscription_follows() {
    let mut shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "team", "interval": "year" })).await;
    shop.sandbox.advance_days(30);
    shop.settled().await;
    shop.log_in(&mut ada).await;
    shop.purchase(&ada, studio()).await;
    let report = shop.sync_all().await;
    assert_eq!(report.need_action(), 1, "the subscription has no effect: {report:?}");
    // The year is renewed while the updates of studio last. Then nothing happens at Stripe.
    shop.sandbox.advance_days(340);
    shop.settled().await;
    shop.log_in(&mut ada).await;
    assert_eq!(shop.license(&ada).await["plan"], "studio");
    shop.end_worker().await;
    shop.sandbox.advance_days(26);
    shop.log_in(&mut ada).await;
    assert_eq!(shop.license(&ada).await["plan"], "team", "it covers the builds of today");
}

#[tokio::test]
async fn a_subscription_for_fewer_units_than_are_owned_is_refused() {
    let shop = Shop::selling_plans(Options::default(), &format!("{PLANS}\n{CAD}")).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "cad", "interval": "once", "quantity": 10 })).await;
    for days in [0, 400] {
        shop.pass_days(&mut ada, days).await;
        for quantity in [1, 9] {
            let wanted = json!({ "plan": "cad", "interval": "month", "quantity": quantity });
            let refused = shop.order(&ada, wanted).await;
            assert_eq!(refused.problem(), (409, "lower_than_owned"), "{days}");
            let detail = refused.text("/detail");
            assert!(detail.contains("owns `cad` with 10 units"), "{detail}");
            let units = if quantity == 1 { "1 unit" } else { "9 units" };
            assert!(detail.contains(&format!("with `cad` for {units}, the license")), "{detail}");
            assert!(detail.contains("choose at least 10 units, or accept"), "{detail}");
        }
    }
    shop.purchase(&ada, json!({ "plan": "cad", "interval": "month", "quantity": 10 })).await;
    let claims = shop.claims(&ada).await;
    assert_eq!((claims.limits["seats"], claims.updates_until), (10, None));
    assert_eq!(shop.sync_all().await.need_action(), 0);
}

#[tokio::test]
async fn a_higher_perpetual_plan_for_fewer_units_than_are_owned_is_refused() {
    let pro = CAD.replace("\"cad\"", "\"pro\"").replace("price_cad", "price_pro");
    let shop = Shop::selling_plans(Options::default(), &format!("{PLANS}\n{CAD}\n{pro}")).await;
    let ada = shop.buyer("ada@example.com").await;
    let once = |plan: &str, quantity: u32| json!({ "plan": plan, "interval": "once", "quantity": quantity });
    shop.purchase(&ada, once("cad", 10)).await;
    let refused = shop.order(&ada, once("pro", 1)).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"));
    let detail = refused.text("/detail");
    assert!(detail.contains("with `pro` for 1 unit, the license"), "{detail}");
    shop.purchase(&ada, once("cad", 1)).await;
    assert_eq!(shop.claims(&ada).await.limits["seats"], 11, "units of the same plan are added");
    shop.purchase(&ada, once("pro", 11)).await;
    shop.purchase(&ada, once("pro", 1)).await;
    let claims = shop.claims(&ada).await;
    assert_eq!((claims.plan.as_str(), claims.limits["seats"]), ("pro", 12));
}

/// Returns the differences that a change of the plans file makes to each license of a shop.
async fn differences(shop: &Shop, from: &str, to: &str) -> Vec<(String, Vec<String>)> {
    assert!(PLANS.contains(from), "{from}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("new.toml");
    std::fs::write(&file, PLANS.replace(from, to)).unwrap();
    let new = licentia::plans::load(Some(&file)).unwrap();
    let (app, mut found) = (&shop.app.app, Vec::new());
    let report = |change: licentia::domain::sale::plan_diff::LicenseChange| {
        found.push((change.plan, change.differences.iter().map(ToString::to_string).collect()));
        Ok(())
    };
    changed_licenses(&app.store, (&app.plans, &new), app.now(), report).await.unwrap();
    found
}

#[tokio::test]
async fn a_plans_file_that_changes_what_was_sold_names_the_licenses() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    shop.purchase(&bob, studio()).await;
    let team = json!({ "plan": "team", "interval": "year", "addons": ["pdf"] });
    let session = shop.purchase(&ada, team).await;
    let one = |plan: &str, text: &str| vec![(plan.to_owned(), vec![text.to_owned()])];
    let once = "updates_months = 12 },\n    { id = \"price_studio_updates\"";
    let fewer = once.replace("12", "6");
    let expected = one("studio", "updates_months of price_studio_once: 12 → 6");
    assert_eq!(differences(&shop, once, &fewer).await, expected);
    let narrowed =
        differences(&shop, "plans = [\"team\", \"studio\"]", "plans = [\"studio\"]").await;
    assert_eq!(narrowed, one("team", "loses the add-on pdf"));
    assert_eq!(differences(&shop, "fallback_months = 12\n", "").await, [], "it may still come");
    // The subscription ends, and leaves a perpetual license.
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.pass_days(&mut ada, 367).await;
    assert_eq!(shop.claims(&ada).await.license_expires, None);
    for (now, text) in [("", "none"), ("fallback_months = 18\n", "18")] {
        let found = differences(&shop, "fallback_months = 12\n", now).await;
        assert_eq!(found, one("team", &format!("fallback_months: 12 → {text}")));
    }
}

#[tokio::test]
async fn a_plans_file_in_another_order_names_who_paid_for_both_plans() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    let site = json!({ "plan": "site", "interval": "once" });
    shop.purchase(&ada, studio()).await;
    shop.purchase(&ada, site.clone()).await;
    shop.purchase(&bob, site).await;
    let at = |text: &str| PLANS.find(text).unwrap();
    let places = [at("[[plan]]\nid = \"studio\""), at("[[plan]]\nid = \"site\""), at("[[addon]]")];
    let (studio, site) = (&PLANS[places[0]..places[1]], &PLANS[places[1]..places[2]]);
    let found = differences(&shop, &format!("{studio}{site}"), &format!("{site}{studio}")).await;
    let text = "studio, which its customer has paid for too, ranks above it now";
    assert_eq!(found, [("site".to_owned(), vec![text.to_owned()])]);
}

#[tokio::test]
async fn prices_that_swap_what_they_sell_name_the_licenses() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    let prices = &PLANS[PLANS.find("{ id = \"price_studio_once\"").unwrap()..];
    let prices = &prices[..prices.find("{ id = \"price_studio_month\"").unwrap()];
    let swapped = prices.replace("\"once\"", "\"\"").replace("\"updates\"", "\"once\"");
    let found = differences(&shop, prices, &swapped.replace("\"\"", "\"updates\"")).await;
    let sells = |price: &str, what: &str| {
        format!("price_studio_{price}, which may have paid for it, sells {what} now")
    };
    let texts = vec![sells("once", "updates"), sells("updates", "perpetual licenses")];
    assert_eq!(found, [("studio".to_owned(), texts)]);
}

#[tokio::test]
async fn a_single_payment_without_a_license_is_drift_and_its_customer_counts() {
    let shop = Shop::selling().await;
    let admin = shop.app.admin(Scope::Read).await;
    let ada = shop.buyer("ada@example.com").await;
    let bob = shop.buyer("bob@example.com").await;
    let session = shop.purchase(&ada, studio()).await;
    shop.purchase(&bob, json!({ "plan": "team", "quantity": 3, "addons": ["pdf"] })).await;
    let missing = async || {
        let drift = admin.get("/api/admin/drift").await.body;
        (drift["paid_customers_without_license"].clone(), drift["customers"].clone())
    };
    assert_eq!(missing().await, (json!(0), json!([])));
    let active = admin.get("/api/admin/stats").await.body["now"]["active"].clone();
    let monthly = json!([{ "currency": "usd", "amount": 3300 }]);
    let expected = json!([
        { "plan": "studio", "customers": 1, "mrr": [] },
        { "plan": "team", "customers": 1, "mrr": monthly },
    ]);
    assert_eq!(active, expected);

    let ours = format!("WHERE source = 'subscription' AND customer_id = '{}'", ada.customer_id);
    let harm = format!("UPDATE licenses SET revoked_at = 1 {ours}");
    assert!(execute(&shop.app.app.store, &harm).await.unwrap() > 0);
    let listed = json!([{
        "customer_id": ada.customer_id, "plan": "studio", "status": null,
        "current_period_end": null,
    }]);
    assert_eq!(missing().await, (json!(1), listed));
    shop.sync_all().await;
    assert_eq!(missing().await.0, json!(0), "it is repaired");
    // A part that is returned lowers the revenue; a refund takes the license away, and is no drift.
    let revenue = async || {
        let stats = admin.get("/api/admin/stats?from=2026-11-20&to=2026-11-20").await.body;
        stats["days"][0]["revenue"][0]["amount"].clone()
    };
    let before = revenue().await.as_i64().unwrap();
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, Some(1000)).unwrap();
    shop.settled().await;
    assert_eq!(revenue().await, json!(before - 1000));
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!((revenue().await, missing().await.0), (json!(before - 30_000), json!(0)));
}

#[tokio::test]
async fn support_and_the_online_verdict_see_what_a_license_is_for() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once", "addons": ["pdf"] })).await;
    let admin = shop.app.admin(Scope::Support).await;
    let record = admin.get(&licenses_of(&ada)).await.body["licenses"][0].clone();
    assert_eq!((&record["basis"], &record["quantity"]), (&json!("once"), &json!(1)), "{record}");
    assert_eq!(record["addons"], json!(["pdf"]));
    let until = record["updates_until"].as_str().unwrap().to_owned();
    assert_eq!(&until[..10], "2027-11-20");
    let timeline = format!("/api/admin/customers/{}/timeline", ada.customer_id);
    let texts = admin.get(&timeline).await.text;
    assert!(
        texts.contains("was issued for `studio` with the add-on `pdf`, for builds until 2027"),
        "{texts}"
    );

    let token = shop.license(&ada).await["token"].clone();
    let verdict = async |build: Value| {
        let request = json!({ "token": token, "build": build });
        ada.client.post("/api/licenses/verify", &request).await.body
    };
    assert_eq!(verdict(Value::Null).await["valid"], true);
    assert_eq!(verdict(json!(until)).await["valid"], true, "a build of exactly that time");
    let newer = verdict(json!("2027-12-01T00:00:00Z")).await;
    let expected = (&json!(false), &json!("update_not_covered"));
    assert_eq!((&newer["valid"], &newer["reason"]), expected);
    let path = format!("/api/admin/licenses/{}/revoke", record["license_id"].as_str().unwrap());
    admin.send(reqwest::Method::POST, &path, None).await;
    assert_eq!(verdict(json!("2027-12-01T00:00:00Z")).await["reason"], "revoked");
    let wrong = json!({ "token": token, "build": "yesterday" });
    let refused = ada.client.post("/api/licenses/verify", &wrong).await;
    assert_eq!(refused.problem(), (400, "invalid_request"));
}
