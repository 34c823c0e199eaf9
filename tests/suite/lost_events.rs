//! Webhooks that never arrive, and events that always fail: reconciliation, dead letters, replay.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt;
use licentia::domain::ids::CustomerId;
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::domain::sale::inbox::LeasedEvent;
use licentia::fail_point::{FailPoints, Place};
use licentia::flows::Mode;
use licentia::flows::operator::events::{self, MAX_LISTED};
use licentia::flows::sale::inbox::{self, Subject};
use licentia::flows::sale::reconcile::{AT_ONCE, again, run as reconcile};
use licentia::stripe::Double;
use licentia_sandbox::{ApiFault, Card, DeliveryFault, Times};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::process::{licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{TestApp, stripe_of};

#[tokio::test]
async fn with_every_webhook_lost_reconciling_repairs_everything_stripe_17() {
    let mut shop = Shop::open().await;
    // The worker would process the events that a reconciliation fetches, which leaves it less to
    // repair.
    shop.end_worker().await;
    shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
    let mut ada = shop.buyer("ada@example.com").await;
    let eve = shop.buyer("eve@example.com").await;
    let ended = shop.checkout(&eve, "starter").await;
    shop.sandbox.pay(&ended, Card::Paid).unwrap();
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    let app = &shop.app.app;
    let compare = async |intent| reconcile(app, intent, AT_ONCE, |_| {}).await.unwrap();

    // A dry run changes nothing.
    let dry_run = compare(Mode::DryRun).await;
    assert_eq!((dry_run.checked, dry_run.drifted.len(), dry_run.failed.len()), (2, 2, 0));
    assert_eq!(compare(Mode::DryRun).await.drifted.len(), 2);
    assert_eq!(shop.app.count("inbox").await, 0);
    assert_eq!(shop.app.count("subscriptions").await, 0);

    let repaired = compare(Mode::Apply).await;
    assert_eq!(repaired.drifted.len(), 2, "{repaired:?}");
    assert!(repaired.missed_events > 5, "{repaired:?}");
    shop.must_be_paid(&ada).await;
    let again = compare(Mode::Apply).await;
    assert_eq!((again.drifted.len(), again.missed_events), (0, 0), "{again:?}");

    // Renewed, and canceled; both events are lost.
    shop.sandbox.cancel_now(&shop.subscription_of(&ended)).unwrap();
    shop.sandbox.advance_days(31);
    assert_eq!(compare(Mode::Apply).await.drifted.len(), 2);
    shop.log_in(&mut ada).await;
    assert_eq!(shop.license(&ada).await["expires_at"], "2027-01-20T15:00:00+00:00");
    let store = &app.store;
    let revoked = "SELECT COUNT(*) FROM licenses WHERE revoked_at IS NOT NULL";
    assert_eq!(number(store, revoked).await, 1);
    assert_eq!(compare(Mode::Apply).await.drifted.len(), 0);
}

#[tokio::test]
async fn an_endpoint_that_was_down_for_four_days_catches_up_at_its_start_stripe_17() {
    let mut shop = Shop::open().await;
    let mut ada = shop.buyer("ada@example.com").await;
    let mut eve = shop.buyer("eve@example.com").await;
    let ended = shop.subscription_of(&shop.buy(&eve, "professional").await);
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    shop.end_worker().await;
    let heard = shop.app.count("inbox").await;
    let nowhere = [("url", "http://127.0.0.1:1/")];
    shop.at_stripe(&format!("webhook_endpoints/{}", shop.endpoint), &nowhere).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.cancel_now(&ended).unwrap();
    // Hour by hour, so that each retry is due.
    for _ in 0..4 * 24 {
        shop.sandbox.settled().await;
        shop.sandbox.advance(Duration::from_secs(3600));
    }
    let (waiting, given_up) = shop.sandbox.undelivered();
    assert!(waiting == 0 && given_up > 5, "Stripe gave up {given_up} and waits for {waiting}");
    assert_eq!(shop.app.count("inbox").await, heard);

    let _server = shop.second_server().await;
    shop.log_in(&mut ada).await;
    shop.log_in(&mut eve).await;
    let paid = async || shop.license(&ada).await["plan"] == "professional";
    shop.until("the start makes up for it", paid).await;
    let revoked = async || shop.subscription(&eve).await["status"] == "canceled";
    shop.until("the end is known", revoked).await;
    shop.until("all work is done", async || shop.open_work().await == 0).await;
    shop.must_be_paid(&ada).await;
    assert_eq!(shop.mails_about_sales("ada@example.com").len(), 1);
    assert!(shop.app.count("inbox").await > heard);
}

#[tokio::test]
async fn an_event_that_always_fails_is_given_up_listed_and_replayed() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.dead_letter(&ada).await;
    let store = &shop.app.app.store;
    let open = "SELECT COUNT(*) FROM inbox WHERE given_up_at IS NULL AND done_at IS NULL";
    let troubled = events::failed(&shop.app.app, 1000).await.unwrap().events;
    assert!(troubled.len() >= 5, "{troubled:?}");
    let why = troubled[0].event.last_error.as_deref().unwrap();
    assert!(why.starts_with("Stripe failed: 500"), "{why}");
    // It stays given up, however much time passes.
    shop.sandbox.faults().clear();
    shop.sandbox.advance(Duration::from_secs(3600));
    assert_eq!(number(store, open).await, 0);
    let id = &troubled[0].event.event_id;
    events::replay(&shop.app.app, id, Actor::Operator).await.unwrap();
    shop.until("it was worked on", async || number(store, open).await == 0).await;
    shop.must_be_paid(&ada).await;
    let missing = events::replay(&shop.app.app, "evt_none", Actor::Operator).await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no such event");
    // The time of arrival is kept.
    let event = events::explain(&shop.app.app, id).await.unwrap().event;
    assert_eq!(event.received_at, troubled[0].event.received_at);
}

