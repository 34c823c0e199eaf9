//! No secret is in the log, at any level.

use serde_json::json;

use crate::harness::TestDatabase;
use crate::harness::process::Server;

#[tokio::test]
async fn canaries_at_the_finest_level_security_31() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let passphrase = "canary-passphrase-in-the-environment";
    let server = Server::start(
        directory.path(),
        &database,
        &[("LICENTIA_LOG", "trace"), ("LICENTIA_KEYS_PASSPHRASE", passphrase)],
    );
    let (email, password) = ("canary.address@example.com", "canary-password-1");
    let signup = json!({ "email": email, "password": password, "name": "Canary Name" });
    let signed_up = server.client.post("/api/customers/signup", &signup).await;
    assert_eq!(signed_up.status, 201, "{}", signed_up.text);
    let token = signed_up.text("/access_token").to_owned();
    let license = signed_up.text("/license/token").to_owned();
    let me = server.client.with_token(&token);
    me.get("/api/customers/me").await;
    me.patch("/api/customers/me", &json!({ "email": "canary.second@example.com" })).await;
    me.post("/api/licenses/verify", &json!({ "token": license })).await;
    let app = server.client.with_token(&license);
    assert_eq!(app.post("/api/licenses/refresh", &json!({})).await.status, 200);
    server.client.post("/api/customers/signup", &signup).await;
    let wrong = json!({ "email": email, "password": "canary-password-2" });
    server.client.post("/api/customers/login", &wrong).await;
    let malformed = json!({ "email": email, "password": { "canary-password-3": 1 } });
    server.client.post("/api/customers/login", &malformed).await;
    me.delete(&format!("/api/customers/me/sessions/{token}")).await;
    let request_id = signed_up.header("x-request-id").to_owned();
    assert_eq!(server.stop(), Some(0));

    let log = std::fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert!(log.contains("DEBUG") && log.contains(&request_id), "the log is not at its finest");
    let (_, signature) = license.rsplit_once('.').unwrap();
    let secrets = [
        password,
        "canary-password",
        email,
        "canary.second",
        "Canary Name",
        passphrase,
        "$argon2id",
        &token,
        token.strip_prefix("lses_").unwrap(),
        signature,
        "PRIVATE KEY",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
