//! Requests with an `Idempotency-Key` take effect once, however often they are sent, at once, on
//! several servers, and after a crash between the effect and the response. The kills themselves are
//! in `crash_support.rs` and `crash_accounts.rs`, and attacks in `idempotency_attacks.rs`.

use std::sync::Arc;

use futures_util::future::join_all;
use licentia::domain::operator::admin_key::Scope;
use licentia::http::openapi;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::pause::Pause;
use crate::harness::shop::Shop;
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp, until};

const KEY: &str = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"";

/// The operations with a `POST` that create nothing: to repeat them changes nothing.
const CREATE_NOTHING: [&str; 10] = [
    "previewChange",
    "receiveStripeEvent", // Events have ids of their own.
    "verifyLicense",
    "undoEmailChange",
    "logOut",
    "revokeLicense",
    "syncCustomer",
    "linkStripe",
    "endSessions",
    "replayEvent",
];

#[test]
fn every_post_that_creates_something_takes_a_key() {
    let document = openapi::document();
    let mut without = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            let takes_key = parameters.any(|each| each["name"] == "Idempotency-Key");
            let id = operation["operationId"].as_str().unwrap();
            match (method.as_str(), takes_key) {
                ("post", false) => without.push(id.to_owned()),
                ("post", true) => {
                    let conflict = operation.pointer("/responses/409/description").unwrap();
                    assert!(conflict.as_str().unwrap().contains("idempotency_running"), "{path}");
                }
                (_, true) => panic!("{method} {path} takes a key"),
                _ => {}
            }
        }
    }
    without.sort_unstable();
    let mut expected = CREATE_NOTHING.to_vec();
    expected.sort_unstable();
    assert_eq!(without, expected);
}

/// A request with a key.
pub struct Call {
    pub client: Client,
    pub path: String,
    body: Value,
}

impl Call {
    pub fn new(client: &Client, path: impl Into<String>, body: Value) -> Self {
        Self { client: client.with_key(KEY), path: path.into(), body }
    }

    pub async fn send(&self) -> Answer {
        let body = (!self.body.is_null()).then_some(&self.body);
        self.client.send(Method::POST, &self.path, body).await
    }
}

/// The rows that must not grow when a request is repeated.
async fn rows(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["customers", "licenses", "outbox", "webhooks", "mail_links", "webhook_deliveries"]
    {
        counts.push(app.count(table).await);
    }
    let changes = "SELECT COUNT(*) FROM audit_log WHERE action <> 'admin_key.used'";
    counts.push(number(&app.app.store, changes).await);
    counts
}

/// Returns the body without what is created anew for a repeated request.
fn comparable(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    for field in ["access_token", "expires_at"] {
        if let (Some(value), true) = (body.get_mut(field), answer.text.contains("access_token")) {
            *value = Value::Null;
        }
    }
    body
}

