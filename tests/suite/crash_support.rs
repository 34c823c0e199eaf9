//! The process dies by SIGKILL at each fail point of support's changes. After a restart, the change
//! is there completely, with its audit entry and its mail, and the same call can be made again.

use std::os::unix::process::ExitStatusExt;

use licentia_sandbox::{Options, Sandbox};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::number;
use crate::harness::process::{Server, licentia, run};
use crate::harness::{PASSWORD, TestDatabase, until};

/// A change by support: the fail point after its commit, the call, the action in the audit log, and
/// the number of mails.
struct Change {
    place: &'static str,
    method: Method,
    path: &'static str,
    body: Value,
    action: &'static str,
    mails: i64,
}

/// The actions that a repeated request with the same idempotency key does not take again.
const CREATED_ONCE: [&str; 4] =
    ["license.granted", "license.extended", "customer.created", "webhook.created"];

fn change(
    (place, method, path): (&'static str, Method, &'static str),
    body: Value,
    action: &'static str,
    mails: i64,
) -> Change {
    Change { place, method, path, body, action, mails }
}

fn changes() -> Vec<Change> {
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let customer = "/api/admin/customers/CUSTOMER";
    let at = |place, method: &Method, path| (place, method.clone(), path);
    let extend = "/api/admin/customers/CUSTOMER/licenses/extend";
    let grant = json!({ "plan": "professional", "days": 400 });
    let granting = at("license.granted", &post, "/api/admin/customers/CUSTOMER/licenses");
    vec![
        change(granting, grant, "license.granted", 1),
        change(at("license.extended", &post, extend), json!({ "days": 14 }), "license.extended", 1),
        change(
            at("license.revoked", &post, "/api/admin/licenses/LICENSE/revoke"),
            Value::Null,
            "license.revoked",
            0,
        ),
        change(
            at("license.resent", &post, "/api/admin/licenses/LICENSE/resend"),
            json!({}),
            "license.resent",
            1,
        ),
        change(
            at("customer.created", &post, "/api/admin/customers"),
            json!({ "email": "bob@example.com" }),
            "customer.created",
            0,
        ),
        change(
            at("customer.changed", &patch, customer),
            json!({ "email": "king@example.com" }),
            "customer.changed",
            2,
        ),
        change(
            at("customer.synced", &post, "/api/admin/customers/CUSTOMER/sync"),
            Value::Null,
            "customer.synced",
            0,
        ),
        change(
            at("reset.requested", &post, "/api/admin/customers/CUSTOMER/password-reset"),
            Value::Null,
            "password.reset_requested",
            1,
        ),
        change(
            at("sessions.ended", &post, "/api/admin/customers/CUSTOMER/logout"),
            Value::Null,
            "session.ended_all",
            0,
        ),
        change(
            at("webhook_endpoint.written", &post, "/api/admin/webhooks"),
            json!({ "url": "https://acme.example/hooks", "events": ["*"] }),
            "webhook.created",
            0,
        ),
        change(at("account.deleted", &delete, customer), Value::Null, "customer.deleted", 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_support_is_complete_after_a_kill_directly_after_it() {
    for change in changes() {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let armed = directory.path().join("armed");
        let point = format!("{}@{}", change.place, armed.display());
        let mail = directory.path().join("mail").display().to_string();
        let settings = [("FAIL_POINT", point.as_str()), ("LICENTIA_EMAIL__FOLDER", mail.as_str())];
        let mut server = Server::start(directory.path(), &database, &settings);
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let ada = server.client.post("/api/customers/signup", &account).await;
        let mut create = licentia(directory.path());
        create.args(["admin-key", "create", "--name", "ops", "--scope", "admin"]);
        let key = run(create.env("LICENTIA_DATABASE_URL", &database.url));
        let path = change.path.replace("CUSTOMER", ada.text("/customer/customer_id"));
        let path = path.replace("LICENSE", ada.text("/license/license_id"));

        std::fs::write(&armed, "").unwrap();
        let send = async |base: &str| {
            let mut call = reqwest::Client::new()
                .request(change.method.clone(), format!("{base}{path}"))
                .bearer_auth(key.out.trim())
                .header("idempotency-key", "one");
            if !change.body.is_null() {
                call = call.json(&change.body);
            }
            call.send().await
        };
        assert!(send(&server.client.base).await.is_err(), "{}: it answered", change.place);
        let died = tokio::task::block_in_place(|| server.child.wait().unwrap());
        assert_eq!(died.signal(), Some(9), "{}", change.place);
        drop(server);

        database.end_requests().await;
        let server = Server::start(directory.path(), &database, &settings[1..]);
        let store = database.open().await;
        if CREATED_ONCE.contains(&change.action) {
            let repeated = send(&server.client.base).await.unwrap();
            assert!(repeated.status().is_success(), "{}: {repeated:?}", change.place);
        }
        let entries = format!("SELECT COUNT(*) FROM audit_log WHERE action = '{}'", change.action);
        assert_eq!(number(&store, &entries).await, 1, "{}", change.place);
        let waiting = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL";
        until(async || number(&store, waiting).await == 0).await;
        let written = std::fs::read_dir(&mail).map_or(0, Iterator::count);
        // With that of the sign-up, which may have been written twice around the kill.
        let written = i64::try_from(written).unwrap();
        assert!(written > change.mails, "{}: {written} mails", change.place);
        assert_eq!(server.stop(), Some(0), "{}", change.place);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_link_to_stripe_is_removed_completely_after_a_kill_directly_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let armed = directory.path().join("armed");
    let point = format!("claim.unlinked@{}", armed.display());
    let settings = [
        ("FAIL_POINT", point.as_str()),
        ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
        ("LICENTIA_STRIPE__API_URL", sandbox.url()),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
    ];
    let mut server = Server::start(directory.path(), &database, &settings);
    let mut create = licentia(directory.path());
    create.args(["admin-key", "create", "--name", "ops", "--scope", "admin"]);
    let key = run(create.env("LICENTIA_DATABASE_URL", &database.url));
    let key = key.out.trim();
    let admin = server.client.with_token(key);
    let made = admin.post("/api/admin/customers", &json!({ "email": "ada@example.com" })).await;
    let url = format!("{}/v1/customers", sandbox.url());
    let theirs = reqwest::Client::new().post(url).bearer_auth(sandbox.secret_key());
    let theirs: Value = theirs.send().await.unwrap().json().await.unwrap();
    let path = format!("/api/admin/customers/{}/stripe-link", made.text("/customer_id"));
    let linked = admin.post(&path, &json!({ "stripe_customer_id": theirs["id"] })).await;
    assert_eq!(linked.body["stripe_customer_id"], theirs["id"], "{}", linked.text);

    std::fs::write(&armed, "").unwrap();
    let call = reqwest::Client::new().post(format!("{}{path}", server.client.base));
    let call = call.bearer_auth(key).json(&json!({ "stripe_customer_id": null }));
    assert!(call.send().await.is_err(), "it answered");
    let died = tokio::task::block_in_place(|| server.child.wait().unwrap());
    assert_eq!(died.signal(), Some(9));
    drop(server);

    let server = Server::start(directory.path(), &database, &settings[1..]);
    let admin = server.client.with_token(key);
    let record = admin.get(&path.replace("/stripe-link", "")).await;
    assert_eq!(record.body["stripe_customer_id"], Value::Null, "{}", record.text);
    let audit = admin.get("/api/admin/audit?action=stripe.unlinked").await;
    assert_eq!(audit.body["entries"].as_array().unwrap().len(), 1, "{}", audit.text);
    assert_eq!(server.stop(), Some(0));
}
