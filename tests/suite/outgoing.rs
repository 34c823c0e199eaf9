//! Deliveries of outgoing webhooks: signed, at least once with a stable id, in order for each
//! customer, retried, logged and replayed. Targets and calls are in `outgoing_admin.rs`.
//! Third-party packages verify deliveries in `oracles.rs`.

use std::time::Duration;

use licentia::domain::operator::admin_key::Scope;
use licentia::flows::operator::outgoing;
use licentia_sandbox::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::{number, texts};
use crate::harness::receiver::Receiver;
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, Client, PASSWORD, START, TestApp};

pub const WEBHOOKS: &str = "/api/admin/webhooks";

/// Receivers of the tests are on this machine.
pub const ALLOW_PRIVATE: (&str, &str) = ("LICENTIA_WEBHOOKS__ALLOW_PRIVATE", "true");

pub const SETTINGS: [(&str, &str); 2] = [ALLOW_PRIVATE, BEHIND_A_PROXY];

/// Adds a webhook. Returns its id and its secret.
pub async fn add(admin: &Client, url: &str, events: &[&str]) -> (String, String) {
    let created = admin.post(WEBHOOKS, &json!({ "url": url, "events": events })).await;
    assert_eq!(created.status, 201, "{}", created.text);
    (created.text("/webhook_id").to_owned(), created.text("/secret").to_owned())
}

pub async fn deliveries(admin: &Client, id: &str) -> Vec<Value> {
    let listed = admin.get(&format!("{WEBHOOKS}/{id}/deliveries")).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    listed.body["deliveries"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_change_is_delivered_signed_and_with_ids_only() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let (id, secret) = add(&admin, &receiver.url, &["license.issued"]).await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    let request = json!({
        "email": "ada@example.com", "password": PASSWORD, "name": "Ada", "company_name": "Acme",
    });
    let ada = app.client.post("/api/customers/signup", &request).await;
    assert_eq!(receiver.received().len(), 0);

    app.clock.advance_seconds(7);
    assert_eq!(app.deliver_due().await, 1);
    let got = receiver.take_one();
    assert_eq!(
        got.payload(),
        json!({
            "type": "license.issued",
            "timestamp": "2026-11-20T15:00:00Z",
            "data": {
                "customer_id": ada.body["customer"]["customer_id"],
                "license_id": ada.body["license"]["license_id"],
                "plan": "trial",
                "basis": null,
                "quantity": 1,
                "addons": [],
                "updates_until": null,
            },
        })
    );
    assert_eq!(got.path, "/hooks");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("webhook-timestamp"), (START + 7).to_string());
    assert!(got.id().starts_with("msg_"), "{got:?}");
    assert!(got.is_signed_by(&secret), "{got:?}");
    assert_eq!(app.deliver_due().await, 0);
    let [delivery] = deliveries(&admin, &id).await.try_into().unwrap();
    assert_eq!(delivery["state"], "delivered");
    assert_eq!((&delivery["attempts"], &delivery["status_code"]), (&json!(1), &json!(204)));
    assert_eq!(delivery["message_id"], got.id());
}

