//! Plans that are sold by the unit: from checkout, in the portal and in the dashboard. The numbers
//! are those of docs/requirements.md.

use licentia::domain::operator::admin_key::Scope;
use licentia_sandbox::{Card, Proration};
use serde_json::{Value, json};

use crate::harness::database::texts;
use crate::harness::selling::{LOFT, loft};
use crate::harness::shop::{Buyer, Shop};
use crate::harness::subscriber::{CHANGE, PREVIEW};

fn team(quantity: u32) -> Value {
    json!({ "plan": "team", "quantity": quantity })
}

async fn seats(shop: &Shop, buyer: &Buyer) -> u64 {
    shop.claims(buyer).await.limits["seats"]
}

/// Returns the subscription that a session created, and its item for the plan.
fn item_of(shop: &Shop, session: &str) -> (String, String) {
    let subscription = shop.subscription_of(session);
    let items = shop.sandbox.object(&subscription)["items"]["data"].clone();
    let item = items
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["price"]["id"].as_str().unwrap().starts_with("price_team"));
    (subscription, item.unwrap()["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn checkout_sells_units_and_lets_the_buyer_choose_them() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    for (quantity, code) in [(21, "invalid_quantity"), (1_000_000_000, "invalid_quantity")] {
        let answer = shop.order(&ada, team(quantity)).await;
        assert_eq!(answer.problem(), (422, code), "{quantity}");
    }
    assert_eq!(shop.order(&ada, team(0)).await.problem(), (400, "invalid_request"));
    shop.purchase(&ada, team(5)).await;
    assert_eq!(seats(&shop, &ada).await, 5);
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["quantity"], &order["amount"]), (&json!(5), &json!(5000)));
    let license = shop.license(&ada).await;
    assert_eq!((&license["quantity"], &license["limits"]["projects"]), (&json!(5), &json!(100)));
    // The buyer changes the number on the page.
    let bob = shop.buyer("bob@example.com").await;
    let session = shop.open_checkout(&bob, team(2)).await;
    shop.sandbox.choose_quantity(&session, "price_team_month", 7).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &bob).await, 7);
    assert_eq!(shop.orders(&bob).await[0]["quantity"], 7);
}

#[tokio::test]
async fn seats_raised_on_the_page_of_the_portal_count_when_they_are_paid_stripe_34() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(5)).await;
    let (subscription, item) = item_of(&shop, &session);
    let portal = ada.client.post("/api/subscriptions/portal", &json!({})).await;
    let page = format!("{}/quantity", portal.text("/portal_url"));
    let change = async |quantity: u32| {
        let form = format!("subscription={subscription}&item={item}&quantity={quantity}");
        let shown = reqwest::Client::new().post(&page).body(form).send().await.unwrap();
        assert_eq!(shown.status(), 200);
        shop.settled().await;
    };
    change(8).await;
    assert_eq!(seats(&shop, &ada).await, 8);
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    change(12).await;
    assert_eq!(shop.sandbox.object(&subscription)["items"]["data"][0]["quantity"], 12);
    assert_eq!(seats(&shop, &ada).await, 8, "the rest is not paid");
}

#[tokio::test]
async fn seats_raised_at_stripe_count_when_they_are_paid_stripe_34() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(5)).await;
    let (subscription, item) = item_of(&shop, &session);
    shop.sandbox.set_quantity(&subscription, &item, 8, Proration::None).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 5, "nothing is billed yet");
    shop.pass_days(&mut ada, 32).await;
    assert_eq!(seats(&shop, &ada).await, 8, "with the renewal");
    let former = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    shop.sandbox.set_quantity(&subscription, &item, 10, Proration::Now).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 10, "billed and paid at once");
    let verdict = ada.client.post("/api/licenses/verify", &json!({ "token": former })).await;
    assert_eq!(verdict.body["valid"], true, "fewer seats than what is paid");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn an_unpaid_raise_grants_nothing_stripe_34() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(5)).await;
    let (subscription, item) = item_of(&shop, &session);
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
    shop.sandbox.set_quantity(&subscription, &item, 9, Proration::Now).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 5);
    let invoice = shop.sandbox.object(&subscription)["latest_invoice"].clone();
    shop.sandbox.pay_invoice_with(invoice.as_str().unwrap(), Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 9);
}

#[tokio::test]
async fn a_decrease_waits_for_the_end_of_the_period_stripe_34() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(8)).await;
    let (subscription, item) = item_of(&shop, &session);
    let former = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    shop.sandbox.set_quantity(&subscription, &item, 3, Proration::None).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 8);
    shop.pass_days(&mut ada, 32).await;
    assert_eq!(seats(&shop, &ada).await, 3);
    // The license with more seats is no longer paid for.
    let verdict = ada.client.post("/api/licenses/verify", &json!({ "token": former })).await;
    assert_eq!(verdict.body["valid"], false, "{}", verdict.text);
    // One that Stripe credits at once counts at once.
    shop.sandbox.set_quantity(&subscription, &item, 2, Proration::Now).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 2);
}

