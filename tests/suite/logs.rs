//! No secret is in the log, at any level.

use std::time::Duration;

use licentia::domain::contact::DisplayName;
use licentia::flows::sale::backfill::Done;
use licentia::stripe::CustomerParameters;
use licentia_sandbox::{
    Card, Interval, MailFault, NewPrice, Options, Sandbox, SignatureTime, Times,
};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::database::number;
use crate::harness::process::{Server, licentia, run};
use crate::harness::shop::session_of;
use crate::harness::{Answer, Client, TestDatabase};

const PASSPHRASE: &str = "canary-passphrase-in-the-environment";
const EMAIL: &str = "canary.address@example.com";
const PASSWORD: &str = "canary-password-1";

/// A service that logs at the finest level, and a Stripe that knows its address.
struct Logged {
    directory: TempDir,
    database: TestDatabase,
    sandbox: Sandbox,
    endpoint: String,
    webhook_secret: String,
    server: Server,
}

impl Logged {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
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
        let (endpoint, webhook_secret) =
            sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
        let smtp = sandbox.smtp_url();
        let server = Server::start(
            directory.path(),
            &database,
            &[
                ("LICENTIA_LOG", "trace"),
                ("LICENTIA_KEYS_PASSPHRASE", PASSPHRASE),
                ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
                ("LICENTIA_STRIPE__API_URL", sandbox.url()),
                ("LICENTIA_STRIPE__WEBHOOK_SECRET", &webhook_secret),
                ("LICENTIA_EMAIL__SMTP_URL", &smtp),
                ("LICENTIA_RETURN_ORIGINS", "https://app.example"),
            ],
        );
        Self { directory, database, sandbox, endpoint, webhook_secret, server }
    }

    /// Signs up, and uses the account and the license, correctly and incorrectly. Returns the
    /// response of the sign-up.
    async fn sign_up_and_try(&self) -> Answer {
        let client = &self.server.client;
        let signup = json!({ "email": EMAIL, "password": PASSWORD, "name": "Canary Name" });
        let signed_up = client.post("/api/customers/signup", &signup).await;
        assert_eq!(signed_up.status, 201, "{}", signed_up.text);
        let license = signed_up.text("/license/token");
        let me = client.with_token(signed_up.text("/access_token"));
        me.get("/api/customers/me").await;
        let change = json!({ "email": "canary.second@example.com", "current_password": PASSWORD });
        assert_eq!(me.patch("/api/customers/me", &change).await.status, 200);
        me.post("/api/licenses/verify", &json!({ "token": license })).await;
        let app = client.with_token(license);
        assert_eq!(app.post("/api/licenses/refresh", &json!({})).await.status, 200);
        client.post("/api/customers/signup", &signup).await;
        let wrong = json!({ "email": EMAIL, "password": "canary-password-2" });
        client.post("/api/customers/login", &wrong).await;
        let malformed = json!({ "email": EMAIL, "password": { "canary-password-3": 1 } });
        client.post("/api/customers/login", &malformed).await;
        signed_up
    }

    /// Buys a plan, and waits until the mails have arrived.
    async fn buy(&self, me: &Client) {
        let wanted = json!({ "plan": "starter", "success_url": "https://app.example/?canary-url",
            "cancel_url": "https://app.example/" });
        let opened = me.post("/api/subscriptions/checkout", &wanted).await;
        let session = session_of(opened.text("/checkout_url"));
        self.sandbox.pay(&session, Card::Paid).unwrap();
        for event in self.sandbox.events("") {
            let now = self.sandbox.clock().now();
            let webhook = self.sandbox.webhook(&event, &self.endpoint, now).unwrap();
            let body = str::from_utf8(&webhook.body).unwrap();
            let answer = self.server.client.deliver(body, Some(&webhook.signature)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        // The mails about the trial, the new address (two) and the purchase.
        self.sandbox.mails_arrived(4).await;
    }

    /// Signs up a customer whom the mail server refuses permanently, and waits until the mail is
    /// given up.
    async fn be_refused(&self) {
        // The mails about the trial and the new address. The first was refused temporarily.
        self.sandbox.mails_arrived(3).await;
        self.sandbox.faults().mail(MailFault::RefuseForGood, Times::Next(1));
        let signup = json!({ "email": "canary.refused@example.com", "password": PASSWORD });
        let client = &self.server.client;
        assert_eq!(client.post("/api/customers/signup", &signup).await.status, 201);
        let store = self.database.open().await;
        let given_up = "SELECT COUNT(*) FROM outbox WHERE given_up_at IS NOT NULL";
        while number(&store, given_up).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Creates an admin key and uses it, correctly and incorrectly. Returns it.
    async fn make_admin_key(&self, me: &Client) -> String {
        let mut make = licentia(self.directory.path());
        make.args(["admin-key", "create", "--name", "canary"]);
        make.env("LICENTIA_LOG", "trace").env("LICENTIA_DATABASE_URL", &self.database.url);
        make.env("LICENTIA_KEYS_PASSPHRASE", PASSPHRASE);
        let made = run(&mut make);
        assert_eq!(made.code, 0, "{made:?}");
        let key = made.out.trim();
        let admin = self.server.client.with_token(key);
        assert_eq!(admin.get("/api/admin/drift").await.status, 200);
        assert_eq!(admin.get("/api/customers/me").await.status, 401);
        assert_eq!(me.get("/api/admin/drift").await.status, 401);
        key.to_owned()
    }
}

#[tokio::test]
async fn security_31_40_no_secret_is_logged_at_the_finest_level() {
    let service = Logged::start().await;
    // The mail server's refusals and Stripe quote the address.
    service.sandbox.faults().mail(MailFault::RefuseForNow, Times::Next(1));
    let signed_up = service.sign_up_and_try().await;
    service.be_refused().await;
    let (token, license) = (signed_up.text("/access_token"), signed_up.text("/license/token"));
    let me = service.server.client.with_token(token);
    service.buy(&me).await;
    let admin_key = service.make_admin_key(&me).await;
    me.delete(&format!("/api/customers/me/sessions/{token}")).await;
    assert_eq!(service.server.stop(), Some(0));

    let log = std::fs::read_to_string(service.directory.path().join("server.log")).unwrap();
    let request_id = signed_up.header("x-request-id");
    assert!(log.contains("DEBUG") && log.contains(request_id), "the log is not at its finest");
    for code in ["RCPT 451 4.7.1", "RCPT 550 5.1.1"] {
        assert!(log.contains(code), "the log does not say {code}");
    }
    let (_, signature) = license.rsplit_once('.').unwrap();
    let secrets = [
        PASSWORD,
        "canary-password",
        EMAIL,
        "canary.second",
        "canary.refused",
        "Recipient address rejected",
        "Canary Name",
        PASSPHRASE,
        "$argon2id",
        token,
        token.strip_prefix("lses_").unwrap(),
        signature,
        admin_key.strip_prefix("ladm_").unwrap(),
        "PRIVATE KEY",
        service.sandbox.secret_key(),
        &service.webhook_secret,
        "canary-url",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn security_40_what_calls_and_reports_hold_about_a_person_is_not_shown_by_debug() {
    let (email, name) = ("ada@example.com", "Ada Lovelace");
    let parameters = CustomerParameters {
        business_name: None,
        customer_id: "cust_1".into(),
        email: email.to_owned().into(),
        name: Some(name.to_owned().into()),
    };
    let done = Done {
        buyer: "cus_1".parse().unwrap(),
        customer_id: None,
        email: Some(email.parse().unwrap()),
        plan: None,
        action: "created",
        changes: Vec::new(),
        alerts: Vec::new(),
    };
    let shown: DisplayName = name.parse().unwrap();
    let text = format!("{parameters:?} {done:?} {shown:?}");
    assert!(!text.contains("ada@") && !text.contains(name), "{text}");
    assert!(text.contains("cus_1"), "{text}");
}