/// Returns a request of each kind of caller, about a customer who exists.
async fn calls(app: &TestApp) -> Vec<Call> {
    let signed_up = app.sign_up("ada@example.com").await;
    let (customer, license) =
        (signed_up.text("/customer/customer_id"), signed_up.text("/license/license_id"));
    let token = app.take_mail("ada@example.com").await.token("verify");
    let public = app.client.at_address("192.0.2.1");
    let admin = app.admin(Scope::Admin).await;
    let app_client = app.client.with_token(signed_up.text("/license/token"));
    let me = app.client.with_token(signed_up.text("/access_token"));
    let records = "/api/admin/customers";
    let account = |email: &str| json!({ "email": email, "password": PASSWORD });
    let webhook = json!({ "url": "https://example.com/hook", "events": ["*"], "enabled": false });
    vec![
        Call::new(&me, "/api/customers/me/verification", Value::Null),
        Call::new(&public, "/api/customers/verify", json!({ "token": token })),
        Call::new(&public, "/api/customers/signup", account("bob@example.com")),
        Call::new(&public, "/api/customers/login", account("ada@example.com")),
        Call::new(&public, "/api/customers/password/forgot", json!({ "email": "ada@example.com" })),
        Call::new(&public, "/api/licenses/recover", json!({ "email": "ada@example.com" })),
        Call::new(&app_client, "/api/licenses/refresh", Value::Null),
        Call::new(&admin, records, json!({ "email": "carl@example.com", "name": "Carl" })),
        Call::new(
            &admin,
            format!("{records}/{customer}/licenses"),
            json!({ "plan": "professional", "days": 90 }),
        ),
        Call::new(&admin, format!("{records}/{customer}/licenses/extend"), json!({ "days": 14 })),
        Call::new(
            &admin,
            format!("/api/admin/licenses/{license}/resend"),
            json!({ "reissue": true }),
        ),
        Call::new(&admin, format!("{records}/{customer}/password-reset"), Value::Null),
        Call::new(&admin, "/api/admin/webhooks", webhook),
    ]
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_response_and_changes_nothing() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let other_server = app.second_server().await;
    for call in calls(&app).await {
        let first = call.send().await;
        assert!((200..300).contains(&first.status), "{}: {}", call.path, first.text);
        assert_eq!(first.header("idempotent-replayed"), "");
        let before = rows(&app).await;
        let there = call.client.at_server(&other_server);
        let there = Call { client: there, path: call.path.clone(), body: call.body.clone() };
        for again in [call.send().await, there.send().await] {
            assert_eq!(again.status, first.status, "{}: {}", call.path, again.text);
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", call.path);
            assert_eq!(again.header("content-type"), first.header("content-type"), "{}", call.path);
            assert_eq!(comparable(&again), comparable(&first), "{}", call.path);
            if let Some(token) = again.body["access_token"].as_str() {
                assert_ne!(token, first.text("/access_token"), "only its hash is stored");
                for token in [token, first.text("/access_token")] {
                    let me = app.client.with_token(token).get("/api/customers/me").await;
                    assert_eq!(me.status, 200);
                }
            }
        }
        assert_eq!(rows(&app).await, before, "{}", call.path);
    }
}

/// As after a crash between the effect and the response.
#[tokio::test]
async fn a_request_whose_response_was_lost_is_answered_with_what_it_created() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let mut creations = 0;
    let lose = "UPDATE idempotency_keys SET status = NULL, body = NULL";
    for call in calls(&app).await {
        let first = call.send().await;
        let created = number(
            &app.app.store,
            "SELECT COUNT(*) FROM idempotency_keys WHERE created_id IS NOT NULL AND status IS NOT NULL",
        );
        let has_created = created.await == 1;
        let before = rows(&app).await;
        execute(&app.app.store, lose).await.unwrap();
        let again = call.send().await;
        assert_eq!(again.status, first.status, "{}: {}", call.path, again.text);
        assert_eq!(again.header("idempotent-replayed"), "", "it was carried out");
        assert_eq!(comparable(&again), comparable(&first), "{}", call.path);
        if has_created {
            creations += 1;
            assert_eq!(rows(&app).await, before, "{}", call.path);
        }
        // From now on it gets the kept response.
        assert_eq!(call.send().await.header("idempotent-replayed"), "true", "{}", call.path);
        execute(&app.app.store, "DELETE FROM idempotency_keys").await.unwrap();
    }
    // A customer twice, a session, a verified address, three licenses and a webhook.
    assert_eq!(creations, 8);
}

#[tokio::test]
async fn checkout_and_portal_are_opened_once() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let home = shop.app.client.base.clone();
    let purchase = json!({ "plan": "professional", "success_url": home, "cancel_url": home });
    let checkout = Call::new(&ada.client, "/api/subscriptions/checkout", purchase);
    let opened = checkout.send().await;
    shop.buy(&ada, "professional").await;
    let portal = Call::new(&ada.client, "/api/subscriptions/portal", Value::Null);
    let app = Call::new(&shop.app.client.with_token(&ada.trial), portal.path.as_str(), Value::Null);
    for (call, first) in
        [(&checkout, opened), (&portal, portal.send().await), (&app, app.send().await)]
    {
        let again = call.send().await;
        assert_eq!((again.status, &again.body), (200, &first.body), "{}", again.text);
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
}

