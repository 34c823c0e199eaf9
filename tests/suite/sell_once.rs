//! Perpetual licenses: bought by one payment, with updates for a time. The numbers are those of
//! docs/requirements.md.

use std::time::{Duration, SystemTime};

use chrono::Months;
use licentia::domain::sale::plan_diff::LicenseChange;
use licentia::flows::Mode;
use licentia::flows::sale::plans::changed_licenses;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
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

/// Returns the payment of a Checkout session.
fn payment_of(shop: &Shop, session: &str) -> String {
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
    assert_eq!(verify(end + 1).unwrap_err().code().as_str(), "update_not_covered");
    assert_eq!(shop.sync_all().await.drifted.len(), 0, "a repeated sync is silent");
}

#[tokio::test]
async fn payment_intent_succeeded_alone_suffices_stripe_17() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, studio()).await;
    shop.sandbox.faults().hold_deliveries();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    let events = shop.sandbox.events("payment_intent.succeeded");
    shop.redeliver(&events[0]).await;
    let has_license = async || shop.license(&ada).await["plan"] == "studio";
    shop.until("the license", has_license).await;
    let orders = shop.orders(&ada).await;
    assert_eq!((orders.len(), &orders[0]["status"]), (1, &json!("succeeded")), "{orders:?}");
}

#[tokio::test]
async fn the_events_of_a_purchase_in_any_order_have_one_effect_stripe_9() {
    for order in [Order::Reversed, Order::Shuffled] {
        let shop = Shop::selling().await;
        let ada = shop.buyer("ada@example.com").await;
        shop.sandbox.faults().hold_deliveries();
        shop.sandbox.faults().delivery(DeliveryFault::Repeat(3), Times::Always);
        let session = shop.open_checkout(&ada, studio()).await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        shop.sandbox.advance(Duration::from_secs(1));
        shop.sandbox.faults().release_deliveries(order);
        shop.settled().await;
        let licenses = shop.licenses(&ada).await;
        assert_eq!(licenses.len(), 2, "the trial and one license: {licenses:?}");
        assert_eq!(shop.orders(&ada).await.len(), 1);
        assert_eq!(shop.mails_about_sales("ada@example.com").len(), 1);
    }
}

#[tokio::test]
async fn an_old_session_without_an_invoice_is_read_by_its_lines() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "starter" })).await;
    let session = shop.orders(&ada).await;
    assert_eq!(session.len(), 1);
    let customer = customer_of(&shop, &ada).await;
    let id = shop.session_at_stripe(&customer, "price_studio_once").await;
    shop.sandbox.pay(&id, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(shop.sandbox.object(&id)["invoice"], Value::Null);
    assert_eq!(shop.claims(&ada).await.plan, "studio");
    let orders = shop.orders(&ada).await;
    let once: Vec<_> = orders.iter().filter(|order| order["interval"] == "once").collect();
    assert_eq!((once.len(), &once[0]["amount"]), (1, &json!(30_000)), "{orders:?}");
    // A refund of it revokes the license; the subscription holds again.
    let payment = payment_of(&shop, &id);
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.plan, "starter");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn a_refund_revokes_a_perpetual_license_stripe_15() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.purchase(&ada, studio()).await;
    let token = shop.license(&ada).await["token"].as_str().unwrap().to_owned();
    shop.sandbox.refund(&payment_of(&shop, &session), Some(1000)).unwrap();
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.plan, "studio", "a partial refund keeps it");
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["status"], &order["refunded_amount"]), (&json!("succeeded"), &json!(1000)));
    shop.sandbox.refund(&payment_of(&shop, &session), None).unwrap();
    shop.settled().await;
    let verdict = ada.client.post("/api/licenses/verify", &json!({ "token": token })).await;
    assert_eq!(
        (&verdict.body["valid"], &verdict.body["reason"]),
        (&json!(false), &json!("revoked"))
    );
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["status"], &order["refunded_amount"]), (&json!("refunded"), &json!(30_000)));
}