#[tokio::test]
async fn each_event_of_a_customers_life_is_delivered_without_personal_data() {
    let shop = Shop::open_with(Options::default(), &SETTINGS).await;
    let admin = shop.app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    add(&admin, &receiver.url, &["*"]).await;
    let ada = shop.buyer("ada@example.com").await;
    ada.client.patch("/api/customers/me", &json!({ "name": "Ada Lovelace" })).await;
    let session = shop.buy(&ada, "professional").await;
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    shop.sandbox.settled().await;
    shop.settled().await;
    assert_eq!(ada.client.delete("/api/customers/me").await.status, 204);
    shop.until("the deletion is reported", async || {
        receiver.received().iter().any(|got| got.kind() == "customer.deleted")
    })
    .await;

    let received = receiver.take();
    let kinds: Vec<_> = received.iter().map(|got| got.kind()).collect();
    for kind in [
        "customer.created",
        "customer.changed",
        "license.issued",
        "subscription.changed",
        "order.paid",
        "order.refunded",
        "license.revoked",
        "customer.deleted",
    ] {
        assert!(kinds.iter().any(|each| each == kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(kinds.last().unwrap(), "customer.deleted", "the order was not kept");
    for got in &received {
        assert_eq!(got.payload()["data"]["customer_id"], ada.customer_id.as_str());
        for personal in ["ada@", "Ada", "example.com", "cus_", "sub_", "in_", "pi_", "eyJ"] {
            assert!(!got.body.contains(personal), "{personal} is in {}", got.body);
        }
    }
    let paid = received.iter().find(|got| got.kind() == "order.paid").unwrap().payload();
    assert_eq!(
        (&paid["data"]["plan"], &paid["data"]["amount"], &paid["data"]["status"]),
        (&json!("professional"), &json!(4900), &json!("succeeded")),
        "{paid}"
    );
    let of = |name: &str| &paid["data"][name];
    assert_eq!((of("interval"), of("quantity")), (&json!("month"), &json!(1)), "{paid}");
    assert_eq!((of("tax"), of("refunded_amount")), (&json!(0), &json!(0)), "{paid}");
}

#[tokio::test]
async fn a_change_is_delivered_at_least_once_with_a_stable_id() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let (id, secret) = add(&admin, &receiver.url, &["customer.created"]).await;
    app.sign_up("ada@example.com").await;
    // Another status, a redirect, and a connection that ends without a response.
    for (status, headers) in [(500, ""), (302, "location: http://127.0.0.1:1/\r\n"), (0, "")] {
        receiver.answer(status, headers);
        assert_eq!(app.deliver_due().await, 1, "{status}");
        // The first retry comes within 30 seconds.
        app.clock.advance_seconds(10);
    }
    receiver.answer(200, "");
    assert_eq!(app.deliver_due().await, 1);
    assert_eq!(app.deliver_due().await, 0);
    let received = receiver.take();
    assert_eq!(received.len(), 4);
    let times: Vec<_> = received.iter().map(|got| got.header("webhook-timestamp")).collect();
    assert_eq!(times, [0, 10, 20, 30].map(|seconds| (START + seconds).to_string()));
    for got in &received {
        assert_eq!((got.id(), &got.body), (received[0].id(), &received[0].body));
        assert!(got.is_signed_by(&secret));
    }
    let [delivery] = deliveries(&admin, &id).await.try_into().unwrap();
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("delivered"), &json!(4)));
}

#[tokio::test]
async fn the_worker_retries_a_failed_delivery_within_seconds() {
    let shop = Shop::open_with(Options::default(), &SETTINGS).await;
    let admin = shop.app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    receiver.answer(503, "");
    add(&admin, &receiver.url, &["customer.created"]).await;
    shop.buyer("ada@example.com").await;
    let metric = async |result: &str| {
        let name = format!("licentia_webhook_deliveries_total{{result=\"{result}\"}}");
        shop.app.client.metric(&name).await
    };
    // Recorded, and not only received: otherwise the next attempt is due after the jump.
    shop.until("it failed", async || metric("failed").await == Some(1)).await;
    receiver.answer(200, "");
    shop.sandbox.advance(Duration::from_secs(30));
    let delivered = "SELECT COUNT(*) FROM webhook_deliveries WHERE delivered_at IS NOT NULL";
    let store = &shop.app.app.store;
    shop.until("it was retried", async || number(store, delivered).await == 1).await;
    shop.until("it is counted", async || metric("delivered").await == Some(1)).await;
    assert_eq!(metric("failed").await, Some(1));
}

