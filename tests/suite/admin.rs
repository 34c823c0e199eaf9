//! Admin keys: created, scoped, expired, revoked and recorded; and dead letters: listed, explained
//! and replayed. The metrics about missing licenses are in `drift`.

use std::collections::BTreeSet;
use std::process::Stdio;

use chrono::TimeDelta;
use licentia::domain::operator::admin_key::{Operation, Scope};
use licentia::flows::operator::admin_key;
use licentia::http::openapi;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::harness::database::{execute, number, texts};
use crate::harness::process::{Done, licentia, run};
use crate::harness::shop::Shop;
use crate::harness::{Client, TestApp};
use crate::openapi::request_example;

/// Runs `licentia admin-key`, as an operator does while the server runs.
fn admin_key(app: &TestApp, arguments: &[&str]) -> Done {
    let url = app.config.database_url.expose_secret();
    let mut command = licentia(app.directory.path());
    run(command.arg("admin-key").args(arguments).env("LICENTIA_DATABASE_URL", url))
}

/// The ids of an event, a webhook, a customer and a license that do not exist.
const EVENT: &str = "evt_1";
const WEBHOOK: &str = "whk_0123456789abcdef0123456789abcdef";
const CUSTOMER: &str = "cust_0123456789abcdef0123456789abcdef";
const LICENSE: &str = "lic_0123456789abcdef0123456789abcdef";

/// An operation of the admin API.
struct Call {
    method: Method,
    /// With ids that do not exist.
    path: String,
    name: String,
    /// The example of the body.
    body: Option<Value>,
}

/// Returns the operations of the admin API.
fn operations() -> Vec<Call> {
    let document = openapi::document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if !path.starts_with("/api/admin/") {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let name = operation["operationId"].as_str().unwrap().to_owned();
            let path = path.replace("{event_id}", EVENT).replace("{customer_id}", CUSTOMER);
            let path = path.replace("{webhook_id}", WEBHOOK).replace("{license_id}", LICENSE);
            let path = path.replace("{delivery_id}", "dlv_0123456789abcdef0123456789abcdef");
            assert!(!path.contains('{'), "{path}: this test does not know its parameters");
            let has_body = operation.get("requestBody").is_some();
            let body = has_body.then(|| request_example(&document, operation));
            operations.push(Call { method, path, name, body });
        }
    }
    assert!(operations.len() >= 4, "only {} operations", operations.len());
    operations
}