#[tokio::test]
async fn a_quantity_outside_the_plan_is_reported_and_followed_as_paid_stripe_34() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, team(5)).await;
    let (subscription, item) = item_of(&shop, &session);
    shop.sandbox.set_quantity(&subscription, &item, 50, Proration::Now).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 50);
    let report = shop.sync_all().await;
    assert_eq!((report.drifted.len(), report.need_action()), (0, 1));
    let alert = format!("{:?}", report.alerts);
    assert!(alert.contains("50 units of `team`"), "{alert}");
}

#[tokio::test]
async fn add_ons_are_sold_with_a_plan_added_later_and_removed() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    for (addons, text) in
        [(json!(["pdf", "pdf"]), "listed twice"), (json!(["gold"]), "there is no add-on")]
    {
        let answer = shop.order(&ada, json!({ "plan": "team", "addons": addons })).await;
        assert_eq!(answer.problem(), (422, "unknown_addon"));
        assert!(answer.text.contains(text), "{}", answer.text);
    }
    let other = shop.order(&ada, json!({ "plan": "starter", "addons": ["pdf"] })).await;
    assert_eq!(other.problem(), (422, "unknown_addon"));
    let session =
        shop.purchase(&ada, json!({ "plan": "team", "quantity": 2, "addons": ["pdf"] })).await;
    let claims = shop.claims(&ada).await;
    assert_eq!(claims.features, ["export", "sync", "pdf"]);
    assert_eq!((claims.limits["seats"], claims.limits["pages"]), (2, 500));
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["addons"], &order["amount"]), (&json!(["pdf"]), &json!(2300)));
    // Removed at Stripe: it works to the end of what was paid.
    let subscription = shop.subscription_of(&session);
    let items = shop.sandbox.object(&subscription)["items"]["data"].clone();
    let is_pdf = |item: &&Value| item["price"]["id"] == "price_pdf_month";
    let pdf = items.as_array().unwrap().iter().find(is_pdf).unwrap()["id"].clone();
    shop.sandbox.remove_item(&subscription, pdf.as_str().unwrap(), Proration::None).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["addons"], json!(["pdf"]));
    shop.pass_days(&mut ada, 32).await;
    assert_eq!(shop.license(&ada).await["addons"], json!([]));
    assert_eq!(shop.claims(&ada).await.features, ["export", "sync"]);
    // Added later: it counts when it is paid.
    shop.sandbox.add_item(&subscription, "price_pdf_month", 1, Proration::Now).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["addons"], json!(["pdf"]));
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn a_subscription_that_was_paid_for_a_year_leaves_a_perpetual_license() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let began = shop.sandbox.clock().now();
    let session = shop.purchase(&ada, team(3)).await;
    for _ in 0..12 {
        shop.pass_days(&mut ada, 31).await;
    }
    assert_eq!(shop.claims(&ada).await.updates_until, None, "a running one has no limit");
    let subscription = shop.subscription_of(&session);
    shop.sandbox.cancel(&subscription, true).unwrap();
    shop.settled().await;
    shop.pass_days(&mut ada, 40).await;
    let kept = shop.claims(&ada).await;
    assert_eq!((kept.plan.as_str(), kept.license_expires, kept.limits["seats"]), ("team", None, 3));
    let until = kept.updates_until.unwrap();
    assert!(until >= began && until < began + 100 * 86_400, "{until} {began}");
    let mails = shop.mails_about_sales("ada@example.com");
    let last = mails.last().unwrap();
    assert_eq!(last.subject(), "Your perpetual license for acme-app");
    let text = last.text.as_deref().unwrap();
    assert!(text.contains("You paid for 12 months or more without a gap"), "{text}");
    assert!(text.contains("Units: 3") && text.contains("Covers builds made until:"), "{text}");
    for _ in 0..2 {
        assert_eq!(shop.sync_all().await.drifted.len(), 0);
    }
}

#[tokio::test]
async fn the_page_sells_an_owner_no_fewer_units_than_the_checkout() {
    let shop = Shop::selling_with(LOFT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, loft("once", 10, &[])).await;
    let session = shop.open_checkout(&ada, loft("year", 12, &[])).await;
    let choose = |units| shop.sandbox.choose_quantity(&session, "price_loft_year", units);
    assert!(choose(9).is_err());
    choose(11).unwrap();
    // More units share their updates, while those last.
    let session = shop.open_checkout(&ada, loft("once", 3, &[])).await;
    shop.sandbox.choose_quantity(&session, "price_loft_once", 1).unwrap();
    shop.pass_days(&mut ada, 400).await;
    assert_eq!(shop.order(&ada, loft("once", 9, &[])).await.problem(), (422, "invalid_quantity"));
    let session = shop.open_checkout(&ada, loft("once", 12, &[])).await;
    let choose = |units| shop.sandbox.choose_quantity(&session, "price_loft_once", units);
    assert!(choose(9).is_err());
    choose(10).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(seats(&shop, &ada).await, 20);
}