#[tokio::test]
async fn deliveries_of_one_customer_keep_their_order_and_others_do_not_wait() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    add(&admin, &receiver.url, &["*"]).await;
    let ada = app.sign_up("ada@example.com").await;
    let ada_id = ada.text("/customer/customer_id").to_owned();
    receiver.decide({
        let ada_id = ada_id.clone();
        move |got| if got.body.contains(&ada_id) { (500, "") } else { (204, "") }
    });
    // Only the first delivery about Ada is tried.
    assert_eq!(app.deliver_due().await, 1);
    let me = app.client.with_token(ada.text("/access_token"));
    me.patch("/api/customers/me", &json!({ "name": "Ada" })).await;
    app.sign_up("bob@example.com").await;
    let kinds = |about_ada: bool| -> Vec<_> {
        let received = receiver.received().into_iter();
        let about = received.filter(|got| got.body.contains(&ada_id) == about_ada);
        about.map(|got| got.kind()).collect()
    };
    for _ in 0..3 {
        while app.deliver_due().await > 0 {}
    }
    assert_eq!(kinds(true), ["customer.created"]);
    assert_eq!(kinds(false), ["customer.created", "license.issued"]);
    receiver.answer(204, "");
    receiver.take();
    app.clock.advance_seconds(10);
    while app.deliver_due().await > 0 {}
    assert_eq!(kinds(true), ["customer.created", "license.issued", "customer.changed"]);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    // Deliveries to this one are taken, and never end.
    let (silent, _) = add(&admin, "http://127.0.0.1:1/", &["customer.created"]).await;
    add(&admin, &receiver.url, &["customer.created"]).await;
    for each in 0..20 {
        app.sign_up(&format!("user{each}@example.com")).await;
    }
    let mut held = 0;
    loop {
        let taken = outgoing::take_due(&app.app, 100).await.unwrap();
        if taken.is_empty() {
            break;
        }
        for each in taken {
            if each.webhook_id.as_str() == silent {
                held += 1;
            } else {
                outgoing::deliver(&app.app, &each).await.unwrap();
            }
        }
    }
    assert_eq!(receiver.take().len(), 20);
    assert!((4..8).contains(&held), "{held}");
}

#[tokio::test]
async fn a_failed_delivery_is_retried_for_three_days_and_can_be_replayed() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    receiver.answer(503, "");
    let (id, secret) = add(&admin, &receiver.url, &["customer.created", "customer.changed"]).await;
    let ada = app.sign_up("ada@example.com").await;
    let delivery = async || deliveries(&admin, &id).await.pop().unwrap();
    let mut hours = 0;
    while delivery().await["state"] != "given_up" {
        app.deliver_due().await;
        app.clock.advance_seconds(3600);
        hours += 1;
        assert!(hours < 100, "{:?}", delivery().await);
    }
    assert!(hours > 72, "it was given up after {hours} hours");
    let given_up = delivery().await;
    assert!(given_up["attempts"].as_i64().unwrap() >= 20, "{given_up}");
    assert_eq!(given_up["last_error"], "HTTP 503");
    let tried = receiver.take();
    assert_eq!(app.deliver_due().await, 0);

    // A delivery that was given up does not hold up later ones.
    receiver.answer(204, "");
    let me = app.client.with_token(ada.text("/access_token"));
    me.patch("/api/customers/me", &json!({ "name": "Ada" })).await;
    assert_eq!(app.deliver_due().await, 1);
    assert_eq!(receiver.take_one().kind(), "customer.changed");

    let path =
        format!("{WEBHOOKS}/{id}/deliveries/{}/replay", given_up["delivery_id"].as_str().unwrap());
    let replayed = admin.send(Method::POST, &path, None).await;
    assert_eq!((replayed.status, replayed.text("/state")), (200, "waiting"), "{}", replayed.text);
    assert_eq!(app.deliver_due().await, 1);
    let again = receiver.take_one();
    assert_eq!((again.id(), &again.body), (tried[0].id(), &tried[0].body));
    assert!(again.is_signed_by(&secret));
    // One that was accepted can be replayed too.
    app.clock.advance_seconds(1);
    assert_eq!(delivery().await["state"], "delivered");
    assert_eq!(admin.send(Method::POST, &path, None).await.status, 200);
    assert_eq!(app.deliver_due().await, 1);
    let audited = "SELECT detail FROM audit_log WHERE action = 'webhook.replayed' ORDER BY at";
    let audited = texts(&app.app.store, audited).await;
    assert!(audited[0].contains("given_up") && audited[1].contains("delivered"), "{audited:?}");
}