#[tokio::test]
async fn a_reset_is_repeated_with_its_key_and_its_link_works_once_security_16() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.take_mails("ada@example.com").await;
    let forgot = json!({ "email": "ada@example.com" });
    app.client.post("/api/customers/password/forgot", &forgot).await;
    let token = app.take_mail("ada@example.com").await.token("reset");
    let reset = |token: &str| json!({ "token": token, "password": "four purple trains at noon" });
    let call = Call::new(&app.client, "/api/customers/password/reset", reset(&token));
    let first = call.send().await;
    for lost in [false, true] {
        if lost {
            execute(&app.app.store, "UPDATE idempotency_keys SET status = NULL, body = NULL")
                .await
                .unwrap();
        }
        let again = call.send().await;
        assert_eq!((again.status, comparable(&again)), (200, comparable(&first)));
        let me = app.client.with_token(again.text("/access_token"));
        assert_eq!(me.get("/api/customers/me").await.status, 200, "lost: {lost}");
    }
    let without = app.client.post("/api/customers/password/reset", &reset(&token)).await;
    assert_eq!(without.problem(), (410, "link_used"));
}

#[tokio::test]
async fn of_many_requests_at_once_one_takes_effect() {
    let app = TestApp::start().await;
    let there = app.second_server().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Support).await;
    let path =
        format!("/api/admin/customers/{}/licenses/extend", ada.text("/customer/customer_id"));
    let calls = [&admin, &there.with_token(admin.token())]
        .map(|client| Call::new(client, path.as_str(), json!({ "days": 14 })));
    let answers = join_all((0..12).map(|n| calls[n % 2].send())).await;
    let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(!done.is_empty());
    for answer in &answers {
        if answer.status == 200 {
            assert_eq!(answer.body, done[0].body);
        } else {
            assert_eq!(answer.problem(), (409, "idempotency_running"));
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    assert_eq!(app.count("licenses").await, 2, "the trial and its extension");
    assert_eq!(calls[0].send().await.body, done[0].body);
}

/// Neither a client that leaves while its request begins nor one that leaves later keeps the others
/// out. The clock is stopped, so no lease ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_first_request_runs_another_is_refused_and_a_lost_client_can_repeat_it() {
    let shop = Shop::open().await;
    for place in ["idempotency.begun", "signup.committed"] {
        let pause = Pause::at(place);
        pause.arm();
        let server = shop.server_with(Pause::any_of(&[&pause])).await;
        let email = format!("{place}@example.com");
        let account = json!({ "email": email, "password": PASSWORD });
        let mut call = Call::new(&server.client, "/api/customers/signup", account);
        call.client = call.client.with_key(place);
        let call = Arc::new(call);
        let first = tokio::spawn({
            let call = Arc::clone(&call);
            async move { call.send().await }
        });
        until(async || pause.has_begun()).await;
        if place == "signup.committed" {
            assert_eq!(call.send().await.problem(), (409, "idempotency_running"));
        }
        first.abort();
        let _ = first.await;
        pause.end();
        // The server may still be noticing that the client has gone.
        until(async || call.send().await.body["code"] != "idempotency_running").await;
        let answer = call.send().await;
        assert_eq!(answer.status, 201, "{place}: {}", answer.text);
        let customers = format!("SELECT COUNT(*) FROM customers WHERE email = '{email}'");
        assert_eq!(number(&shop.app.app.store, &customers).await, 1, "{place}");
    }
}

#[tokio::test]
async fn a_sign_up_whose_response_was_lost_needs_no_further_mail() {
    let app = TestApp::start().await;
    let account = |email: &str| json!({ "email": email, "password": PASSWORD });
    let call = Call::new(&app.client, "/api/customers/signup", account("ada@example.com"));
    assert_eq!(call.send().await.status, 201);
    execute(&app.app.store, "UPDATE idempotency_keys SET status = NULL, body = NULL")
        .await
        .unwrap();
    let mut others = Vec::new();
    for n in 0..12 {
        let account = account(&format!("bob{n}@example.com"));
        others.push(app.client.post("/api/customers/signup", &account).await.status);
    }
    assert_eq!(others.last(), Some(&429), "the address has used its mails: {others:?}");
    assert_eq!(call.send().await.status, 201);
}