#[tokio::test]
async fn a_license_that_a_subscription_left_is_not_replaced_by_a_smaller_one() {
    let shop = Shop::selling_with(LOFT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase_one_period(&ada, loft("year", 7, &["cad"])).await;
    let refused = shop.order(&ada, loft("once", 1, &[])).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"));
    shop.pass_days(&mut ada, 367).await;
    assert_eq!(seats(&shop, &ada).await, 7);
    let refused = async |wanted: Value| {
        let refused = shop.order(&ada, wanted.clone()).await;
        assert_eq!(refused.problem(), (409, "lower_than_owned"), "{wanted}");
        refused.text("/detail").to_owned()
    };
    let detail = refused(loft("once", 1, &[])).await;
    let expected = "the customer keeps `loft` with 7 units and the add-on `cad`, and a license is \
                    for one purchase: with `loft` for 1 unit, the license would shrink; choose at \
                    least 7 units and the add-on `cad` too, or accept that by \
                    `\"accept_smaller\": true`";
    assert_eq!(detail, expected);
    refused(loft("once", 6, &["cad"])).await;
    refused(loft("once", 7, &[])).await;
    let updates = shop.order(&ada, json!({ "plan": "loft", "interval": "updates" })).await;
    assert_eq!(updates.problem(), (409, "no_perpetual_license"));
    let detail = updates.text("/detail");
    assert!(detail.contains("license for `loft` is what a subscription left"), "{detail}");
    // A subscription for fewer units replaces it only while it runs.
    shop.open_checkout(&ada, loft("year", 3, &[])).await;
    let session = shop.open_checkout(&ada, loft("once", 8, &["cad"])).await;
    let choose = |units| shop.sandbox.choose_quantity(&session, "price_loft_once", units);
    assert!(choose(6).is_err());
    choose(7).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!((seats(&shop, &ada).await, shop.sync_all().await.need_action()), (7, 0));
}

#[tokio::test]
async fn what_a_customer_accepted_needs_no_action() {
    let shop = Shop::selling_with(LOFT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, loft("once", 5, &[])).await;
    shop.pass_days(&mut ada, 367).await;
    let mut wanted = loft("year", 3, &[]);
    assert_eq!(shop.order(&ada, wanted.clone()).await.problem(), (409, "lower_than_owned"));
    wanted["accept_smaller"] = json!(true);
    let session = shop.open_checkout(&ada, wanted).await;
    // The page offers even fewer.
    shop.sandbox.choose_quantity(&session, "price_loft_year", 2).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(seats(&shop, &ada).await, 2);
    assert_eq!(shop.sync_all().await.need_action(), 0);
    let support = shop.app.admin(Scope::Support).await;
    let path = format!("/api/admin/customers/{}/sync", ada.customer_id);
    let synced = support.post(&path, &Value::Null).await.body;
    assert_eq!(synced["needs_action"], false, "{synced}");
    let expected = "so 3 units of the first one have no effect; the customer accepted that";
    assert!(synced["alerts"][0].as_str().unwrap().ends_with(expected), "{synced}");
    // A subscription without any effect is still charged.
    shop.purchase(&ada, json!({ "plan": "loft", "interval": "updates" })).await;
    assert_eq!((seats(&shop, &ada).await, shop.sync_all().await.need_action()), (5, 1));
}

#[tokio::test]
async fn a_customer_can_accept_a_change_to_less_than_they_own() {
    let shop = Shop::selling_with(LOFT).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, loft("once", 5, &[])).await;
    shop.purchase(&ada, loft("year", 5, &[])).await;
    let wanted = json!({ "quantity": 3 });
    let accepted = json!({ "quantity": 3, "accept_smaller": true });
    let refused = ada.client.post(PREVIEW, &wanted).await;
    assert_eq!(refused.problem(), (409, "change_not_possible"));
    let preview = ada.client.post(PREVIEW, &accepted).await;
    assert_eq!((preview.status, &preview.body["due_now"]), (200, &json!(0)), "{preview:?}");
    let change = async |wanted: &Value| {
        let mut request = wanted.clone();
        request["preview_id"] = preview.body["preview_id"].clone();
        ada.client.post(CHANGE, &request).await
    };
    assert_eq!(change(&wanted).await.problem(), (409, "preview_outdated"));
    assert_eq!(change(&accepted).await.status, 200);
    let requests = "SELECT detail FROM audit_log WHERE action = 'subscription.change_requested'";
    let details = texts(&shop.app.app.store, requests).await;
    assert!(details[0].contains(r#""accept_smaller":true"#), "{details:?}");
    shop.settled().await;
    shop.pass_days(&mut ada, 367).await;
    assert_eq!(seats(&shop, &ada).await, 3);
    let report = shop.sync_all().await;
    assert_eq!(report.need_action(), 0, "{report:?}");
    let expected = "so 2 units of the first one have no effect; the customer accepted that";
    assert!(report.alerts[0].alerts[0].ends_with(expected), "{report:?}");
}