#[tokio::test]
async fn dead_letters_stay_and_done_events_are_deleted_in_the_end() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.dead_letter(&ada).await;
    shop.sandbox.faults().clear();
    let store = &shop.app.app.store;
    let troubled = events::failed(&shop.app.app, 1000).await.unwrap().events;
    events::replay(&shop.app.app, &troubled[0].event.event_id, Actor::Operator).await.unwrap();
    let done = "SELECT COUNT(*) FROM inbox WHERE done_at IS NOT NULL";
    shop.until("it was worked on", async || number(store, done).await == 1).await;
    let mut tx = store.write().await.unwrap();
    tx.sweep::<LeasedEvent>(shop.app.app.now() + TimeDelta::days(400)).await.unwrap();
    tx.commit(FailPoints::default().at(Place::InboxTaken)).await.unwrap();
    assert_eq!(number(store, done).await, 0);
    let left = events::failed(&shop.app.app, 1000).await.unwrap().events;
    assert_eq!(left.len(), troubled.len() - 1);
}

#[tokio::test]
async fn an_event_that_is_replayed_while_it_is_processed_is_processed_again() {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.settled().await;
    let app = &shop.app.app;
    let taken = inbox::take_due(app, 100).await.unwrap();
    let replayed = &taken[0].1[0].event_id;
    events::replay(app, replayed, Actor::Operator).await.unwrap();
    for (whose, about) in &taken {
        inbox::work(app, whose, about).await.unwrap();
    }
    let left = "SELECT event_id FROM inbox WHERE done_at IS NULL";
    assert_eq!(texts(&app.store, left).await, [replayed.as_str()]);
    // The server that held it before does not mark it as foreign.
    let taken = inbox::take_due(app, 100).await.unwrap();
    events::replay(app, replayed, Actor::Operator).await.unwrap();
    let gone = CustomerId::from_random(1);
    inbox::work(app, &Subject::Customer(gone), &taken[0].1).await.unwrap();
    assert_eq!(texts(&app.store, left).await, [replayed.as_str()]);
    let body = events::body(app, replayed).await.unwrap();
    assert!(body.contains(replayed), "{body}");

    for (whose, about) in inbox::take_due(app, 100).await.unwrap() {
        inbox::work(app, &whose, &about).await.unwrap();
    }
    assert_eq!(shop.open_work().await, 2, "the two mails");
    shop.must_be_paid(&ada).await;
}

#[tokio::test]
async fn only_customers_who_could_not_be_reconciled_are_retried() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let eve = shop.buyer("eve@example.com").await;
    let adas = shop.buy(&ada, "professional").await;
    let session = shop.buy(&eve, "professional").await;
    shop.end_worker().await;
    let admin = shop.app.admin(Scope::Read).await;
    let compared = async || admin.get("/api/admin/drift").await.body["compared"].clone();
    let faults = shop.sandbox.faults();
    let hers = format!("GET /v1/customers/{}", shop.stripe_customer_of(&session));
    faults.api_call(ApiFault::ErrorBefore, &hers, Times::Always);
    faults.api_call(ApiFault::ErrorBefore, "GET /v1/events", Times::Always);
    let app = &shop.app.app;
    // Each comparison is in a second of its own, so that the newest is known.
    shop.sandbox.advance(Duration::from_secs(1));
    let mut report = reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
    assert_eq!((report.checked, report.failed.len()), (2, 1), "{report:?}");
    assert!(report.is_unfinished() && report.events_error.is_some(), "{report:?}");
    assert_eq!(compared().await["failed"], 1);

    shop.sandbox.advance(Duration::from_secs(1));
    again(app, &mut report).await;
    assert_eq!((report.checked, report.failed.len()), (2, 1), "{report:?}");
    assert_eq!(report.failed[0].customer_id.as_str(), eve.customer_id);

    shop.sandbox.advance(Duration::from_secs(1));
    // Ada cannot be reconciled now, and no attempt is made.
    faults.clear();
    let adas = format!("GET /v1/customers/{}", shop.stripe_customer_of(&adas));
    faults.api_call(ApiFault::ErrorBefore, &adas, Times::Always);
    again(app, &mut report).await;
    assert!(!report.is_unfinished(), "{report:?}");
    assert_eq!((report.checked, report.drifted.len()), (2, 0), "{report:?}");
    assert_eq!(compared().await["failed"], 0);
}

