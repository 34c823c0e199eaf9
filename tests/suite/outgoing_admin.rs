//! Outgoing webhooks as operators manage them: allowed targets, wrong requests, and the command
//! line.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use licentia::app::{App, Surroundings};
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::webhook_event::EventKind;
use licentia::flows::operator::outgoing;
use licentia::keys::KeyRing;
use licentia::outgoing::{Lookup, Outgoing};
use licentia::random::Random;
use licentia::store::{IfMissing, Store};
use licentia::{plans, templates};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::texts;
use crate::harness::process::{Done, licentia, run};
use crate::harness::receiver::Receiver;
use crate::harness::{TestApp, deliver_due};
use crate::outgoing::{ALLOW_PRIVATE, SETTINGS, WEBHOOKS, add, deliveries};

/// Returns the parts of another server on the same database, which resolves names by this function.
async fn server_with_names(app: &TestApp, lookup: Lookup) -> App {
    let config = &app.config;
    let store = Store::open(&config.database_url, IfMissing::Refuse).await.unwrap();
    let random = Random::from_system().unwrap();
    let real = Surroundings::real(config, store, app.clock.clone(), random).unwrap();
    let plans = plans::load(None).unwrap();
    let keys = KeyRing::load(config).unwrap().unwrap();
    let outgoing = Outgoing::with_lookup(config, lookup);
    let templates = templates::load(&config.email).unwrap();
    App::new(config, plans, keys, templates, Surroundings { outgoing, ..real }).unwrap()
}

#[tokio::test]
async fn a_private_target_is_refused_also_if_the_name_resolves_to_it_later() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    for url in [
        receiver.url.clone(),
        format!("https://127.0.0.1:{port}/"),
        format!("https://[::1]:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://[64:ff9b::7f00:1]:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://2130706433:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "https://100.64.0.1/".to_owned(),
        "https://[fd00::1]/".to_owned(),
        "https://[fe80::1]/".to_owned(),
        "https://0.0.0.0/".to_owned(),
        "https://224.0.0.1/".to_owned(),
        "http://hooks.acme.example/".to_owned(),
        "https://ada:secret@hooks.acme.example/".to_owned(),
        "https://hooks.acme.example:25/".to_owned(),
        "hooks".to_owned(),
        String::new(),
    ] {
        let refused = admin.post(WEBHOOKS, &json!({ "url": url, "events": ["*"] })).await;
        assert_eq!(refused.problem(), (422, "invalid_webhook_target"), "{url}");
        assert!(!refused.text.contains("secret@"), "{}", refused.text);
    }
    assert_eq!(app.count("webhooks").await, 0);

    // The name has a public address when the webhook is created, and a private one later.
    let url = format!("https://hooks.acme.example:{port}/");
    let addresses: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let server = server_with_names(&app, {
        let addresses = addresses.clone();
        Arc::new(move |name: &str| {
            assert_eq!(name, "hooks.acme.example");
            Ok(addresses.lock().unwrap().clone())
        })
    })
    .await;
    *addresses.lock().unwrap() = vec!["127.0.0.1".parse().unwrap()];
    let refused = server.outgoing.check(&url).await.err().unwrap();
    assert!(refused.to_string().contains("webhooks.allow_private"), "{refused}");
    *addresses.lock().unwrap() = vec!["8.8.8.8".parse().unwrap()];
    assert!(server.outgoing.check(&url).await.is_ok());
    let (id, _) = add(&admin, &url, &["customer.created"]).await;
    app.sign_up("ada@example.com").await;
    for private in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "64:ff9b::127.0.0.1", "0.0.0.0"] {
        *addresses.lock().unwrap() = vec![private.parse().unwrap()];
        assert_eq!(deliver_due(&server).await, 1);
        let [delivery] = deliveries(&admin, &id).await.try_into().unwrap();
        let error = delivery["last_error"].as_str().unwrap();
        assert!(error.starts_with("the target is refused: this host has no public"), "{error}");
        app.clock.advance_seconds(60);
    }
    addresses.lock().unwrap().clear();
    assert_eq!(deliver_due(&server).await, 1);
    let [delivery] = deliveries(&admin, &id).await.try_into().unwrap();
    assert_eq!(delivery["last_error"], "the host name cannot be resolved");
    assert_eq!(receiver.received().len(), 0);
}