#[tokio::test]
async fn a_bank_debit_counts_when_it_arrives_and_blocks_meanwhile_stripe_3() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.open_checkout(&ada, studio()).await;
    assert_eq!(shop.sandbox.pay(&session, Card::DelayedPaid).unwrap(), Paid::Completed);
    shop.settled().await;
    assert_eq!(shop.claims(&ada).await.plan, "trial");
    let again = shop.order(&ada, studio()).await;
    assert_eq!(again.problem(), (409, "payment_under_way"));
    shop.sandbox.settle(&payment_of(&shop, &session), true).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(shop.claims(&ada).await.plan, "studio");
    // One that fails later leaves a failed order, and another purchase is possible.
    let bob = shop.buyer("bob@example.com").await;
    let session = shop.open_checkout(&bob, studio()).await;
    shop.sandbox.pay(&session, Card::DelayedPaid).unwrap();
    shop.settled().await;
    shop.sandbox.settle(&payment_of(&shop, &session), false).unwrap();
    shop.settled().await;
    let orders = shop.orders(&bob).await;
    assert_eq!(orders[0]["status"], "failed", "{orders:?}");
    shop.purchase(&bob, studio()).await;
    assert_eq!(shop.claims(&bob).await.plan, "studio");
}

#[tokio::test]
async fn from_perpetual_to_a_subscription_and_back_nothing_is_lost() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    let bought = shop.claims(&ada).await;
    let lower = shop.order(&ada, json!({ "plan": "team" })).await;
    assert_eq!(lower.problem(), (409, "lower_than_owned"));
    // The same plan by subscription covers all builds while it runs.
    let session = shop.purchase(&ada, json!({ "plan": "studio", "interval": "month" })).await;
    assert_eq!((shop.claims(&ada).await.updates_until, shop.licenses(&ada).await.len()), (None, 3));
    shop.sandbox.cancel(&shop.subscription_of(&session), true).unwrap();
    shop.pass_days(&mut ada, 32).await;
    let back = shop.claims(&ada).await;
    assert_eq!((&back.plan, back.updates_until), (&bought.plan, bought.updates_until));
    assert_eq!(back.license_expires, None);
    let mails = shop.mails_about_sales("ada@example.com");
    let last = mails.last().unwrap().text.clone().unwrap();
    assert!(last.contains("The perpetual license that you bought before is valid again"), "{last}");
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn updates_are_sold_only_to_holders_and_extend_the_window() {
    let shop = Shop::selling().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let updates = json!({ "plan": "studio", "interval": "updates" });
    let refused = shop.order(&ada, updates.clone()).await;
    assert_eq!(refused.problem(), (409, "no_perpetual_license"));
    shop.purchase(&ada, studio()).await;
    let first = shop.claims(&ada).await.updates_until.unwrap();
    shop.pass_days(&mut ada, 400).await;
    assert_eq!(shop.claims(&ada).await.updates_until, Some(first), "refreshed, with the same end");
    let bought_at = now(&shop);
    shop.purchase(&ada, updates).await;
    assert_eq!(shop.claims(&ada).await.updates_until, Some(months_after(bought_at, 12)));
    let mails = shop.mails_about_sales("ada@example.com");
    assert_eq!(mails.last().unwrap().subject(), "Your updates of acme-app are extended");
    let newest = shop.orders(&ada).await.remove(0);
    assert_eq!((&newest["interval"], &newest["amount"]), (&json!("updates"), &json!(9000)));
}

/// A plan that is sold once, up to four units at a time, with updates.
const FARM: &str = r#"
[[plan]]
id = "farm"
name = "Farm"
features = ["export", "sync", "render", "farm"]
limits = { machines = 5, projects = 1000 }
per_unit = ["machines"]
quantity = { min = 1, max = 4 }
prices = [
    { id = "price_farm_once", interval = "once", amount = 1000, currency = "usd", updates_months = 12 },
    { id = "price_farm_updates", interval = "updates", amount = 300, currency = "usd", updates_months = 12 },
]
"#;

