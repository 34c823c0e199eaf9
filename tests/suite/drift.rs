//! Drift: the customers who paid and lack a license. 0 is the normal result. The daily
//! reconciliation is in `daily`.

use std::time::Duration;

use licentia::domain::operator::admin_key::Scope;
use licentia::flows::Mode;
use licentia::flows::operator::drift;
use licentia::flows::sale::reconcile::{AT_ONCE, run as reconcile};
use licentia::store::Store;
use licentia_sandbox::{Card, Paid};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::harness::database::{TestDatabase, execute, texts};
use crate::harness::process::Server;
use crate::harness::shop::{Buyer, Shop};
use crate::harness::{Client, TestApp};

/// Returns how many paying customers lack a license, and their ids.
async fn lacking(admin: &Client) -> (i64, Vec<String>) {
    let answer = admin.get("/api/admin/drift").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let customers = answer.body["customers"].as_array().unwrap().iter();
    let ids = customers.map(|customer| customer["customer_id"].as_str().unwrap().to_owned());
    (answer.body["paid_customers_without_license"].as_i64().unwrap(), ids.collect())
}

const NOBODY: (i64, Vec<String>) = (0, Vec::new());

/// Compares in a second of its own, so that the newest comparison is known.
async fn compare(shop: &Shop) {
    shop.sandbox.advance(Duration::from_secs(1));
    let report = reconcile(&shop.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert!(report.failed.is_empty(), "{report:?}");
}

/// Returns a buyer with a paid plan, and the session of the purchase.
async fn paid(shop: &Shop, email: &str) -> (Buyer, String) {
    let buyer = shop.buyer(email).await;
    let session = shop.buy(&buyer, "professional").await;
    (buyer, session)
}

#[tokio::test]
async fn no_customer_lacks_a_license_before_any_sale() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Read).await;
    let answer = admin.get("/api/admin/drift").await;
    assert_eq!(
        answer.body,
        json!({ "paid_customers_without_license": 0, "customers": [],
            "unknown_buyers": 0, "buyers": [],
            "events": { "waiting": 0, "given_up": 0 },
            "mails": { "waiting": 1, "given_up": 0 }, "compared": null })
    );
    execute(&app.app.store, "UPDATE outbox SET given_up_at = 1").await.unwrap();
    let mails = admin.get("/api/admin/drift").await.body["mails"].clone();
    assert_eq!(mails, json!({ "waiting": 0, "given_up": 1 }));
}

#[tokio::test]
async fn a_missing_license_is_counted_until_it_is_reconciled_reliability_a() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (ada, _) = paid(&shop, "ada@example.com").await;
    let (eve, _) = paid(&shop, "eve@example.com").await;
    shop.buyer("mallory@example.com").await;
    assert_eq!(lacking(&admin).await, NOBODY);
    let store = &shop.app.app.store;
    let ours = format!("WHERE source = 'subscription' AND customer_id = '{}'", ada.customer_id);
    for harm in [
        format!("DELETE FROM licenses {ours}"),
        format!("UPDATE licenses SET revoked_at = 1 {ours}"),
        format!("UPDATE licenses SET superseded_by = 'lic_1', superseded_at = 1 {ours}"),
        format!("UPDATE licenses SET expires_at = 1, grace_until = 2 {ours}"),
        // The trial still works, but it is not what was paid for.
        format!("UPDATE licenses SET source = 'trial' {ours} AND superseded_at IS NULL"),
    ] {
        assert!(execute(store, &harm).await.unwrap() > 0, "{harm}");
        assert_eq!(lacking(&admin).await, (1, vec![ada.customer_id.clone()]), "{harm}");
        compare(&shop).await;
        assert_eq!(lacking(&admin).await, NOBODY, "{harm}");
        let license = shop.license(&ada).await;
        assert_eq!((&license["plan"], &license["trial"]), (&json!("professional"), &json!(false)));
    }
    // The result of the last reconciliation survives a restart, because it is in the database.
    execute(store, "DELETE FROM licenses").await.unwrap();
    assert_eq!(lacking(&admin).await.0, 2);
    compare(&shop).await;
    assert_eq!(shop.license(&eve).await["plan"], "professional");
    let compared = admin.get("/api/admin/drift").await.body["compared"].clone();
    let at = "2026-11-20T15:00:06+00:00";
    assert_eq!(compared, json!({ "at": at, "checked": 2, "drifted": 2, "failed": 0, "left": 0 }));
    shop.sandbox.advance(Duration::from_secs(60));
    reconcile(&shop.app.app, Mode::DryRun, AT_ONCE, |_| {}).await.unwrap();
    let after = admin.get("/api/admin/drift").await.body["compared"].clone();
    assert_eq!(after, compared, "a dry run is not recorded");
}

