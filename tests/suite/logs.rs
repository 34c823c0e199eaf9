//! No secret is in the log, at any level.

use licentia_sandbox::{Card, Interval, NewPrice, Options, Sandbox, SignatureTime};
use serde_json::json;

use crate::harness::TestDatabase;
use crate::harness::process::{Server, licentia, run};
use crate::harness::shop::session_of;

#[tokio::test]
async fn canaries_at_the_finest_level_security_31() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let passphrase = "canary-passphrase-in-the-environment";
    let options = Options {
        secret_key: "sk_test_canary".into(),
        signature_time: SignatureTime::Machine,
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let new = NewPrice {
        id: "price_starter_monthly",
        product: "Starter",
        amount: 1900,
        currency: "usd",
        interval: Interval::Month,
    };
    sandbox.add_price(&new);
    let (endpoint, webhook_secret) = sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
    let smtp = sandbox.smtp_url();
    let server = Server::start(
        directory.path(),
        &database,
        &[
            ("LICENTIA_LOG", "trace"),
            ("LICENTIA_KEYS_PASSPHRASE", passphrase),
            ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
            ("LICENTIA_STRIPE__API_URL", sandbox.url()),
            ("LICENTIA_STRIPE__WEBHOOK_SECRET", &webhook_secret),
            ("LICENTIA_EMAIL__SMTP_URL", &smtp),
            ("LICENTIA_RETURN_ORIGINS", "https://app.example"),
        ],
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
    let wanted = json!({ "plan": "starter", "success_url": "https://app.example/?canary-url",
        "cancel_url": "https://app.example/" });
    let opened = me.post("/api/subscriptions/checkout", &wanted).await;
    let session = session_of(opened.text("/checkout_url"));
    sandbox.pay(&session, Card::Paid).unwrap();
    for event in sandbox.events("") {
        let webhook = sandbox.webhook(&event, &endpoint, sandbox.clock().now()).unwrap();
        let sent = reqwest::Client::new()
            .post(format!("{}/api/webhooks/stripe", server.client.base))
            .header("stripe-signature", webhook.signature)
            .body(webhook.body)
            .send();
        assert_eq!(sent.await.unwrap().status(), 200);
    }
    let mut make = licentia(directory.path());
    make.args(["admin-key", "create", "--name", "canary"]);
    make.env("LICENTIA_LOG", "trace").env("LICENTIA_DATABASE_URL", &database.url);
    make.env("LICENTIA_KEYS_PASSPHRASE", passphrase);
    let made = run(&mut make);
    assert_eq!(made.code, 0, "{made:?}");
    let admin_key = made.out.trim();
    let admin = server.client.with_token(admin_key);
    assert_eq!(admin.get("/api/admin/drift").await.status, 200);
    assert_eq!(admin.get("/api/customers/me").await.status, 401);
    assert_eq!(me.get("/api/admin/drift").await.status, 401);
    // The trial, and what was bought.
    sandbox.mails_arrived(2).await;
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
        admin_key.strip_prefix("ladm_").unwrap(),
        "PRIVATE KEY",
        sandbox.secret_key(),
        &webhook_secret,
        "canary-url",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