fn farm(units: u32) -> Value {
    json!({ "plan": "farm", "interval": "once", "quantity": units })
}

#[tokio::test]
async fn updates_are_sold_for_all_units_even_for_more_than_are_sold_at_once() {
    let shop = Shop::selling_with(FARM).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, farm(4)).await;
    shop.purchase(&ada, farm(4)).await;
    let before = shop.claims(&ada).await;
    assert_eq!(before.limits.get("machines"), Some(&40));
    let updates = json!({ "plan": "farm", "interval": "updates" });
    for units in [1, 4, 7, 9, 1_000_000_000] {
        let mut wanted = updates.clone();
        wanted["quantity"] = json!(units);
        let refused = shop.order(&ada, wanted).await;
        assert_eq!(refused.problem(), (422, "invalid_quantity"), "{units}");
        assert!(refused.text("/detail").contains("license, which has 8 units"), "{refused:?}");
    }
    let mut all = updates.clone();
    all["quantity"] = json!(8);
    let session = shop.open_checkout(&ada, all).await;
    assert_eq!(shop.open_checkout(&ada, updates.clone()).await, session, "the default is all");
    shop.purchase(&ada, updates).await;
    let after = shop.claims(&ada).await;
    assert_eq!(after.limits, before.limits);
    assert_eq!(after.updates_until, before.updates_until.map(|until| months_after(until, 12)));
    let newest = shop.orders(&ada).await.remove(0);
    assert_eq!((&newest["quantity"], &newest["amount"]), (&json!(8), &json!(2400)));
}

#[tokio::test]
async fn fewer_units_share_the_updates_that_are_left() {
    let shop = Shop::selling_with(FARM).await;
    let mut ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, farm(4)).await;
    let end = shop.claims(&ada).await.updates_until.unwrap();
    shop.pass_days(&mut ada, 265).await;
    let bought_at = now(&shop);
    shop.purchase(&ada, farm(1)).await;
    let claims = shop.claims(&ada).await;
    let (left, bought) = (end - bought_at, months_after(bought_at, 12) - bought_at);
    assert_eq!(claims.updates_until, Some(bought_at + (4 * left + bought) / 5));
    assert_eq!(claims.limits.get("machines"), Some(&25));
    assert_eq!(shop.sync_all().await.drifted.len(), 0);
}

#[tokio::test]
async fn an_add_on_is_added_later_with_updates_or_by_a_purchase_of_its_own() {
    let shop = Shop::selling().await;
    // With updates.
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    let before = shop.claims(&ada).await;
    assert_eq!(before.limits.get("pages"), None);
    let updates = json!({ "plan": "studio", "interval": "updates", "addons": ["pdf"] });
    shop.purchase(&ada, updates).await;
    let after = shop.claims(&ada).await;
    assert_eq!(after.limits.get("pages"), Some(&500));
    assert_eq!(after.updates_until, before.updates_until.map(|until| months_after(until, 12)));
    let order = shop.orders(&ada).await.remove(0);
    assert_eq!((&order["addons"], &order["amount"]), (&json!(["pdf"]), &json!(14_000)));
    // Alone, by the API.
    let eve = shop.buyer("eve@example.com").await;
    shop.purchase(&eve, studio()).await;
    let before = shop.claims(&eve).await;
    let alone = json!({ "plan": "studio", "interval": "once", "addons": ["pdf"] });
    let session = shop.open_checkout(&eve, alone.clone()).await;
    assert_eq!(shop.open_checkout(&eve, alone.clone()).await, session, "the same one");
    let pending = shop.orders(&eve).await.remove(0);
    shop.purchase(&eve, alone.clone()).await;
    let after = shop.claims(&eve).await;
    assert_eq!(after.limits.get("pages"), Some(&500));
    assert_eq!(after.updates_until, before.updates_until, "the plan was not bought again");
    let paid = shop.orders(&eve).await.remove(0);
    for (order, status) in [(pending, "pending"), (paid, "succeeded")] {
        assert_eq!((&order["plan"], &order["addons"]), (&json!("studio"), &json!(["pdf"])));
        assert_eq!((&order["amount"], &order["quantity"]), (&json!(5000), &Value::Null));
        assert_eq!((&order["status"], &order["interval"]), (&json!(status), &json!("once")));
    }
    let mails = shop.mails_about_sales("eve@example.com");
    let last = mails.last().unwrap().text.clone().unwrap();
    assert!(last.contains("Your license for acme-app now covers what is listed below"), "{last}");
    let refused = shop.order(&eve, alone).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"), "it is owned");
    // By a payment link or a session of the vendor that has only the add-on.
    let bob = shop.buyer("bob@example.com").await;
    shop.purchase(&bob, studio()).await;
    let before = shop.claims(&bob).await;
    let customer = customer_of(&shop, &bob).await;
    let session = shop.session_at_stripe(&customer, "price_pdf_once").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    let after = shop.claims(&bob).await;
    assert_eq!(after.limits.get("pages"), Some(&500));
    assert_eq!(after.updates_until, before.updates_until, "an add-on has no updates of its own");
    assert_eq!(shop.sync_all().await.need_action(), 0);
}