/// The setting was on when the webhook was created.
#[tokio::test]
async fn a_private_target_gets_nothing_once_it_is_not_allowed_any_more() {
    let app = TestApp::start().await;
    let receiver = Receiver::start().await;
    let url = app.config.database_url.expose_secret();
    let added = run(licentia(app.directory.path())
        .args(["webhook", "add", &receiver.url])
        .env("LICENTIA_DATABASE_URL", url)
        .env(ALLOW_PRIVATE.0, ALLOW_PRIVATE.1));
    assert_eq!(added.code, 0, "{added:?}");
    app.sign_up("ada@example.com").await;
    assert!(app.deliver_due().await > 0);
    let errors = "SELECT last_error FROM webhook_deliveries WHERE last_error IS NOT NULL";
    let errors = texts(&app.app.store, errors).await;
    assert!(errors[0].starts_with("the target is refused: use an https:// URL"), "{errors:?}");
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test]
async fn a_wrong_request_gets_a_problem_with_a_code() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let url = "https://acme.example/hooks";
    for body in [
        json!({}),
        json!({ "url": url }),
        json!({ "url": url, "events": [] }),
        json!({ "url": url, "events": ["order.lost"] }),
        json!({ "url": url, "events": "*" }),
        json!({ "url": url, "events": [7] }),
        json!({ "url": 7, "events": ["*"] }),
        json!({ "url": url, "events": ["*"], "enabled": "yes" }),
        json!({ "url": url, "events": ["*"], "secret": "whsec_x" }),
        json!({ "url": format!("{url}{}", "a".repeat(2000)), "events": ["*"] }),
        json!({ "url": url, "events": vec!["*"; 21] }),
    ] {
        let refused = admin.post(WEBHOOKS, &body).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{body}");
    }
    let (id, _) = add(&admin, url, &["*", "order.paid", "order.paid"]).await;
    let path = format!("{WEBHOOKS}/{id}");
    for body in [json!({ "events": [] }), json!({ "url": null }), json!({ "enable": true })] {
        assert_eq!(admin.patch(&path, &body).await.problem(), (400, "invalid_request"), "{body}");
    }
    let refused = admin.patch(&path, &json!({ "url": "ftp://acme.example/" })).await;
    assert_eq!(refused.problem(), (422, "invalid_webhook_target"));
    let changed = admin.patch(&path, &json!({ "events": ["order.paid"] })).await;
    assert_eq!(changed.body["events"], json!(["order.paid"]));
    for kind in EventKind::ALL {
        let changed = admin.patch(&path, &json!({ "events": [kind.as_str()] })).await;
        assert_eq!(changed.body["events"], json!([kind.as_str()]));
    }
    admin.patch(&path, &json!({ "events": ["order.paid"] })).await;
    let unchanged = admin.patch(&path, &json!({})).await;
    assert_eq!((unchanged.status, &unchanged.body["events"]), (200, &json!(["order.paid"])));

    let unknown = "whk_0123456789abcdef0123456789abcdef";
    let delivery = "dlv_0123456789abcdef0123456789abcdef";
    for id in [unknown, "whk_1", "a%00b", delivery] {
        let path = format!("{WEBHOOKS}/{id}");
        let answers = [
            admin.patch(&path, &json!({ "enabled": false })).await,
            admin.delete(&path).await,
            admin.get(&format!("{path}/deliveries")).await,
            admin.send(Method::POST, &format!("{path}/deliveries/{delivery}/replay"), None).await,
        ];
        for answer in answers {
            assert_eq!(answer.problem(), (404, "not_found"), "{id}");
        }
    }
    for wrong in [delivery, "dlv_1", unknown] {
        let replay = format!("{path}/deliveries/{wrong}/replay");
        let answer = admin.send(Method::POST, &replay, None).await;
        assert_eq!(answer.problem(), (404, "not_found"), "{wrong}");
    }
    for wrong in ["limit=0", "limit=101", "after=x"] {
        for list in [WEBHOOKS.to_owned(), format!("{path}/deliveries")] {
            let answer = admin.get(&format!("{list}?{wrong}")).await;
            assert_eq!(answer.problem(), (400, "invalid_request"), "{list}?{wrong}");
        }
    }
    for _ in 1..20 {
        add(&admin, url, &["*"]).await;
    }
    let refused = admin.post(WEBHOOKS, &json!({ "url": url, "events": ["*"] })).await;
    assert_eq!(refused.problem(), (409, "too_many_webhooks"));
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_eq!(admin.delete(&path).await.problem(), (404, "not_found"));
    let support = app.admin(Scope::Support).await;
    assert_eq!(support.get(WEBHOOKS).await.problem(), (403, "insufficient_scope"));
}