#[tokio::test]
async fn a_pending_payment_counts_when_it_has_arrived() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    assert_eq!(shop.sandbox.pay(&session, Card::DelayedPaid).unwrap(), Paid::Completed);
    shop.settled().await;
    // Stripe calls the subscription active, but nothing was paid, and the license is the trial's.
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    assert_eq!(lacking(&admin).await, NOBODY);
    let intent = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.settle(&intent, true).unwrap();
    shop.settled().await;
    assert_eq!(lacking(&admin).await, NOBODY);
    execute(&shop.app.app.store, "DELETE FROM licenses").await.unwrap();
    assert_eq!(lacking(&admin).await.0, 1);
}

#[tokio::test]
async fn an_add_on_that_was_bought_alone_gives_no_license() {
    let shop = Shop::selling().await;
    let admin = shop.app.admin(Scope::Read).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.purchase(&ada, json!({ "plan": "starter" })).await;
    let session = shop.orders(&ada).await.remove(0);
    assert_eq!(session["status"], "succeeded");
    let store = &shop.app.app.store;
    let customer = texts(store, "SELECT stripe_customer_id FROM customers").await.remove(0);
    let session = shop.session_at_stripe(&customer, "price_pdf_once").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled_with_invoice().await;
    let subscription = texts(store, "SELECT stripe_subscription_id FROM subscriptions").await;
    shop.sandbox.cancel_now(&subscription[0]).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    assert_eq!(shop.orders(&ada).await.len(), 2);
    assert_eq!(lacking(&admin).await, NOBODY, "only an add-on is paid for");
    shop.purchase(&ada, json!({ "plan": "studio", "interval": "once" })).await;
    assert_eq!(lacking(&admin).await, NOBODY);
    execute(store, "DELETE FROM licenses").await.unwrap();
    assert_eq!(lacking(&admin).await.0, 1, "the plan is paid for");
}

#[tokio::test]
async fn an_earlier_subscription_does_not_pay_for_a_later_one() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (ada, session) = paid(&shop, "ada@example.com").await;
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.settled().await;
    assert_eq!(lacking(&admin).await, NOBODY, "a subscription that was ended");
    shop.sandbox.advance(Duration::from_secs(3600));
    let again = shop.checkout(&ada, "professional").await;
    assert_eq!(shop.sandbox.pay(&again, Card::DelayedPaid).unwrap(), Paid::Completed);
    shop.settled().await;
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    assert_eq!(lacking(&admin).await, NOBODY, "its payment is on its way");
}

#[tokio::test]
async fn a_refunded_or_deleted_customer_lacks_no_license() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (ada, refunded) = paid(&shop, "ada@example.com").await;
    let intent = shop.sandbox.payment_intent(&refunded).unwrap();
    shop.sandbox.refund(&intent, None).unwrap();
    shop.settled().await;
    // The subscription itself continues until it is canceled at Stripe.
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    assert_eq!(shop.license(&ada).await["status"], "revoked");
    assert_eq!(lacking(&admin).await, NOBODY, "refunded");

    let (eve, canceled) = paid(&shop, "eve@example.com").await;
    shop.sandbox.cancel(&shop.subscription_of(&canceled), true).unwrap();
    shop.settled().await;
    let ends = "UPDATE licenses SET expires_at = 1, grace_until = NULL";
    execute(&shop.app.app.store, ends).await.unwrap();
    assert_eq!(lacking(&admin).await, (1, vec![eve.customer_id]), "it was paid until its end");
    shop.sandbox.advance_days(31);
    shop.settled().await;
    assert_eq!(lacking(&admin).await, NOBODY, "it has ended");
}