#[tokio::test]
async fn a_database_that_fails_at_the_end_of_a_reconciliation_does_not_repeat_all_of_it() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.settled().await;
    shop.end_worker().await;
    let (app, store) = (&shop.app.app, &shop.app.app.store);
    let recorded = "SELECT COUNT(*) FROM audit_log WHERE action = 'stripe.compared'";
    let before = number(store, recorded).await;
    let hers = format!("GET /v1/customers/{}", shop.stripe_customer_of(&session));
    for table in ["unknown_buyers", "audit_log"] {
        let hide = format!("ALTER TABLE {table} RENAME TO hidden");
        execute(store, &hide).await.unwrap();
        let mut report = reconcile(app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
        assert!(report.is_unfinished(), "{table}");
        assert_eq!((report.checked, report.failed.len()), (1, 0), "{report:?}");
        let show = format!("ALTER TABLE hidden RENAME TO {table}");
        execute(store, &show).await.unwrap();

        // Nobody is synced again: it would fail.
        shop.sandbox.faults().api_call(ApiFault::ErrorBefore, &hers, Times::Always);
        again(app, &mut report).await;
        assert!(!report.is_unfinished(), "{report:?}");
        assert_eq!((report.checked, report.failed.len()), (1, 0), "{report:?}");
        shop.sandbox.faults().clear();
    }
    assert_eq!(number(store, recorded).await, before + 2);
}

#[tokio::test]
async fn of_too_many_undelivered_events_the_newest_are_stored() {
    let listed = AtomicUsize::new(0);
    let double: Double = Box::new(move |_| {
        let first = listed.fetch_add(100, Ordering::SeqCst);
        let page: Vec<_> =
            (first..first + 100).map(|n| json!({ "id": format!("evt_{n}") })).collect();
        ready(Some((200, json!({ "data": page, "has_more": true })))).boxed()
    });
    let found = stripe_of(double).await.undelivered_events().await.unwrap();
    assert!(found.more);
    assert_eq!(found.events.len(), 10_000);
    assert_eq!(found.events[9_999]["id"], "evt_9999");
}

#[tokio::test]
async fn any_number_of_dead_letters_is_replayed_once_and_a_long_list_says_that_it_is_cut() {
    let app = TestApp::start().await;
    let store = &app.app.store;
    let many = MAX_LISTED + 500;
    for first in (0..many).step_by(500) {
        let rows: Vec<_> = (first..first + 500)
            .map(|n| format!("('evt_{n}', 'invoice.paid', '', 1, {n}, {n}, 1, 84, 1)"))
            .collect();
        let rows = rows.join(",");
        let insert = format!(
            "INSERT INTO inbox (event_id, kind, body, happened_at, received_at, tried_since, due_at,
                 attempts, given_up_at) VALUES {rows}"
        );
        execute(store, &insert).await.unwrap();
    }
    let listed = events::failed(&app.app, MAX_LISTED).await.unwrap();
    assert_eq!((listed.events.len(), listed.more), (1000, true));
    let admin = app.admin(Scope::Support).await;
    assert_eq!(admin.get("/api/admin/events?limit=2").await.body["more"], true);
    let events = async |arguments: &[&str]| {
        let mut command = licentia(app.directory.path());
        let url = app.config.database_url.expose_secret();
        command.arg("events").args(arguments).env("LICENTIA_DATABASE_URL", url);
        let done = run(&mut command);
        assert_eq!(done.code, 0, "{done:?}");
        done.out
    };
    let told = events(&["list"]).await;
    assert!(told.contains("These are the first 1000; there are more."), "{}", told.len());
    let json: Value = serde_json::from_str(&events(&["list", "--json"]).await).unwrap();
    assert_eq!((json["events"].as_array().unwrap().len(), &json["more"]), (1000, &json!(true)));

    let one: Value = serde_json::from_str(&events(&["replay", "evt_7", "--json"]).await).unwrap();
    assert_eq!((&one["event_id"], &one["state"]), (&json!("evt_7"), &json!("waiting")));
    assert_eq!(
        events(&["replay", "--all"]).await,
        format!("{} events will be processed again by the server.\n", many - 1)
    );
    let replayed = "SELECT COUNT(*) FROM audit_log WHERE action = 'event.replayed'";
    assert_eq!(number(store, replayed).await, many);
    assert_eq!(events(&["replay", "--all", "--json"]).await, "{\n  \"replayed\": 0\n}\n");
    let none = admin.get("/api/admin/events").await.body;
    assert_eq!(none, json!({ "events": [], "more": false, "ignored": [] }));
}