#[tokio::test]
async fn the_key_belongs_to_one_request_of_one_caller() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.sign_up("ada@example.com").await;
    let bob = app.sign_up("bob@example.com").await;
    let admin = app.admin(Scope::Admin).await;
    let path = |who: &Answer| {
        format!("/api/admin/customers/{}/licenses/extend", who.text("/customer/customer_id"))
    };
    let first = Call::new(&admin, path(&ada), json!({ "days": 14 })).send().await;
    assert_eq!(first.status, 200, "{}", first.text);
    for other in [
        Call::new(&admin, path(&ada), json!({ "days": 15 })),
        Call::new(&admin, path(&bob), json!({ "days": 14 })),
    ] {
        assert_eq!(other.send().await.problem(), (422, "idempotency_mismatch"), "{}", other.path);
    }
    // Another caller with the same key and the same request carries out a request of their own.
    let other_admin = app.admin(Scope::Admin).await;
    let own = Call::new(&other_admin, path(&ada), json!({ "days": 14 })).send().await;
    assert_ne!(own.text("/license_id"), first.text("/license_id"));
    // The same key at another operation is another key.
    let grant = json!({ "plan": "professional", "days": 900 });
    let path = path(&ada).replace("/extend", "");
    assert_eq!(Call::new(&admin, path, grant).send().await.status, 201);
}

#[tokio::test]
async fn after_a_day_the_key_is_new_and_a_deleted_customer_leaves_no_response_behind() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Admin).await;
    let customer = format!("/api/admin/customers/{}", ada.text("/customer/customer_id"));
    let extend = Call::new(&admin, format!("{customer}/licenses/extend"), json!({ "days": 14 }));
    let first = extend.send().await;
    app.clock.advance_seconds(86_399);
    assert_eq!(extend.send().await.body, first.body);
    app.clock.advance_seconds(1);
    assert_ne!(extend.send().await.body, first.body);

    let account = json!({ "email": "bob@example.com", "password": PASSWORD });
    let sign_up = Call::new(&app.client.at_address("192.0.2.9"), "/api/customers/signup", account);
    let bob = sign_up.send().await;
    let stored = texts(
        &app.app.store,
        "SELECT CAST(request_hash || fingerprint || COALESCE(body, '') AS TEXT) FROM idempotency_keys",
    );
    let stored = stored.await.join("\n");
    assert!(stored.contains("bob@example.com"));
    for secret in [PASSWORD, "lses_", bob.text("/access_token"), "8e03978e"] {
        assert!(!stored.contains(secret), "{secret}");
    }
    admin.delete(&format!("/api/admin/customers/{}", bob.text("/customer/customer_id"))).await;
    let left = "SELECT COUNT(*) FROM idempotency_keys WHERE body LIKE '%bob@example.com%'";
    assert_eq!(number(&app.app.store, left).await, 0);
    let customer = format!("/api/admin/customers/{}", ada.text("/customer/customer_id"));
    assert_eq!(admin.delete(&customer).await.status, 204);
    assert_eq!(app.count("idempotency_keys").await, 0, "what was about the customers");
    // The address can sign up again, with the same key.
    let again = sign_up.send().await;
    assert_eq!((again.status, again.text("/trial_refused")), (201, "trial_used"));
}

#[tokio::test]
async fn a_refused_request_can_be_corrected_and_a_refusal_by_the_state_is_kept() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let admin = app.admin(Scope::Support).await;
    let new = |email: &str| Call::new(&admin, "/api/admin/customers", json!({ "email": email }));
    assert_eq!(new("ada").send().await.problem(), (422, "invalid_email"));
    assert_eq!(new("ada@example.com").send().await.status, 201, "the same key");

    let taken = Call { client: admin.with_key("another"), ..new("ada@example.com") };
    let refused = taken.send().await;
    assert_eq!(refused.problem(), (409, "email_taken"));
    let again = taken.send().await;
    assert_eq!((again.status, &again.body), (409, &refused.body));
    assert_eq!(again.header("idempotent-replayed"), "true");

    for wrong in ["ü", &"k".repeat(256), ""] {
        let call = Call { client: admin.with_key(wrong), ..new("bob@example.com") };
        assert_eq!(call.send().await.problem(), (400, "invalid_request"), "{wrong:?}");
    }
    let twice = reqwest::Client::new()
        .post(format!("{}/api/admin/customers", app.client.base))
        .bearer_auth(admin.token())
        .header("idempotency-key", "1")
        .header("idempotency-key", "2")
        .json(&json!({ "email": "bob@example.com" }));
    assert_eq!(twice.send().await.unwrap().status(), 400);
    // A call that takes no key ignores it.
    assert_eq!(admin.with_key("ü").get("/api/admin/customers").await.status, 200);
}