#[tokio::test]
async fn an_unpaid_renewal_ends_with_its_grace_period() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (mut ada, session) = paid(&shop, "ada@example.com").await;
    let stripe_id = shop.sandbox.object(&session)["customer"].as_str().unwrap().to_owned();
    shop.sandbox.replace_card(&stripe_id, Card::DeclinedLater).unwrap();
    shop.sandbox.advance_days(31);
    shop.settled().await;
    shop.log_in(&mut ada).await;
    assert_eq!(shop.subscription(&ada).await["status"], "past_due");
    assert_eq!(lacking(&admin).await, NOBODY, "within the grace");
    shop.sandbox.advance_days(8);
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "expired");
    assert_eq!(lacking(&admin).await, NOBODY, "nobody paid for this");
    shop.sandbox.replace_card(&stripe_id, Card::Paid).unwrap();
    let invoice = shop.sandbox.object(&shop.subscription_of(&session))["latest_invoice"].clone();
    shop.sandbox.pay_invoice(invoice.as_str().unwrap()).unwrap();
    shop.settled().await;
    assert_eq!(lacking(&admin).await, NOBODY);
    execute(&shop.app.app.store, "DELETE FROM licenses").await.unwrap();
    assert_eq!(lacking(&admin).await.0, 1, "paid after all, and nothing for it");
}

#[tokio::test]
async fn a_pending_renewal_does_not_count_as_paid() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (mut ada, session) = paid(&shop, "ada@example.com").await;
    let stripe_id = shop.sandbox.object(&session)["customer"].as_str().unwrap().to_owned();
    shop.sandbox.replace_card(&stripe_id, Card::DelayedPaid).unwrap();
    shop.sandbox.advance_days(31);
    shop.settled().await;
    shop.log_in(&mut ada).await;
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    assert_eq!(shop.orders(&ada).await[0]["status"], "pending");
    let store = &shop.app.app.store;
    execute(store, "UPDATE licenses SET expires_at = 1, grace_until = 2").await.unwrap();
    assert_eq!(lacking(&admin).await, NOBODY);
}

#[tokio::test]
async fn a_customer_with_a_grant_lacks_no_license() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let ada = shop.buyer("ada@example.com").await;
    shop.app.grant(&ada.customer_id, "professional").await;
    // Worth less than the grant, which stays.
    shop.buy(&ada, "starter").await;
    assert_eq!(shop.subscription(&ada).await["plan"], "starter");
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    assert_eq!(lacking(&admin).await, NOBODY);
}

