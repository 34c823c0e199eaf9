//! The process dies by SIGKILL at each fail point of a change of a subscription and restarts. The
//! same request then has the same result: one change, one invoice, one license.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use licentia_sandbox::{Card, Interval, NewPrice, Options, Sandbox, SignatureTime};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::process::Server;
use crate::harness::shop::session_of;
use crate::harness::{PASSWORD, TestDatabase};

/// The longest duration of one walk, with several at once on a busy machine. On PostgreSQL a dead
/// server's leases end within a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// The number of SIGKILL.
const KILLED: i32 = 9;

/// The file in the server's directory that arms the fail point.
const ARMED: &str = "armed";

const POINTS: [&str; 4] = ["change.stored", "change.cleared", "change.made", "change.settled"];

const PLANS: &str = r#"
product = "acme-app"
[trial]
plan = "trial"
days = 14
[[plan]]
id = "trial"
name = "Trial"
[[plan]]
id = "team"
name = "Team"
limits = { seats = 1 }
per_unit = ["seats"]
prices = [{ id = "price_team", interval = "month", amount = 1000, currency = "usd" }]
"#;

/// A service that dies once.
struct Walk {
    point: &'static str,
    directory: TempDir,
    database: TestDatabase,
    sandbox: Sandbox,
    endpoint: String,
    secret: String,
    server: Server,
    http: reqwest::Client,
    token: String,
    deaths: usize,
}

fn start(
    directory: &TempDir,
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
        ("LICENTIA_PLANS_FILE", "plans.toml"),
    ];
    settings.extend(point.map(|point| ("FAIL_POINT", point)));
    Server::start(directory.path(), database, &settings)
}

impl Walk {
    async fn new(point: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("plans.toml"), PLANS).unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let options = Options { signature_time: SignatureTime::Machine, ..Options::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let (currency, interval) = ("usd", Interval::Month);
        let price =
            NewPrice { id: "price_team", product: "Team", amount: 1000, currency, interval };
        sandbox.add_price(&price);
        let (endpoint, secret) = sandbox.add_webhook_endpoint("http://127.0.0.1:1/", &["*"]);
        let armed = format!("{point}@{ARMED}");
        let server = start(&directory, &database, &sandbox, &secret, Some(&armed));
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let (token, deaths) = (String::new(), 0);
        let mut walk = Self {
            point,
            directory,
            database,
            sandbox,
            endpoint,
            secret,
            server,
            http,
            token,
            deaths,
        };
        walk.register().await;
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let (status, answer) = walk.call(Method::POST, "/api/customers/signup", account).await;
        assert_eq!(status, 201, "{point}: {answer}");
        walk.token = answer["access_token"].as_str().unwrap().to_owned();
        walk
    }

    /// Registers the server's current address at Stripe.
    async fn register(&self) {
        let url = format!("{}/api/webhooks/stripe", self.server.client.base);
        let path = format!("{}/v1/webhook_endpoints/{}", self.sandbox.url(), self.endpoint);
        let request = self.http.post(path).bearer_auth(self.sandbox.secret_key());
        let answer = request.form(&[("url", &url)]).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Restarts the server if it has died, by the planned death.
    async fn revive(&mut self) {
        let Some(status) = self.server.child.try_wait().unwrap() else { return };
        assert_eq!(status.signal(), Some(KILLED), "{}", self.point);
        self.deaths += 1;
        self.server = start(&self.directory, &self.database, &self.sandbox, &self.secret, None);
        self.register().await;
        self.sandbox.retry_deliveries();
    }

    /// Repeats a call until it gets a response.
    async fn call(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        loop {
            let url = format!("{}{path}", self.server.client.base);
            let request = self.http.request(method.clone(), url).bearer_auth(&self.token);
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

    /// Buys five seats. Returns Stripe's ids of the customer and the subscription.
    async fn buy(&mut self) -> (String, String) {
        let back = "https://app.example/";
        let wanted =
            json!({ "plan": "team", "quantity": 5, "success_url": back, "cancel_url": back });
        let (status, answer) = self.call(Method::POST, "/api/subscriptions/checkout", wanted).await;
        assert_eq!(status, 200, "{}: {answer}", self.point);
        let session = session_of(answer["checkout_url"].as_str().unwrap());
        self.sandbox.pay(&session, Card::Paid).unwrap();
        self.until_seats(5).await;
        let text = |field: &str| self.sandbox.object(&session)[field].as_str().unwrap().to_owned();
        (text("customer"), text("subscription"))
    }

    async fn until_seats(&mut self, seats: u64) {
        loop {
            let (_, license) = self.call(Method::GET, "/api/licenses/current", Value::Null).await;
            if license["limits"]["seats"] == seats {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Previews a change of the seats and makes it.
    async fn change(&mut self, seats: u32) -> (u16, Value) {
        let mut wanted = json!({ "quantity": seats });
        let (status, preview) =
            self.call(Method::POST, "/api/subscriptions/preview", wanted.clone()).await;
        assert_eq!(status, 200, "{}: {preview}", self.point);
        wanted["preview_id"] = preview["preview_id"].clone();
        self.call(Method::POST, "/api/subscriptions/change", wanted).await
    }
}

async fn die_at(point: &'static str) {
    let lived = tokio::time::timeout(PATIENCE, async {
        let mut walk = Walk::new(point).await;
        let (customer, subscription) = walk.buy().await;
        // A change that waits for its payment is replaced by the next one.
        walk.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
        let (status, refused) = walk.change(6).await;
        assert_eq!(status, 402, "{point}: {refused}");
        walk.sandbox.replace_card(&customer, Card::Paid).unwrap();
        std::fs::write(walk.directory.path().join(ARMED), "").unwrap();
        let (status, changed) = walk.change(8).await;
        assert_eq!((status, walk.deaths), (200, 1), "{point}: {changed}");
        assert_eq!(changed["quantity"], 8, "{point}: {changed}");
        walk.until_seats(8).await;
        let (_, orders) = walk.call(Method::GET, "/api/orders", Value::Null).await;
        let orders = orders["orders"].as_array().unwrap();
        let paid = orders.iter().filter(|order| order["status"] == "succeeded").count();
        assert_eq!(paid, 2, "{point}: {orders:?}");
        let at_stripe = walk.sandbox.object(&subscription);
        assert_eq!(at_stripe["items"]["data"][0]["quantity"], 8, "{point}");
        assert_eq!(at_stripe["pending_update"], Value::Null, "{point}");
    });
    lived.await.unwrap_or_else(|_| panic!("{point}: it did not recover"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_survives_a_death_at_each_point_stripe_6_7() {
    for point in POINTS {
        die_at(point).await;
    }
}
