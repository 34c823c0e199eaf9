//! The customer's account: change it, delete it. Signing up is in `signup`.

use serde_json::json;

use crate::harness::database::texts;
use crate::harness::shop::Shop;
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn fields_that_are_sent_change_and_the_others_stay() {
    let app = TestApp::start().await;
    let request = json!({
        "email": "ada@example.com", "password": PASSWORD,
        "name": "Ada", "company_name": "Engines",
    });
    let signed_up = app.client.post("/api/customers/signup", &request).await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    app.clock.advance_days(1);

    let change = json!({ "name": "Ada King", "company_name": null });
    let answer = me.patch("/api/customers/me", &change).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["name"], "Ada King");
    assert!(answer.body["company_name"].is_null());
    assert_eq!(answer.body["email"], "ada@example.com");
    assert_eq!(answer.body["updated_at"], "2026-11-21T15:00:00+00:00");
    assert_eq!(answer.body["customer_id"], signed_up.body["customer"]["customer_id"]);
    assert_eq!(me.get("/api/customers/me").await.body, answer.body);
}

#[tokio::test]
async fn an_empty_change_writes_nothing() {
    let app = TestApp::start().await;
    let me = app.signed_in("ada@example.com").await;
    app.clock.advance_days(1);
    let before = me.get("/api/customers/me").await.body;
    assert_eq!(me.patch("/api/customers/me", &json!({})).await.body, before);
    assert_eq!(app.count("audit_log").await, 2);
}

#[tokio::test]
async fn a_new_email_is_the_new_login() {
    let app = TestApp::start().await;
    let me = app.signed_in("ada@example.com").await;
    app.change_email(&me, "ada.king@example.com").await;
    let login = |email: &str| json!({ "email": email, "password": PASSWORD });
    let old = app.client.post("/api/customers/login", &login("ada@example.com")).await;
    assert_eq!(old.problem(), (401, "invalid_credentials"));
    let new = app.client.post("/api/customers/login", &login("ada.king@example.com")).await;
    assert_eq!(new.status, 200);
    // The old address is free once the change can no longer be undone.
    let again = app.client.post("/api/customers/signup", &login("ada@example.com")).await;
    assert_eq!(again.problem(), (409, "email_taken"));
    app.clock.advance_days(7);
    app.sign_up("ada@example.com").await;
}

#[tokio::test]
async fn invalid_changes_are_reported_and_change_nothing() {
    let app = TestApp::start().await;
    app.sign_up("bob@example.com").await;
    let me = app.signed_in("ada@example.com").await;
    let before = me.get("/api/customers/me").await.body;
    for (change, status, code) in [
        (json!({ "email": "bob@example.com", "current_password": PASSWORD }), 409, "email_taken"),
        (json!({ "email": "eve@example.com" }), 403, "password_required"),
        (json!({ "email": "bob" }), 422, "invalid_email"),
        (json!({ "name": "Ada\nBcc: x" }), 422, "invalid_name"),
        (json!({ "customer_id": "cust_1" }), 400, "invalid_request"),
        (json!({ "name": 7 }), 400, "invalid_request"),
    ] {
        let answer = me.patch("/api/customers/me", &change).await;
        assert_eq!(answer.problem(), (status, code), "{change}");
    }
    assert_eq!(me.get("/api/customers/me").await.body, before);
}

#[tokio::test]
async fn deleting_an_account_deletes_its_data_and_no_other_account() {
    let app = TestApp::start().await;
    let bob = app.signed_in("bob@example.com").await;
    let signed_up = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(signed_up.text("/access_token"));
    assert_eq!(me.delete("/api/customers/me").await.status, 204);
    assert_eq!(me.get("/api/customers/me").await.problem(), (401, "unauthenticated"));
    for table in ["users", "customers", "licenses", "sessions"] {
        assert_eq!(app.count(table).await, 1, "{table}");
    }
    assert_eq!(bob.get("/api/customers/me").await.status, 200);

    // The audit log still has the entries, and the online verdict is that the license no longer
    // exists.
    assert_eq!(app.count("audit_log").await, 5);
    let token = json!({ "token": signed_up.text("/license/token") });
    let verdict = app.client.post("/api/licenses/verify", &token).await;
    assert_eq!(verdict.body["valid"], false);
    assert_eq!(verdict.body["reason"], "unknown_license");
    app.sign_up("ada@example.com").await;
}

#[tokio::test]
async fn the_values_before_and_after_a_change_are_audited_until_the_deletion() {
    let app = TestApp::start().await;
    let me = app.signed_in("ada@example.com").await;
    me.patch("/api/customers/me", &json!({ "name": "Ada King" })).await;
    let values = "SELECT personal FROM audit_log WHERE personal IS NOT NULL";
    let [values_kept] = texts(&app.app.store, values).await.try_into().unwrap();
    let values_kept: serde_json::Value = serde_json::from_str(&values_kept).unwrap();
    assert_eq!(values_kept["before"]["name"], json!(null));
    assert_eq!(values_kept["after"]["name"], "Ada King");
    let rest = "SELECT detail FROM audit_log";
    assert!(!texts(&app.app.store, rest).await.concat().contains("King"));
    me.delete("/api/customers/me").await;
    assert!(texts(&app.app.store, values).await.is_empty());
    assert_eq!(app.count("audit_log").await, 4);
}

/// Also where the change runs in its own task, because Stripe is asked first.
#[tokio::test]
async fn the_audit_log_names_the_request_of_each_change() {
    let shop = Shop::open().await;
    let signed_up = shop.app.sign_up("ada@example.com").await;
    let me = shop.app.client.with_token(signed_up.text("/access_token"));
    let renamed = me.patch("/api/customers/me", &json!({ "name": "Ada" })).await;
    let deleted = me.delete("/api/customers/me").await;
    for (action, answer) in [
        ("customer.signed_up", &signed_up),
        ("customer.changed", &renamed),
        ("customer.deleted", &deleted),
    ] {
        let named = format!("SELECT request_id FROM audit_log WHERE action = '{action}'");
        let named = texts(&shop.app.app.store, &named).await;
        assert_eq!(named, [answer.header("x-request-id")], "{action}");
    }
}
