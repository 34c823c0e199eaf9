//! A real server that dies at a planned place while it sells, and is restarted: with a real
//! database, and Stripe's double with its mail inbox over loopback.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use licentia_sandbox::{Interval, NewPrice, Options, Sandbox, SignatureTime};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::TestDatabase;
use super::process::Server;

/// The file in the server's directory that arms a fail point.
pub const ARMED: &str = "armed";

/// The number of SIGKILL.
const KILLED: i32 = 9;

/// The longest duration of one walk, with several at once on a busy machine. On PostgreSQL a dead
/// server's leases end within a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// The beginning of every plans file.
const TRIAL: &str = r#"
product = "acme-app"
[trial]
plan = "trial"
days = 14
[[plan]]
id = "trial"
name = "Trial"
"#;

/// The plans file in the server's directory.
const PLANS: &str = "plans.toml";

/// A service that dies once.
pub struct Patient {
    pub point: &'static str,
    pub directory: TempDir,
    pub database: TestDatabase,
    pub sandbox: Sandbox,
    pub endpoint: String,
    pub secret: String,
    pub server: Server,
    pub http: reqwest::Client,
    pub deaths: usize,
}

impl Patient {
    /// Starts a service with a fail point, with a trial and these plans instead of the built-in
    /// ones, and with these monthly prices at Stripe: id, product and amount.
    pub async fn admit(
        point: &'static str,
        fail_point: Option<&str>,
        plans: Option<&str>,
        prices: &[(&str, &str, i64)],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if let Some(plans) = plans {
            std::fs::write(directory.path().join(PLANS), format!("{TRIAL}{plans}")).unwrap();
        }
        let database = TestDatabase::empty(directory.path()).await;
        let options = Options { signature_time: SignatureTime::Machine, ..Options::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        for (id, product, amount) in prices.iter().copied() {
            let (currency, interval) = ("usd", Interval::Month);
            sandbox.add_price(&NewPrice { id, product, amount, currency, interval });
        }
        let (endpoint, secret) = sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
        let server = start(directory.path(), &database, &sandbox, &secret, fail_point);
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let deaths = 0;
        let patient =
            Self { point, directory, database, sandbox, endpoint, secret, server, http, deaths };
        patient.register().await;
        patient
    }

    /// Registers the server's current address at Stripe.
    pub async fn register(&self) {
        let url = format!("{}/api/webhooks/stripe", self.server.client.base);
        self.at_stripe(&format!("webhook_endpoints/{}", self.endpoint), &[("url", &url)]).await;
    }

    /// Calls Stripe's API without the server. Returns the object.
    pub async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/v1/{path}", self.sandbox.url());
        let request = self.http.post(url).bearer_auth(self.sandbox.secret_key()).form(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Whether it has died, by the planned death.
    pub fn has_died(&mut self) -> bool {
        let Some(status) = self.server.child.try_wait().unwrap() else { return false };
        assert_eq!(status.signal(), Some(KILLED), "{}", self.point);
        self.deaths += 1;
        true
    }

    /// Restarts the server. Stripe does not know its new address yet.
    pub fn start_again(&mut self, fail_point: Option<&str>) {
        let (directory, database) = (self.directory.path(), &self.database);
        self.server = start(directory, database, &self.sandbox, &self.secret, fail_point);
    }

    /// Restarts the server without a planned death, if it has died. Returns whether it had.
    pub async fn revive(&mut self) -> bool {
        let died = self.has_died();
        if died {
            self.start_again(None);
            self.register().await;
            self.sandbox.retry_deliveries();
        }
        died
    }

    /// Repeats a call until it gets a response, and restarts a server that died.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> (u16, Value) {
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
}

/// Waits until a walk past this point has ended.
pub async fn recovers(point: &str, walk: impl Future<Output = ()>) {
    let lived = tokio::time::timeout(PATIENCE, walk).await;
    lived.unwrap_or_else(|_| panic!("{point}: it did not recover"));
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
    settings.extend(directory.join(PLANS).exists().then_some(("LICENTIA_PLANS_FILE", PLANS)));
    settings.extend(point.map(|point| ("FAIL_POINT", point)));
    Server::start(directory, database, &settings)
}