#[tokio::test]
async fn a_deleted_webhook_gets_nothing_any_more() {
    let app = TestApp::start_with(&SETTINGS).await;
    let admin = app.admin(Scope::Admin).await;
    let receiver = Receiver::start().await;
    let (id, _) = add(&admin, &receiver.url, &["*"]).await;
    app.sign_up("ada@example.com").await;
    let taken = outgoing::take_due(&app.app, 10).await.unwrap();
    assert_eq!(admin.delete(&format!("{WEBHOOKS}/{id}")).await.status, 204);
    for each in &taken {
        outgoing::deliver(&app.app, each).await.unwrap();
    }
    app.sign_up("bob@example.com").await;
    assert_eq!(app.deliver_due().await, 0);
    assert_eq!(receiver.received().len(), 0);
    assert_eq!(app.count("webhook_deliveries").await, 0);
}

/// Runs `licentia webhook`, as an operator does while the server runs.
fn webhook(app: &TestApp, arguments: &[&str]) -> Done {
    let url = app.config.database_url.expose_secret();
    let mut command = licentia(app.directory.path());
    command.arg("webhook").args(arguments).env("LICENTIA_DATABASE_URL", url);
    run(command.env(ALLOW_PRIVATE.0, ALLOW_PRIVATE.1))
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let app = TestApp::start_with(&SETTINGS).await;
    let receiver = Receiver::start().await;
    assert!(webhook(&app, &["list"]).out.starts_with("There are no webhooks."));
    let added = webhook(&app, &["add", &receiver.url, "--events", "customer.created,order.paid"]);
    let secret = added.out.trim().to_owned();
    assert!(added.code == 0 && secret.starts_with("whsec_"), "{added:?}");
    let listed: Value = serde_json::from_str(&webhook(&app, &["list", "--json"]).out).unwrap();
    let id = listed["webhooks"][0]["webhook_id"].as_str().unwrap().to_owned();
    assert!(added.err.contains(&id), "{added:?}");
    assert_eq!(listed["webhooks"][0]["events"], json!(["customer.created", "order.paid"]));
    assert!(webhook(&app, &["list"]).out.contains("enabled  customer.created,order.paid  http"));
    assert!(webhook(&app, &["deliveries", &id]).out.starts_with("This webhook has no"));

    app.sign_up("ada@example.com").await;
    assert_eq!(app.deliver_due().await, 1);
    assert!(receiver.take_one().is_signed_by(&secret));
    let shown = webhook(&app, &["deliveries", &id]).out;
    assert!(shown.contains("customer.created  delivered after 1 attempts\n"), "{shown}");
    let log = webhook(&app, &["deliveries", &id, "--json"]).out;
    let log: Value = serde_json::from_str(&log).unwrap();
    let delivery = log["deliveries"][0]["delivery_id"].as_str().unwrap();
    let rotated = webhook(&app, &["rotate", &id, "--json"]);
    let rotated: Value = serde_json::from_str(&rotated.out).unwrap();
    let replayed = webhook(&app, &["replay", &id, delivery]);
    assert!(replayed.out.contains("will be sent again"), "{replayed:?}");
    assert_eq!(app.deliver_due().await, 1);
    let got = receiver.take_one();
    assert!(got.is_signed_by(rotated["secret"].as_str().unwrap()) && got.is_signed_by(&secret));
    let actors = "SELECT actor FROM audit_log WHERE action LIKE 'webhook.%'";
    assert_eq!(texts(&app.app.store, actors).await, ["operator"; 3]);

    let admin = app.admin(Scope::Admin).await;
    admin.patch(&format!("{WEBHOOKS}/{id}"), &json!({ "enabled": false })).await;
    assert!(webhook(&app, &["list"]).out.contains("disabled 2026-11-20T15:00:00Z"));
    assert!(webhook(&app, &["replay", &id, delivery]).err.contains("this webhook is disabled"));
    assert_eq!(webhook(&app, &["enable", &id]).code, 0);
    assert_eq!(webhook(&app, &["remove", &id, "--json"]).code, 0);
    let gone = webhook(&app, &["remove", &id]);
    assert!(gone.code == 1 && gone.err.contains("there is no such webhook"), "{gone:?}");
    for (arguments, code, says) in [
        (&["add", "ftp://acme.example/"][..], 1, "use a complete URL"),
        (&["add", "https://acme.example/", "--events", "order.lost"], 2, "use customer.created,"),
        (&["remove", "whk_1"], 2, "an id of this kind"),
    ] {
        let done = webhook(&app, arguments);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.err.contains(says), "{done:?}");
    }
}