#[tokio::test]
async fn a_price_that_is_removed_takes_no_license_and_is_reported() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    // Without an invoice: only the Checkout session shows it.
    let bob = shop.buyer("bob@example.com").await;
    shop.purchase(&bob, json!({ "plan": "starter" })).await;
    let customer = customer_of(&shop, &bob).await;
    let session = shop.session_at_stripe(&customer, "price_studio_once").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    let licenses = async || [shop.claims(&ada).await, shop.claims(&bob).await];
    let before = licenses().await;
    assert!(before.iter().all(|claims| claims.plan == "studio"));

    // Nothing is sold once any more.
    let all = include_str!("harness/selling.toml").lines();
    let is_once = |line: &&str| line.contains("\"once\"") || line.contains("\"updates\"");
    let less: Vec<_> = all.filter(|line| !is_once(line)).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("less.toml");
    std::fs::write(&file, less.join("\n")).unwrap();
    let app = shop.another_app(file.display().to_string()).await;
    for mode in [Mode::DryRun, Mode::Apply, Mode::Apply] {
        shop.sandbox.advance(Duration::from_secs(1));
        let report = reconcile(&app, mode, AT_ONCE, |_| {}).await.unwrap();
        assert!(report.drifted.is_empty(), "{report:?}");
        assert_eq!(report.need_action(), 2, "{report:?}");
        assert_eq!(licenses().await, before);
    }
    let mut changed = Vec::new();
    let report = |change: LicenseChange| {
        changed.push((change.plan, change.differences));
        Ok(())
    };
    let own = &shop.app.app;
    changed_licenses(&own.store, (&own.plans, &app.plans), own.now(), report).await.unwrap();
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!(shop.sync_all().await.drifted.len(), 0, "the price is back");
}

#[tokio::test]
async fn what_the_customer_owns_is_not_sold_again() {
    let plan = "[[plan]]\nid = \"forever\"\nname = \"Forever\"\nprices = [{ id = \
                \"price_forever\", interval = \"once\", amount = 99000, currency = \"usd\" }]";
    let shop = Shop::selling_with(plan).await;
    let ada = shop.buyer("ada@example.com").await;
    let forever = json!({ "plan": "forever", "interval": "once" });
    shop.purchase(&ada, forever.clone()).await;
    let refused = shop.order(&ada, forever).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"));
    let expected = "the customer owns all of this already: the plan `forever` with all updates";
    assert_eq!(refused.text("/detail"), expected);
}

