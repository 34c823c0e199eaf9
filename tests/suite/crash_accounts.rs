//! The process dies by SIGKILL at each fail point of an account's life and restarts: a sign-up that
//! waits, its confirmation, a change of the address, its undoing, a new password, a lost license,
//! an export and the deletion. Each effect happens once, and no mail is lost.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::database::{number, texts};
use crate::harness::mailbox::{Mail, take_from};
use crate::harness::process::Server;
use crate::harness::{PASSWORD, TestDatabase};

/// The longest duration of one walk, with several at once on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// The number of SIGKILL.
const KILLED: i32 = 9;

const ADA: &str = "ada@example.com";
const KING: &str = "ada.king@example.com";
const NEW: &str = "four purple trains at noon";

const POINTS: [&str; 14] = [
    "idempotency.begun",
    "idempotency.stored",
    "signup.pending",
    "signup.confirm_written",
    "signup.confirmed",
    "mail.link_made",
    "account.changed",
    "address.written",
    "address.changed",
    "address.undone",
    "password.written",
    "license.requested",
    "account.exported",
    "account.deleted",
];

/// A service that dies once.
struct Walk {
    point: &'static str,
    directory: TempDir,
    database: TestDatabase,
    server: Server,
    http: reqwest::Client,
    deaths: usize,
    /// The number of calls. Each has a key of its own, which its repetitions send too.
    calls: usize,
}

fn start(directory: &Path, database: &TestDatabase, point: Option<&str>) -> Server {
    let mut settings = vec![("LICENTIA_SIGNUP__VERIFICATION", "required")];
    settings.extend(point.map(|point| ("FAIL_POINT", point)));
    Server::start(directory, database, &settings)
}

impl Walk {
    async fn new(point: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let server = start(directory.path(), &database, Some(point));
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { point, directory, database, server, http, deaths: 0, calls: 0 }
    }

    /// Restarts the server if it has died, by the planned death.
    async fn revive(&mut self) {
        if let Some(status) = self.server.child.try_wait().unwrap() {
            assert_eq!(status.signal(), Some(KILLED), "{}", self.point);
            self.deaths += 1;
            self.database.end_requests().await;
            self.server = start(self.directory.path(), &self.database, None);
        }
    }