#[tokio::test]
async fn a_receiver_may_ask_for_a_wait_of_up_to_an_hour() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    add(&admin, &receiver.url, &["customer.created"]).await;
    app.sign_up("ada@example.com").await;
    for (asked, wait) in [("retry-after: 600\r\n", 600), ("retry-after: 86400\r\n", 3600)] {
        receiver.answer(429, asked);
        assert_eq!(app.deliver_due().await, 1);
        for pause in [wait / 2, wait / 2 - 1, 1] {
            assert_eq!(app.deliver_due().await, 0, "{asked}");
            app.clock.advance_seconds(pause);
        }
    }
    assert_eq!(app.deliver_due().await, 1);
}

#[tokio::test]
async fn a_410_disables_a_webhook_until_an_operator_enables_it() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let (gone, other) = (Receiver::start().await, Receiver::start().await);
    let (id, _) = add(&admin, &gone.url, &["*"]).await;
    add(&admin, &other.url, &["*"]).await;
    gone.answer(410, "");
    app.sign_up("ada@example.com").await;
    while app.deliver_due().await > 0 {}
    assert_eq!((gone.take().len(), other.take().len()), (1, 2));
    let listed = admin.get(WEBHOOKS).await;
    let one = listed.body["webhooks"].as_array().unwrap().iter();
    let one = one.clone().find(|one| one["webhook_id"] == id.as_str()).unwrap();
    assert_eq!(one["enabled"], false);
    assert!(one["disabled_at"].is_string(), "{one}");
    let states = deliveries(&admin, &id).await;
    assert!(states.iter().all(|delivery| delivery["state"] == "given_up"), "{states:?}");
    let audited = "SELECT actor || detail FROM audit_log WHERE action = 'webhook.disabled'";
    let [audited] = texts(&app.app.store, audited).await.try_into().unwrap();
    assert!(audited.starts_with("system") && audited.contains(&id), "{audited}");

    app.sign_up("bob@example.com").await;
    while app.deliver_due().await > 0 {}
    assert_eq!((gone.take().len(), other.take().len()), (0, 2));
    let path = format!("{WEBHOOKS}/{id}");
    let replay = format!("{path}/deliveries/{}/replay", states[0]["delivery_id"].as_str().unwrap());
    let refused = admin.send(Method::POST, &replay, None).await;
    assert_eq!(refused.problem(), (409, "webhook_disabled"));
    gone.answer(204, "");
    assert_eq!(admin.patch(&path, &json!({ "enabled": true })).await.status, 200);
    assert_eq!(admin.send(Method::POST, &replay, None).await.status, 200);
    app.sign_up("eve@example.com").await;
    while app.deliver_due().await > 0 {}
    assert_eq!(gone.take().len(), 3);
}

#[tokio::test]
async fn both_secrets_sign_during_a_rotation() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let (id, former) = add(&admin, &receiver.url, &["customer.created"]).await;
    let path = format!("{WEBHOOKS}/{id}");
    let rotated = admin.patch(&path, &json!({ "rotate_secret": true })).await;
    let new = rotated.text("/secret").to_owned();
    assert_ne!(new, former);
    assert_eq!(rotated.text("/former_secret_until"), "2026-11-21T15:00:00+00:00");
    let signed = async |email: &str| {
        app.sign_up(email).await;
        assert_eq!(app.deliver_due().await, 1);
        let got = receiver.take_one();
        (got.is_signed_by(&former), got.is_signed_by(&new))
    };
    assert_eq!(signed("ada@example.com").await, (true, true));
    app.clock.advance_seconds(86_399);
    assert_eq!(signed("bob@example.com").await, (true, true));
    app.clock.advance_seconds(1);
    assert_eq!(signed("eve@example.com").await, (false, true));
    // No other response and no log shows a secret.
    let shown = [
        admin.get(WEBHOOKS).await.text,
        admin.patch(&path, &json!({ "enabled": true })).await.text,
        texts(&app.app.store, "SELECT detail FROM audit_log").await.join("\n"),
    ];
    for text in shown {
        assert!(!text.contains("whsec_"), "{text}");
    }
}

