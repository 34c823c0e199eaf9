//! No customer reaches another one's data: every operation of the API description, called by one
//! customer with another customer's ids.

use licentia::domain::operator::admin_key::Scope;
use licentia::http::openapi;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{BEHIND_A_PROXY, TestApp};

/// The operations whose response does not depend on the caller, or that create a customer.
const PUBLIC: [&str; 20] = [
    "signUp",
    "logIn",
    "verifyEmail",
    "undoEmailChange",
    "forgotPassword",
    "resetPassword",
    "listPlans",
    "verifyLicense",
    "refreshLicense",
    "recoverLicense",
    "getJwks",
    "getKeyBundle",
    "getDiscovery",
    "listStatusLists",
    "getStatusList",
    "getLiveness",
    "getReadiness",
    "getMetrics",
    "logOut",
    "receiveStripeEvent",
];

#[tokio::test]
async fn no_operation_accepts_the_ids_of_another_customer_security_22() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let victim = app.sign_up("ada@example.com").await;
    let ada = app.client.with_token(victim.text("/access_token"));
    let sessions = ada.get("/api/customers/me/sessions").await;
    let ids = [
        ("session_id", sessions.text("/sessions/0/session_id").to_owned()),
        ("customer_id", victim.text("/customer/customer_id").to_owned()),
        ("license_id", victim.text("/license/license_id").to_owned()),
        ("event_id", "evt_1".to_owned()),
        ("webhook_id", "whk_0123456789abcdef0123456789abcdef".to_owned()),
        ("delivery_id", "dlv_0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let before = ada.get("/api/customers/me").await.body;

    let document = openapi::document();
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            if PUBLIC.contains(&name) {
                continue;
            }
            assert_ne!(operation["security"], json!([]), "{name} asks for no credential");
            // A new attacker each time, because one of the operations deletes the caller.
            let eve = app.signed_in(&format!("eve{checked}@example.com")).await;
            let mut target = path.clone();
            for (parameter, id) in &ids {
                target = target.replace(&format!("{{{parameter}}}"), id);
            }
            assert!(!target.contains('{'), "{path}: this test does not know its parameters");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let body = operation.get("requestBody").map(|_| json!({}));
            let answer = eve.send(method, &target, body.as_ref()).await;
            if path.starts_with("/api/admin/") {
                // A login session does not open any admin operation.
                assert_eq!(answer.problem(), (401, "unauthenticated"), "{name}");
            } else if target != *path {
                assert_eq!(answer.problem(), (404, "not_found"), "{name}");
            }
            for (_, id) in &ids {
                assert!(!answer.text.contains(id.as_str()), "{name} shows {id}: {}", answer.text);
            }
            checked += 1;
        }
    }
    assert!(checked >= 7, "only {checked} operations were checked");
    assert_eq!(ada.get("/api/customers/me").await.body, before);
    assert_eq!(ada.get("/api/licenses/current").await.status, 200);
}

/// Every operation that needs a credential, called with each credential of another kind.
#[tokio::test]
async fn no_operation_accepts_a_credential_of_another_kind_security_22() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Admin).await;
    let link = app.take_mail("ada@example.com").await.token("verify");
    let credentials = [
        ("session", ada.text("/access_token")),
        ("license", ada.text("/license/token")),
        ("admin_key", admin.token()),
        ("a link", &link),
    ];
    let document = openapi::document();
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let schemes = operation["security"].as_array().into_iter().flatten();
            let accepted: Vec<_> =
                schemes.flat_map(|any| any.as_object().unwrap().keys()).collect();
            if accepted.is_empty() {
                continue;
            }
            let name = operation["operationId"].as_str().unwrap();
            for (kind, token) in &credentials {
                if accepted.iter().any(|scheme| *scheme == kind) {
                    continue;
                }
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let body = operation.get("requestBody").map(|_| json!({}));
                let client = app.client.with_token(token);
                let answer = client.send(method, path, body.as_ref()).await;
                assert_eq!(answer.status, 401, "{name} accepts {kind}: {}", answer.text);
                checked += 1;
            }
        }
    }
    assert!(checked >= 40, "only {checked} calls were checked");
    assert_eq!(ada.body["customer"]["email_verified"], false);
}

#[tokio::test]
async fn ids_in_a_body_are_refused_security_22() {
    let app = TestApp::start().await;
    let victim = app.sign_up("ada@example.com").await;
    let eve = app.signed_in("eve@example.com").await;
    let id = victim.body["customer"]["customer_id"].clone();
    let change: Value = json!({ "customer_id": id, "name": "Eve" });
    assert_eq!(eve.patch("/api/customers/me", &change).await.problem(), (400, "invalid_request"));
}