    /// Repeats a call until it gets a response.
    async fn call(&mut self, method: Method, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.calls += 1;
        loop {
            let url = format!("{}{path}", self.server.client.base);
            let request = self.http.request(method.clone(), url).bearer_auth(token);
            let request = request.header("idempotency-key", self.calls.to_string());
            let request = if body.is_null() { request } else { request.json(&body) };
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                if let (true, Ok(text)) = (status < 500, answer.text().await) {
                    return (status, serde_json::from_str(&text).unwrap_or_default());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.revive().await;
        }
    }

    /// Uses a link. If the response was lost, the repeated call gets it, except that to undo a
    /// change, which creates nothing: then the link was used.
    async fn follow(&mut self, path: &str, body: Value) {
        let (status, answer) = self.call(Method::POST, path, "", body).await;
        let is_done = status == 200
            || (self.deaths == 1
                && self.point == "address.undone"
                && answer["code"] == "link_used");
        assert!(is_done, "{}: {answer}", self.point);
    }

    /// Waits for a mail to an address with this subject. Of repeated ones, returns the last one.
    async fn mail(&mut self, email: &str, subject: &str) -> Mail {
        loop {
            let mails = take_from(&self.directory.path().join("mail"), email);
            let found = mails.into_iter().rfind(|mail| mail.subject.starts_with(subject));
            if let Some(mail) = found {
                return mail;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.revive().await;
        }
    }

    async fn log_in(&mut self, email: &str, password: &str) -> String {
        let login = json!({ "email": email, "password": password });
        let (status, answer) = self.call(Method::POST, "/api/customers/login", "", login).await;
        assert_eq!(status, 200, "{}: {answer}", self.point);
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn sign_up(&mut self) {
        let signup = json!({ "email": ADA, "password": PASSWORD });
        let (status, _) = self.call(Method::POST, "/api/customers/signup", "", signup).await;
        assert_eq!(status, 202, "{}", self.point);
        let mail = self.mail(ADA, "Please confirm your account").await;
        self.follow("/api/customers/verify", json!({ "token": mail.token("verify") })).await;
        self.mail(ADA, "Your trial of").await;
    }

    /// Changes the address, undoes the change, and sets a new password. Returns a session.
    async fn change_and_undo(&mut self) -> String {
        let token = self.log_in(ADA, PASSWORD).await;
        let change = json!({ "email": KING, "current_password": PASSWORD });
        let (status, answer) = self.call(Method::PATCH, "/api/customers/me", &token, change).await;
        assert_eq!((status, &answer["pending_email"]), (200, &json!(KING)), "{}", self.point);
        let mail = self.mail(KING, "Please confirm your new email address").await;
        self.follow("/api/customers/verify", json!({ "token": mail.token("verify") })).await;
        self.log_in(KING, PASSWORD).await;
        let mail = self.mail(ADA, "Your email address for acme-app was changed").await;
        self.follow("/api/customers/email/undo", json!({ "token": mail.token("undo") })).await;
        let mail = self.mail(ADA, "Your email address for acme-app is yours again").await;
        let reset = json!({ "token": mail.token("reset"), "password": NEW });
        self.follow("/api/customers/password/reset", reset).await;
        self.mail(ADA, "Your password for acme-app was changed").await;
        self.log_in(ADA, NEW).await
    }

    /// Lives through a whole account, and checks that each effect happened once.
    async fn live(&mut self) {
        self.sign_up().await;
        let token = self.change_and_undo().await;
        let lost = json!({ "email": ADA });
        assert_eq!(self.call(Method::POST, "/api/licenses/recover", "", lost).await.0, 202);
        self.mail(ADA, "Your license for acme-app").await;
        let export = self.call(Method::GET, "/api/customers/me/export", &token, Value::Null).await;
        assert_eq!(export.1["licenses"].as_array().map(Vec::len), Some(1), "{}", self.point);
        let (status, answer) =
            self.call(Method::DELETE, "/api/customers/me", &token, Value::Null).await;
        let is_gone = status == 204 || (self.deaths == 1 && answer["code"] == "unauthenticated");
        assert!(is_gone, "{}: {answer}", self.point);
        self.mail(ADA, "Your account with acme-app was deleted").await;

        let store = self.database.open().await;
        let once = "SELECT action || ' ' || COUNT(*) FROM audit_log
            WHERE action <> 'customer.exported' GROUP BY action ORDER BY action";
        let expected = [
            "customer.address_changed 1",
            "customer.address_requested 1",
            "customer.address_undone 1",
            "customer.deleted 1",
            "customer.password_changed 1",
            "customer.signed_up 1",
            "license.issued 1",
        ];
        assert_eq!(texts(&store, once).await, expected, "{}", self.point);
        let left = "SELECT (SELECT COUNT(*) FROM customers) + (SELECT COUNT(*) FROM mail_links)
            + (SELECT COUNT(*) FROM former_addresses) + (SELECT COUNT(*) FROM sessions)";
        assert_eq!(number(&store, left).await, 0, "{}", self.point);
        let remembered = "SELECT COUNT(*) FROM trial_addresses";
        assert_eq!(number(&store, remembered).await, 2, "{}", self.point);
        assert_eq!(self.deaths, 1, "{}: it did not die there, or died again", self.point);
        store.close().await;
    }
}

/// The lockout ends with the commit of the new password, not after it.
#[tokio::test(flavor = "multi_thread")]
async fn security_42_a_kill_after_a_reset_leaves_nobody_locked_out() {
    let mut walk = Walk::new("password.changed").await;
    walk.sign_up().await;
    let guess = json!({ "email": ADA, "password": "another password" });
    let login = "/api/customers/login";
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(walk.call(Method::POST, login, "", guess.clone()).await.0);
    }
    assert_eq!((statuses[0], statuses[10]), (401, 429), "{statuses:?}");
    let forgot = json!({ "email": ADA });
    let path = "/api/customers/password/forgot";
    assert_eq!(walk.call(Method::POST, path, "", forgot).await.0, 202);
    let mail = walk.mail(ADA, "Your password for acme-app").await;
    let reset = json!({ "token": mail.token("reset"), "password": NEW });
    walk.follow("/api/customers/password/reset", reset).await;
    assert_eq!(walk.deaths, 1);
    walk.log_in(ADA, NEW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_of_an_accounts_life_loses_and_repeats_nothing() {
    let dies = async |point: &'static str| {
        let lived = tokio::time::timeout(PATIENCE, async { Walk::new(point).await.live().await });
        lived.await.unwrap_or_else(|_| panic!("{point}: it did not recover"));
    };
    stream::iter(POINTS).for_each_concurrent(4, dies).await;
}
