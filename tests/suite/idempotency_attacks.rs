//! An `Idempotency-Key` opens nothing: a repeated request is limited, audited and refused like any
//! other, and a kept response ends with the access that it was given for.

use licentia::domain::operator::admin_key::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::database::number;
use crate::harness::shop::Shop;
use crate::harness::{BEHIND_A_PROXY, PASSWORD, TestApp};
use crate::idempotency::Call;

#[tokio::test]
async fn a_repeated_admin_call_is_audited_like_the_first_security_26() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.sign_up("ada@example.com").await;
    let used = "SELECT COUNT(*) FROM audit_log WHERE action = 'admin_key.used'";
    let path =
        format!("/api/admin/customers/{}/licenses/extend", ada.text("/customer/customer_id"));
    let mut expected = 0;
    for (scope, status) in [(Scope::Read, 403), (Scope::Support, 200)] {
        let admin = app.admin(scope).await;
        let call = Call::new(&admin, path.as_str(), json!({ "days": 14 }));
        for _ in 0..3 {
            expected += 1;
            assert_eq!(call.send().await.status, status);
            assert_eq!(number(&app.app.store, used).await, expected);
        }
    }
}

#[tokio::test]
async fn a_key_does_not_replace_a_license_that_is_revoked_or_whose_owner_is_gone_security_39() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.buy(&ada, "professional").await;
    let license = shop.license(&ada).await;
    let app = shop.app.client.with_token(license["token"].as_str().unwrap());
    let home = shop.app.client.base.clone();
    let purchase = json!({ "plan": "professional", "success_url": home, "cancel_url": home });
    let calls = [
        Call::new(&app, "/api/licenses/refresh", Value::Null),
        Call::new(&app, "/api/subscriptions/portal", Value::Null),
        Call::new(&app, "/api/subscriptions/checkout", purchase),
    ];
    for (call, status) in calls.iter().zip([200, 200, 409]) {
        assert_eq!(call.send().await.status, status, "{}", call.path);
    }
    let admin = shop.app.admin(Scope::Admin).await;
    let id = license["license_id"].as_str().unwrap();
    admin.send(Method::POST, &format!("/api/admin/licenses/{id}/revoke"), None).await;
    for call in &calls {
        assert_eq!(call.send().await.problem(), (403, "revoked"), "{}", call.path);
    }
    let customer = format!("/api/admin/customers/{}", ada.customer_id);
    assert_eq!(admin.delete(&customer).await.status, 204);
    for call in &calls {
        assert_eq!(call.send().await.problem(), (401, "invalid_license"), "{}", call.path);
    }
}

/// A weak key is no way around the limit on guesses.
#[tokio::test]
async fn guesses_with_a_key_are_limited_like_others_security_13() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let account = |password: &str| json!({ "email": "ada@example.com", "password": password });
    for path in ["/api/customers/signup", "/api/customers/login"] {
        let owner = app.client.at_address("192.0.2.1");
        let first = Call::new(&owner, path, account(PASSWORD)).send().await;
        assert!(first.status < 300, "{path}: {}", first.text);
        // A made-up credential is none.
        let eve = app.client.at_address("198.51.100.1").with_token("x");
        let mut statuses = Vec::new();
        for guess in 0..30 {
            let password = format!("four purple trains {guess}");
            let client = if guess % 2 == 0 { &eve } else { &app.client.at_address("198.51.100.1") };
            statuses.push(Call::new(client, path, account(&password)).send().await.status);
        }
        assert!(statuses.ends_with(&[429, 429]), "{path}: {statuses:?}");
    }
}

#[tokio::test]
async fn the_secret_of_a_webhook_is_forgotten_with_it() {
    let app = TestApp::start().await;
    let admin = app.admin(Scope::Admin).await;
    let new = json!({ "url": "https://example.com/hook", "events": ["*"], "enabled": false });
    let call = Call::new(&admin, "/api/admin/webhooks", new);
    let first = call.send().await;
    let path = format!("/api/admin/webhooks/{}", first.text("/webhook_id"));
    assert_eq!(admin.patch(&path, &json!({ "rotate_secret": true })).await.status, 200);
    let second = call.send().await;
    assert_ne!(second.text("/webhook_id"), first.text("/webhook_id"), "the key is new");
    let path = format!("/api/admin/webhooks/{}", second.text("/webhook_id"));
    assert_eq!(admin.delete(&path).await.status, 204);
    assert_ne!(call.send().await.text("/secret"), second.text("/secret"));
}

#[tokio::test]
async fn a_key_gives_no_access_security_22() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let ada = app.sign_up("ada@example.com").await;
    let me = app.client.with_token(ada.text("/access_token"));
    let send = Call::new(&me, "/api/customers/me/verification", Value::Null);
    assert_eq!(send.send().await.status, 202);
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let login = Call::new(&app.client.at_address("192.0.2.1"), "/api/customers/login", login);
    assert_eq!(login.send().await.status, 200);
    let wrong = json!({ "email": "ada@example.com", "password": "four purple trains at noon" });
    let guess = Call::new(&login.client, login.path.as_str(), wrong);
    assert_eq!(guess.send().await.problem(), (422, "idempotency_mismatch"));

    // An ended session, and none.
    me.send(Method::POST, "/api/customers/logout", None).await;
    assert_eq!(send.send().await.status, 401);
    let nobody = Call::new(&app.client, send.path.as_str(), Value::Null);
    assert_eq!(nobody.send().await.status, 401);

    // After the password was changed, the old one opens no session any more.
    let token = login.send().await.text("/access_token").to_owned();
    let me = app.client.with_token(&token);
    let new = json!({ "current_password": PASSWORD, "password": "four purple trains at noon" });
    assert_eq!(me.send(Method::PUT, "/api/customers/me/password", Some(&new)).await.status, 204);
    assert_eq!(login.send().await.problem(), (401, "invalid_credentials"));
}