async fn must_be_refused(client: &Client, why: &str) {
    for Call { method, path, body, .. } in operations() {
        let answer = client.send(method, &path, body.as_ref()).await;
        assert_eq!(answer.problem(), (401, "unauthenticated"), "{path} with {why}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn there_is_no_admin_key_until_one_is_created_security_26() {
    let app = TestApp::start().await;
    assert_eq!(app.count("admin_keys").await, 0);
    let none = admin_key(&app, &["list"]);
    assert!(none.out.starts_with("There are no admin keys."), "{none:?}");
    must_be_refused(&app.client, "nothing").await;
}

#[tokio::test]
async fn an_admin_key_is_shown_once_and_only_its_hash_is_stored_security_26() {
    let app = TestApp::start().await;
    let made = admin_key(&app, &["create", "--name", "Ada, support", "--scope", "support"]);
    assert_eq!(made.code, 0, "{made:?}");
    let key = made.out.trim();
    assert!(key.starts_with("ladm_") && key.len() == 52, "{key}");
    assert!(made.err.contains("(support, until 20"), "{made:?}");
    let admin = app.client.with_token(key);
    assert_eq!(admin.get("/api/admin/events").await.status, 200);

    let listed = admin_key(&app, &["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let [listed] = listed["admin_keys"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&listed["name"], &listed["scope"]), (&json!("Ada, support"), &json!("support")));
    assert_eq!(
        (&listed["visible_prefix"], &listed["state"]),
        (&json!(key[..9]), &json!("working"))
    );
    let shown = admin_key(&app, &["list"]).out;
    let made_at = listed["created_at"].as_str().unwrap();
    assert!(shown.contains(&format!("created {made_at}, last used ")), "{shown}");
    let store = &app.app.store;
    let kept = "SELECT admin_key_id || name || scope || visible_prefix || key_hash FROM admin_keys
                UNION ALL SELECT actor || action || detail FROM audit_log";
    let kept = texts(store, kept).await.join("\n");
    assert!(kept.contains("admin_key.created") && kept.contains("admin_key.used"), "{kept}");
    for text in [&shown, &listed.to_string(), &kept] {
        assert!(!text.contains(&key[9..]) && !text.contains(key), "{text}");
    }

    let json = admin_key(&app, &["create", "--name", "Break glass", "--forever", "--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["scope"], &json["expires_at"]), (&json!("read"), &Value::Null));
    let admin = app.client.with_token(json["key"].as_str().unwrap());
    assert_eq!(admin.get("/api/admin/drift").await.status, 200);
}

#[tokio::test]
async fn an_admin_key_that_could_not_be_printed_is_an_error_that_names_it() {
    let app = TestApp::start().await;
    for arguments in [&["--name", "ops"][..], &["--name", "ops", "--json"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        for out in [Stdio::from(full), Stdio::from(gone)] {
            let mut command = licentia(app.directory.path());
            let url = app.config.database_url.expose_secret();
            command.args(["admin-key", "create"]).args(arguments).stdout(out);
            let lost = command.env("LICENTIA_DATABASE_URL", url).stderr(Stdio::piped());
            let lost = lost.spawn().unwrap().wait_with_output().unwrap();
            assert_eq!(lost.status.code(), Some(1), "{lost:?}");
            let told = String::from_utf8(lost.stderr).unwrap();
            let newest = "SELECT admin_key_id FROM admin_keys WHERE revoked_at IS NULL";
            let newest = texts(&app.app.store, newest).await.remove(0);
            assert!(told.contains(&format!("`licentia admin-key revoke {newest}`")), "{told}");
            assert_eq!(admin_key(&app, &["revoke", &newest]).code, 0);
        }
    }
}

#[tokio::test]
async fn only_a_valid_admin_key_opens_the_admin_api_security_3_26() {
    let app = TestApp::start().await;
    let signed_up = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Admin).await;
    let key = admin.token().to_owned();
    let (head, last) = key.split_at(key.len() - 1);
    let other = format!("{head}{}", if last == "g" { "w" } else { "g" });
    for (why, token) in [
        ("a session token", signed_up.text("/access_token")),
        ("a license", signed_up.text("/license/token")),
        ("a half", &key[..30]),
        ("another one", &other),
        ("its hash", &texts(&app.app.store, "SELECT key_hash FROM admin_keys").await[0]),
    ] {
        must_be_refused(&app.client.with_token(token), why).await;
    }
    // An admin key opens no customer's route either.
    assert_eq!(admin.get("/api/customers/me").await.problem(), (401, "unauthenticated"));
    assert_eq!(admin.get("/api/licenses/current").await.problem(), (401, "unauthenticated"));
    let refreshed = admin.send(Method::POST, "/api/licenses/refresh", None).await;
    assert_eq!(refreshed.problem(), (401, "invalid_license"));
    let refused = "SELECT COUNT(*) FROM audit_log WHERE action = 'admin_key.used'";
    assert_eq!(number(&app.app.store, refused).await, 0, "who was refused wrote something");
}

#[tokio::test]
async fn an_admin_key_expires_and_can_be_revoked_at_once_security_26() {
    let app = TestApp::start().await;
    let end = app.app.now() + TimeDelta::seconds(86_400);
    let name = "for a day".parse().unwrap();
    let made = admin_key::create(&app.app, name, Scope::Read, Some(end)).await;
    let (_, key) = made.unwrap();
    let for_a_day = app.client.with_token(key.expose());
    let lasting = app.admin(Scope::Read).await;
    for admin in [&for_a_day, &lasting] {
        assert_eq!(admin.get("/api/admin/drift").await.status, 200);
    }
    app.clock.advance_seconds(86_399);
    assert_eq!(for_a_day.get("/api/admin/drift").await.status, 200);
    app.clock.advance_seconds(1);
    must_be_refused(&for_a_day, "a key that has expired").await;

    let id = "SELECT admin_key_id FROM admin_keys WHERE expires_at IS NULL";
    let id = &texts(&app.app.store, id).await[0];
    assert_eq!(lasting.get("/api/admin/drift").await.status, 200);
    let revoked = admin_key(&app, &["revoke", id]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    must_be_refused(&lasting, "a key that was revoked").await;
    assert_eq!(admin_key(&app, &["revoke", id]).code, 0, "revoking twice does no harm");
    let listed = admin_key(&app, &["list"]).out;
    assert!(listed.contains(&format!("{id}  {}…  read     revoked", &lasting.token()[..9])));

    let nobody = admin_key(&app, &["revoke", "akey_0123456789abcdef0123456789abcdef"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("there is no such admin key"), "{nobody:?}");
    // An invalid id is a wrong call.
    let pasted = admin_key(&app, &["revoke", "akey_1"]);
    assert_eq!(pasted.code, 2, "{pasted:?}");
}

#[tokio::test]
async fn each_scope_opens_only_its_operations_and_each_use_is_recorded_security_26() {
    let app = TestApp::start().await;
    let store = &app.app.store;
    for scope in Scope::ALL {
        let admin = app.admin(scope).await;
        for Call { method, path, name, mut body } in operations() {
            let needs = name.parse::<Operation>().unwrap().needs();
            let is_creation = name.starts_with("create");
            if name == "createCustomer" {
                body.as_mut().unwrap()["email"] = format!("{scope}@example.com").into();
            }
            let answer = admin.send(method, &path, body.as_ref()).await;
            if scope < needs {
                assert_eq!(answer.problem(), (403, "insufficient_scope"), "{name} with {scope}");
            } else {
                let is_about_one =
                    [EVENT, CUSTOMER, LICENSE, WEBHOOK].iter().any(|id| path.contains(id));
                let known = match (is_about_one, is_creation) {
                    (true, _) => 404,
                    (false, true) => 201,
                    (false, false) => 200,
                };
                assert_eq!(answer.status, known, "{name} with {scope}: {}", answer.text);
            }
            // Allowed or not, the newest audit entry is about this call only.
            let entries =
                "SELECT actor || ' ' || COALESCE(customer_id, '-') || ' ' || detail FROM audit_log
                 WHERE action = 'admin_key.used'";
            let [entry] = texts(store, entries).await.try_into().unwrap();
            let [actor, customer, detail] =
                entry.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
            assert!(actor.starts_with("admin:akey_"), "{actor}");
            assert_eq!(customer == CUSTOMER, path.contains(CUSTOMER), "{name}");
            let mut told = json!({ "operation": name });
            for id in [EVENT, LICENSE, WEBHOOK].into_iter().filter(|id| path.contains(id)) {
                told["target"] = id.into();
            }
            if scope < needs {
                told["refused"] = true.into();
            }
            assert_eq!(serde_json::from_str::<Value>(detail).unwrap(), told);
            let seen = "DELETE FROM audit_log WHERE action = 'admin_key.used'";
            assert_eq!(execute(store, seen).await.unwrap(), 1);
        }
    }
    let tried: BTreeSet<_> = operations().into_iter().map(|call| call.name).collect();
    let all: BTreeSet<_> = Operation::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(tried, all, "every operation of the list is in the API, and the reverse");
    let only_admin = Operation::ALL.iter().filter(|one| one.needs() == Scope::Admin).count();
    assert!(only_admin >= 2, "`admin` opens what `support` does not");
    let unused = "SELECT COUNT(*) FROM admin_keys WHERE last_used_at IS NULL";
    assert_eq!(number(store, unused).await, 0);
}

#[tokio::test]
async fn an_admin_key_in_a_loop_is_rate_limited() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Read).await;
    let mut statuses = Vec::new();
    for _ in 0..5000 {
        statuses.push(admin.get("/api/admin/events?limit=1").await.status);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&429));
    assert!(statuses.len() > 1000, "{}", statuses.len());
    let other = app.admin(Scope::Read).await;
    assert_eq!(other.get("/api/admin/events").await.status, 200);
}

#[test]
fn a_wrong_call_returns_an_error_that_names_the_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let create = |arguments: &[&str]| {
        run(licentia(directory.path()).args(["admin-key", "create"]).args(arguments))
    };
    for (arguments, says) in [
        (&["--scope", "read"][..], "--name"),
        (&["--name", "ops", "--scope", "root"], "use read, support or admin"),
        (&["--name", "ops", "--expires-in-days", "0"], "--expires-in-days"),
        (&["--name", "ops", "--expires-in-days", "9", "--forever"], "--forever"),
        (&["--name", " "], "it is empty"),
    ] {
        let done = create(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
        assert!(done.err.contains(says), "{arguments:?}: {}", done.err);
    }
}

/// Returns the events that failed.
async fn list(admin: &Client) -> Vec<Value> {
    admin.get("/api/admin/events").await.body["events"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_event_in_retry_shows_its_next_attempt_and_its_deadline() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.stuck(&ada).await;
    let listed = list(&shop.app.admin(Scope::Read).await).await;
    assert!(!listed.is_empty());
    for event in listed {
        assert_eq!(event["state"], "retrying", "{event}");
        let next = event["next"].as_str().unwrap();
        assert!(next.starts_with("it is retried at 2026-11-20T"), "{next}");
        assert!(next.ends_with("and given up after 3 days of failures"), "{next}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_listed_explained_and_replayed() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.dead_letter(&ada).await;
    let admin = shop.app.admin(Scope::Support).await;
    let listed = list(&admin).await;
    assert!(listed.iter().all(|event| event["state"] == "given_up"), "{listed:?}");
    let backlog = admin.get("/api/admin/drift").await.body["events"].clone();
    assert_eq!(backlog, json!({ "waiting": 0, "given_up": listed.len() }));

    let id = listed[0]["event_id"].as_str().unwrap();
    let path = format!("/api/admin/events/{id}");
    let explained = admin.get(&path).await.body;
    assert_eq!(explained, listed[0]);
    assert_eq!(explained["customer_id"], ada.customer_id.as_str());
    let stripe_id = shop.sandbox.object(&session)["customer"].clone();
    assert_eq!(explained["stripe_customer_id"], stripe_id);
    assert_eq!(explained["attempts"], 51);
    let why = explained["last_error"].as_str().unwrap();
    assert!(why.starts_with("Stripe failed: 500"), "{why}");
    assert!(explained["next"].as_str().unwrap().starts_with("nothing until it is replayed"));
    assert!(!explained.to_string().contains("ada@example.com"), "{explained}");

    shop.sandbox.faults().clear();
    let replay = format!("{path}/replay");
    let replayed = admin.send(Method::POST, &replay, None).await;
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    assert_eq!(
        (&replayed.body["state"], &replayed.body["attempts"]),
        (&json!("waiting"), &json!(0))
    );
    let done = async || admin.get(&path).await.body["state"] == "done";
    shop.until("it was worked on", done).await;
    shop.must_be_paid(&ada).await;
    assert_eq!(admin.get(&path).await.text("/next"), "nothing: it was processed");
    // When it came, and how it stood, is not forgotten.
    assert_eq!(admin.get(&path).await.body["received_at"], explained["received_at"]);
    let store = &shop.app.app.store;
    let told = format!(
        "SELECT detail FROM audit_log WHERE action = 'event.replayed' AND actor LIKE 'admin:akey_%'
         AND customer_id = '{}'",
        ada.customer_id
    );
    let [told] = texts(store, &told).await.try_into().unwrap();
    let before = json!({
        "event_id": id, "state": "given_up", "attempts": 51, "last_error": explained["last_error"]
    });
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), before);

    // An id that is no event's id gets a 404.
    for none in ["evt_none", "evt%00", "evt%20none", "%F0%9F%98%80", &"e".repeat(256)] {
        let path = format!("/api/admin/events/{none}");
        assert_eq!(admin.get(&path).await.problem(), (404, "not_found"), "{none}");
        let nothing = admin.send(Method::POST, &format!("{path}/replay"), None).await;
        assert_eq!(nothing.problem(), (404, "not_found"), "{none}");
    }
    let limited = admin.get("/api/admin/events?limit=1").await;
    assert!(limited.body["events"].as_array().unwrap().len() <= 1);
    let wrong = admin.get("/api/admin/events?limit=0").await;
    assert_eq!(wrong.problem(), (400, "invalid_request"));
}