#[tokio::test]
async fn a_perpetual_license_outlives_many_newer_invoices_stripe_33() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, studio()).await;
    let before = shop.license(&ada).await["license_id"].clone();
    let customer = customer_of(&shop, &ada).await;
    shop.sandbox.add_invoices(&customer, 2500).unwrap();
    for _ in 0..2 {
        assert_eq!(shop.sync_all().await.drifted.len(), 0);
        let announced = shop.sandbox.announce(&customer, "customer.updated");
        announced.unwrap();
        shop.settled().await;
    }
    assert_eq!(shop.license(&ada).await["license_id"], before);
}

#[tokio::test]
async fn a_lost_response_sells_once_stripe_7() {
    for fault in [ApiFault::AnswerLost, ApiFault::ErrorAfter] {
        let shop = Shop::selling().await;
        let ada = shop.buyer("ada@example.com").await;
        shop.sandbox.faults().api_call(fault, "POST /v1/checkout/sessions", Times::Next(2));
        let mut answer = shop.order(&ada, studio()).await;
        for _ in 0..3 {
            if answer.status == 200 {
                break;
            }
            answer = shop.order(&ada, studio()).await;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(shop.stripe_customers(), 1);
        let again = shop.order(&ada, studio()).await;
        assert_eq!(again.text("/checkout_url"), answer.text("/checkout_url"));
    }
}

#[tokio::test]
async fn a_perpetual_plan_with_less_than_the_subscription_is_refused() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "team", "quantity": 5, "addons": ["pdf"] })).await;
    let refused = shop.order(&ada, studio()).await;
    assert_eq!(refused.problem(), (409, "lower_than_owned"));
    let expected = "the customer subscribes to `team` with 5 units and the add-on `pdf`, and a \
                    license is for one purchase: with `studio` for 1 unit, the license would \
                    shrink; choose the add-on `pdf` too, or let the subscription end before the \
                    purchase, or accept that by `\"accept_smaller\": true`";
    assert_eq!(refused.text("/detail"), expected);
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once", "addons": ["pdf"] })).await;
    assert_eq!(shop.license(&ada).await["addons"], json!(["pdf"]));
    let mail = shop.mails_about_sales("ada@example.com").pop().unwrap();
    let text = mail.text.as_ref().unwrap();
    assert!(text.contains("Your subscription continues and is still charged"), "{text}");
    // On Stripe's page, too.
    let bob = shop.buyer("bob@example.com").await;
    shop.purchase(&bob, json!({ "plan": "team", "quantity": 5 })).await;
    let site = |units: u32| json!({ "plan": "site", "interval": "once", "quantity": units });
    assert_eq!(shop.order(&bob, site(4)).await.problem(), (409, "lower_than_owned"));
    let session = shop.open_checkout(&bob, site(7)).await;
    let choose = |units| shop.sandbox.choose_quantity(&session, "price_site_once", units);
    assert!(choose(4).is_err());
    choose(5).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    assert_eq!(shop.license(&bob).await["quantity"], 5);
}

#[tokio::test]
async fn a_customer_can_accept_a_smaller_license() {
    let shop = Shop::selling().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "team", "quantity": 5 })).await;
    let mut wanted = json!({ "plan": "site", "interval": "once", "quantity": 2 });
    let refused = shop.order(&ada, wanted.clone()).await;
    assert!(refused.text("/detail").contains("\"accept_smaller\": true"), "{refused:?}");
    wanted["accept_smaller"] = json!(true);
    shop.purchase(&ada, wanted).await;
    let license = shop.license(&ada).await;
    assert_eq!((&license["plan"], &license["quantity"]), (&json!("site"), &json!(2)));
    assert_eq!(shop.sync_all().await.need_action(), 1, "the subscription is still charged");
}

/// Returns the Stripe customer of a buyer.
pub async fn customer_of(shop: &Shop, buyer: &Buyer) -> String {
    let id = buyer.customer_id.parse().unwrap();
    let customer = shop.app.app.store.read().await.unwrap().customer(&id).await.unwrap();
    customer.unwrap().stripe_customer_id.unwrap().to_string()
}