#[tokio::test]
async fn the_metrics_show_how_many_customers_the_last_reconciliation_left() {
    let shop = Shop::open().await;
    let admin = shop.app.admin(Scope::Read).await;
    let (_, session) = paid(&shop, "ada@example.com").await;
    let stripe_id = shop.stripe_customer_of(&session);
    shop.sandbox.replace_card(&stripe_id, Card::Paid).unwrap();
    let form = [("customer", stripe_id.as_str()), ("items[0][price]", "price_starter_monthly")];
    shop.at_stripe("subscriptions", &form).await;
    shop.settled().await;
    compare(&shop).await;
    let left = async || admin.get("/api/admin/drift").await.body["compared"]["left"].clone();
    assert_eq!(left().await, 1, "they pay twice");
    // An entry from before this was counted.
    let old = "UPDATE audit_log SET detail = '{\"checked\":1,\"drifted\":0,\"failed\":0}'
               WHERE action = 'stripe.compared'";
    execute(&shop.app.app.store, old).await.unwrap();
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn a_reconciliation_in_which_every_customer_failed_does_not_look_healthy() {
    let shop = Shop::open().await;
    let url = shop.app.config.database_url.expose_secret().to_owned();
    let keys = shop.app.directory.path().join("keys");
    // Servers with metrics of their own and without Stripe.
    let compared = async || {
        let server = Server::start(
            shop.app.directory.path(),
            &TestDatabase { url: url.clone() },
            &[
                ("LICENTIA_KEYS_DIR", keys.to_str().unwrap()),
                ("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1"),
                ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
                ("LICENTIA_STRIPE__API_URL", "http://127.0.0.1:1"),
            ],
        );
        let figures = async || {
            let (drifted, uncompared) =
                ("licentia_drifted_customers", "licentia_uncompared_customers");
            [server.client.metric(drifted).await, server.client.metric(uncompared).await]
        };
        shop.until("it has compared", async || figures().await[1].is_some()).await;
        figures().await
    };
    assert_eq!(compared().await, [Some(0), Some(0)], "nobody is linked");
    paid(&shop, "ada@example.com").await;
    assert_eq!(compared().await, [Some(0), Some(1)]);
}

#[tokio::test]
async fn the_metric_shows_the_same_number_without_a_key() {
    let shop = Shop::open().await;
    paid(&shop, "ada@example.com").await;
    let store = &shop.app.app.store;
    execute(store, "DELETE FROM licenses").await.unwrap();
    execute(store, "UPDATE outbox SET sent_at = NULL, given_up_at = 1").await.unwrap();
    execute(store, "UPDATE inbox SET done_at = NULL, given_up_at = 1").await.unwrap();
    let buyer = "INSERT INTO unknown_buyers VALUES ('cus_1', 'professional', 1, 1)";
    execute(store, buyer).await.unwrap();
    let events = shop.app.count("inbox").await;
    // A server with metrics of its own. It does not know Stripe and repairs nothing.
    let url = shop.app.config.database_url.expose_secret().to_owned();
    let keys = shop.app.directory.path().join("keys");
    let server = Server::start(
        shop.app.directory.path(),
        &TestDatabase { url },
        &[("LICENTIA_KEYS_DIR", keys.to_str().unwrap())],
    );
    let figure = async |name: &str| server.client.metric(name).await;
    let lacking = "licentia_paid_customers_without_license";
    shop.until("it is counted", async || figure(lacking).await.is_some()).await;
    assert_eq!(figure(lacking).await, Some(1));
    for (name, count) in [
        ("licentia_inbox_events{state=\"waiting\"}", 0),
        ("licentia_inbox_events{state=\"given_up\"}", events),
        ("licentia_outbox_mails{state=\"waiting\"}", 0),
        // The mails were deleted with their licenses.
        ("licentia_outbox_mails{state=\"given_up\"}", 0),
        ("licentia_sync_alerts_total", 0),
        ("licentia_unknown_buyers", 1),
    ] {
        shop.until(name, async || figure(name).await.is_some()).await;
        assert_eq!(figure(name).await, Some(count), "{name}");
    }
}

/// The gauges about the database, and those about the last reconciliation.
const COUNTED: [&str; 6] = [
    "licentia_paid_customers_without_license",
    "licentia_unknown_buyers",
    "licentia_inbox_events{state=\"waiting\"}",
    "licentia_inbox_events{state=\"given_up\"}",
    "licentia_outbox_mails{state=\"waiting\"}",
    "licentia_outbox_mails{state=\"given_up\"}",
];
const COMPARED: [&str; 2] = ["licentia_drifted_customers", "licentia_uncompared_customers"];

/// Returns which of these gauges `/metrics` shows.
async fn shown(client: &Client, gauges: &[&'static str]) -> Vec<&'static str> {
    let text = client.get("/metrics").await.text;
    let is_shown = |gauge: &&str| text.contains(&format!("\n{gauge} "));
    gauges.iter().copied().filter(is_shown).collect()
}

#[tokio::test]
async fn a_gauge_that_cannot_be_counted_is_absent_and_not_the_old_value() {
    let app = TestApp::start().await;
    assert!(shown(&app.client, &COUNTED).await.is_empty(), "nothing was counted yet");
    drift::measure(&app.app).await.unwrap();
    assert_eq!(shown(&app.client, &COUNTED).await, COUNTED);
    match &app.app.store {
        // The open file can still be read, but nobody else sees it.
        Store::Sqlite { .. } => {
            std::fs::remove_file(app.directory.path().join("licentia.db")).unwrap();
        }
        Store::Postgres(pool) => pool.close().await,
    }
    drift::measure(&app.app).await.unwrap_err();
    assert!(shown(&app.client, &COUNTED).await.is_empty());
}

#[tokio::test]
async fn the_gauges_of_a_reconciliation_that_failed_are_absent() {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let app = &shop.app.app;
    reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!(shown(&shop.app.client, &COMPARED).await, COMPARED);
    app.store.close().await;
    reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap_err();
    assert!(shown(&shop.app.client, &COMPARED).await.is_empty());
}
