//! The process dies by SIGKILL at each place between two steps of a sale that write; it is started
//! again, and everything ends as if nothing had been. With the real binary, a real database, and
//! Stripe's double and its inbox over loopback. That no step lacks a place is tested in `fail_points`.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use futures_util::future::join_all;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::ids::TaskId;
use licentia::fail_point;
use licentia::store::Store;
use licentia_sandbox::{
    ApiFault, Card, Interval, NewPrice, Options, Sandbox, SignatureTime, Times,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::database::{count, number, texts};
use crate::harness::process::Server;
use crate::harness::shop::session_of;
use crate::harness::{PASSWORD, TestDatabase};

/// How long everything may take: on PostgreSQL, what a dead server held ends by itself within a
/// minute.
const PATIENCE: Duration = Duration::from_secs(120);

const EMAIL: &str = "ada@example.com";

/// The number of SIGKILL.
const KILLED: i32 = 9;

const UNDONE: &str = "SELECT (SELECT COUNT(*) FROM inbox WHERE done_at IS NULL)
     + (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL)";

/// A service that dies once.
struct Patient {
    point: &'static str,
    directory: TempDir,
    database: TestDatabase,
    sandbox: Sandbox,
    endpoint: String,
    secret: String,
    server: Server,
    http: reqwest::Client,
    deaths: usize,
}

impl Patient {
    async fn new(point: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let options = Options { signature_time: SignatureTime::Machine, ..Options::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        for (id, product, amount) in [
            ("price_starter_monthly", "Starter", 1900),
            ("price_pro_monthly", "Professional", 4900),
        ] {
            let (currency, interval) = ("usd", Interval::Month);
            sandbox.add_price(&NewPrice { id, product, amount, currency, interval });
        }
        let (endpoint, secret) = sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
        let server = start(directory.path(), &database, &sandbox, &secret, Some(point));
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let deaths = 0;
        let patient =
            Self { point, directory, database, sandbox, endpoint, secret, server, http, deaths };
        patient.register().await;
        patient
    }

    /// Tells Stripe where the server is now.
    async fn register(&self) {
        let url = format!("{}/api/webhooks/stripe", self.server.client.base);
        self.at_stripe(&format!("webhook_endpoints/{}", self.endpoint), &[("url", &url)]).await;
    }

    /// Does something at Stripe that is not the server's doing. Answers the object.
    async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/v1/{path}", self.sandbox.url());
        let request = self.http.post(url).bearer_auth(self.sandbox.secret_key()).form(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Starts the server again if it has died, without what made it die.
    async fn revive(&mut self) -> bool {
        let Some(status) = self.server.child.try_wait().unwrap() else { return false };
        assert_eq!(status.signal(), Some(KILLED), "{}", self.point);
        self.deaths += 1;
        let (directory, database) = (self.directory.path(), &self.database);
        self.server = start(directory, database, &self.sandbox, &self.secret, None);
        self.register().await;
        self.sandbox.retry_deliveries();
        true
    }

    /// Calls until it answers; what dies on the way is started again.
    async fn call(&mut self, method: Method, path: &str, token: &str, body: Value) -> (u16, Value) {
        loop {
            let url = format!("{}{path}", self.server.client.base);
            let request = self.http.request(method.clone(), url).bearer_auth(token);
            let request = if body.is_null() { request } else { request.json(&body) };
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                if let (true, Ok(body)) = (status < 500, answer.json().await) {
                    return (status, body);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.revive().await;
        }
    }

    /// Signs up, or logs in where the sign-up was written before the death.
    async fn sign_in(&mut self) -> String {
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        let signup = "/api/customers/signup";
        let (mut status, mut answer) = self.call(Method::POST, signup, "", account.clone()).await;
        if status == 409 {
            let login = "/api/customers/login";
            (status, answer) = self.call(Method::POST, login, "", account).await;
        }
        assert!(status < 300, "{}: {answer}", self.point);
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn checkout(&mut self, plan: &str, token: &str) -> String {
        let back = "https://app.example/";
        let wanted = json!({ "plan": plan, "success_url": back, "cancel_url": back });
        let path = "/api/subscriptions/checkout";
        let (status, answer) = self.call(Method::POST, path, token, wanted).await;
        assert_eq!(status, 200, "{}: {answer}", self.point);
        session_of(answer["checkout_url"].as_str().unwrap())
    }

    /// A sale that comes by every place: a task that has nothing to do, a customer of Stripe's who is
    /// none of ours, a plan that is changed before it is paid, and a Stripe that refuses two calls once.
    async fn sell(&mut self) -> String {
        let token = self.sign_in().await;
        let store = self.database.open().await;
        self.leave_a_task(&store).await;
        let stranger = self.at_stripe("customers", &[("email", "eve@example.com")]).await;
        let path = format!("customers/{}", stranger["id"].as_str().unwrap());
        self.at_stripe(&path, &[("name", "Eve")]).await;
        let faults = self.sandbox.faults();
        faults.api_call(ApiFault::Refused, "POST /v1/customers", Times::Next(1));
        let replaced = self.checkout("starter", &token).await;
        let session = self.checkout("professional", &token).await;
        assert_eq!(self.sandbox.object(&replaced)["status"], "expired", "{}", self.point);
        // What fails otherwise is asked again at once, and may never be the worker's.
        faults.api_call(ApiFault::Refused, "GET /v1/subscriptions", Times::Next(1));
        let name = json!({ "name": "Ada Lovelace" });
        self.call(Method::PATCH, "/api/customers/me", &token, name).await;
        self.sandbox.pay(&session, Card::Paid).unwrap();
        // The worker is to meet that failure, not somebody who asks for a license.
        while !self.sandbox.faults().active().is_empty() {
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        loop {
            let (_, license) =
                self.call(Method::GET, "/api/licenses/current", &token, Value::Null).await;
            let paid = license["plan"] == "professional" && self.mails().len() == 2;
            if paid && number(&store, UNDONE).await == 0 && !self.revive().await {
                break;
            }
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(count(&store, "customers").await, 1, "{}", self.point);
        let stripe_id = texts(&store, "SELECT stripe_customer_id FROM customers").await.remove(0);
        assert_eq!(self.sandbox.object(&stripe_id)["name"], "Ada Lovelace", "{}", self.point);
        store.close().await;
        token
    }

    /// A change of a customer who is not linked any more, and waits until it is done.
    async fn leave_a_task(&mut self, store: &Store) {
        let id = texts(store, "SELECT customer_id FROM customers").await.remove(0);
        let mut tx = store.write().await.unwrap();
        let (task, now) = (TaskId::from_random(1), SystemClock.now());
        let kind = "licentia.customer_changed";
        tx.insert_task(&task, kind, &id.parse().unwrap(), now).await.unwrap();
        tx.commit().await.unwrap();
        while number(store, "SELECT COUNT(*) FROM inbox WHERE done_at IS NULL").await > 0 {
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Subject and Message-ID of every mail, each once.
    fn mails(&self) -> Vec<(String, String)> {
        let mails = self.sandbox.mails();
        let told =
            mails.iter().map(|m| (m.subject().to_owned(), m.header("Message-ID").to_owned()));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told.dedup();
        told
    }

    async fn must_be_whole(&mut self, token: &str) {
        let point = self.point;
        assert_eq!(self.deaths, 1, "{point}: it did not die there, or died again");
        assert_eq!(self.sandbox.events("customer.created").len(), 2, "{point}: and the stranger");
        assert_eq!(self.sandbox.events("customer.subscription.created").len(), 1, "{point}");
        let (_, answer) = self.call(Method::GET, "/api/licenses", token, Value::Null).await;
        let licenses = answer["licenses"].as_array().unwrap();
        let paid = licenses.iter().filter(|license| license["trial"] == false).count();
        assert_eq!((licenses.len(), paid), (2, 1), "{point}: {answer}");
        let (_, answer) = self.call(Method::GET, "/api/orders", token, Value::Null).await;
        let orders = answer["orders"].as_array().unwrap();
        let statuses = |plan: &str| -> Vec<_> {
            let of_plan = orders.iter().filter(|order| order["plan"] == plan);
            of_plan.map(|order| order["status"].as_str().unwrap()).collect()
        };
        assert_eq!(statuses("professional"), ["succeeded"], "{point}");
        // Dead between closing the replaced checkout and forgetting it: it came to nothing, and says so.
        let replaced = statuses("starter");
        assert!(matches!(*replaced, [] | ["failed"]), "{point}: {answer}");
        let mails = self.mails();
        let subjects: Vec<_> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
        // A repeat has the same Message-ID, so it is one here.
        assert_eq!(
            subjects,
            ["Your new license for acme-app", "Your trial of acme-app"],
            "{point}"
        );
    }
}

fn start(
    directory: &std::path::Path,
    database: &TestDatabase,
    sandbox: &Sandbox,
    secret: &str,
    point: Option<&str>,
) -> Server {
    let smtp = sandbox.smtp_url();
    let mut settings = vec![
        ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
        ("LICENTIA_STRIPE__API_URL", sandbox.url()),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", secret),
        ("LICENTIA_EMAIL__SMTP_URL", &smtp),
        ("LICENTIA_RETURN_ORIGINS", "https://app.example"),
    ];
    settings.extend(point.map(|point| ("FAIL_POINT", point)));
    Server::start(directory, database, &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_changes_nothing_in_the_end_stripe_4() {
    let deaths = fail_point::ALL.map(|point| async move {
        let lived = tokio::time::timeout(PATIENCE, async {
            let mut patient = Patient::new(point).await;
            let token = patient.sell().await;
            patient.must_be_whole(&token).await;
        });
        lived.await.unwrap_or_else(|_| panic!("{point}: it did not recover"));
    });
    join_all(deaths).await;
}