#[tokio::test]
async fn two_servers_deliver_each_message_once() {
    let shop = Shop::open_with(Options::default(), &SETTINGS).await;
    let peer = shop.second_server().await;
    let admin = shop.app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    add(&admin, &receiver.url, &["*"]).await;
    let sign_ups = (0..10).map(|each| {
        let shop = &shop;
        async move { shop.app.sign_up(&format!("user{each}@example.com")).await }
    });
    futures_util::future::join_all(sign_ups).await;
    let open = "SELECT COUNT(*) FROM webhook_deliveries WHERE delivered_at IS NULL";
    let store = &shop.app.app.store;
    shop.until("all are delivered", async || number(store, open).await == 0).await;
    peer.end_worker().await;
    let received = receiver.take();
    let mut ids: Vec<_> = received.iter().map(|got| got.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), received.len()), (20, 20), "a message was delivered twice, or not");
    let attempts = "SELECT COUNT(*) FROM webhook_deliveries WHERE attempts <> 1";
    assert_eq!(number(store, attempts).await, 0);
}

/// A worker that pauses past its lease.
#[tokio::test]
async fn a_worker_whose_lease_has_expired_records_nothing() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    add(&admin, &receiver.url, &["customer.created"]).await;
    app.sign_up("ada@example.com").await;
    let taken = outgoing::take_due(&app.app, 10).await.unwrap();
    assert_eq!(app.deliver_due().await, 0, "another worker took a leased delivery");
    app.clock.advance_seconds(60);
    assert_eq!(app.deliver_due().await, 1);
    receiver.answer(500, "");
    outgoing::deliver(&app.app, &taken[0]).await.unwrap();
    let state = "SELECT COUNT(*) FROM webhook_deliveries
         WHERE delivered_at IS NOT NULL AND attempts = 1 AND last_error IS NULL";
    assert_eq!(number(&app.app.store, state).await, 1);
}

#[tokio::test]
async fn the_log_of_deliveries_is_kept_for_30_days_and_read_page_by_page() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let (id, _) = add(&admin, &receiver.url, &["*"]).await;
    app.sign_up("ada@example.com").await;
    app.sign_up("bob@example.com").await;
    while app.deliver_due().await > 0 {}
    let all = deliveries(&admin, &id).await;
    assert_eq!(all.len(), 4);
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("{WEBHOOKS}/{id}/deliveries?limit=3{after}");
        let page = admin.get(&path).await;
        pages.extend(page.body["deliveries"].as_array().unwrap().clone());
        let Some(next) = page.body["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(pages, all);
    let first = admin.get(&format!("{WEBHOOKS}?limit=1")).await;
    assert_eq!(first.body["next_after"], Value::Null);

    app.clock.advance_days(29);
    let admin = app.admin(Scope::Admin).await;
    app.sign_up("eve@example.com").await;
    while app.deliver_due().await > 0 {}
    assert_eq!(deliveries(&admin, &id).await.len(), 6);
    app.clock.advance_days(1);
    app.sign_up("joe@example.com").await;
    while app.deliver_due().await > 0 {}
    assert_eq!(deliveries(&admin, &id).await.len(), 4, "old deliveries are still there");
    assert_eq!(app.count("webhook_messages").await, 4);
}
