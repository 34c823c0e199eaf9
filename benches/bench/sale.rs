//! The cost of a sale: the receipt of webhooks, the time from a webhook to the mail, and whole
//! sales. The sandbox stands in for Stripe and the mail server. It runs in this process on the same
//! cores, so it lowers the figures.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::config::Config;
use licentia::domain::account::password::Password;
use licentia::flows::account::signup::{Signup, signup};
use licentia::http::WEBHOOK_PATH;
use licentia::random::Random;
use licentia::worker;
use licentia_sandbox::{Card, Interval, NewPrice, Options, Paid, Sandbox, Sending, sign};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::{Better, ROUND, Row, compare, load, median};

/// Concurrent deliveries: as many as the sandbox sends.
const DELIVERIES: usize = 64;

/// The delivered event, of about 3 KB like most of Stripe's.
const EVENT: &str = "checkout.session.completed";

/// The commits that the bare loop runs in one call of its driver. One call for each would measure
/// how fast the driver's thread wakes up, not the disk.
const COMMITS_IN_ONE_GO: u32 = 32;

/// The sales whose latency is measured one by one; enough for the slowest of a hundred.
const TIMED_SALES: usize = 100;

/// Rounds of sales. They are fewer than elsewhere, because each needs new customers, which take
/// long to create.
const SALE_ROUNDS: usize = 5;

/// The sales of a round: many more than run at once.
const SALES: usize = 80;

/// Customers who sign up or check out at once.
const BUYERS_AT_ONCE: usize = 16;

/// The plan that customers buy. Its price is one of the built-in plans.
const PLAN: &str = "professional";
const PRICE: NewPrice<'_> = NewPrice {
    id: "price_pro_monthly",
    product: "Professional",
    amount: 4900,
    currency: "usd",
    interval: Interval::Month,
};

/// Returns the rows about sales.
pub fn rows(runtime: &Runtime) -> Vec<Row> {
    let mut rows = vec![ingest_row(runtime)];
    rows.extend(latency_rows(runtime));
    rows.push(sales_row(runtime));
    rows
}

/// The service with its own database, and its surroundings. The server stops with the runtime.
struct Shop {
    app: App,
    sandbox: Sandbox,
    /// The endpoint's id in the sandbox, and its secret.
    endpoint: (String, String),
    /// The service's URL: `http://127.0.0.1:…`.
    url: String,
    http: reqwest::Client,
    directory: TempDir,
}

impl Shop {
    async fn open(sending: Sending) -> Self {
        let sandbox = Sandbox::start(Options { sending, ..Options::default() }).await.unwrap();
        sandbox.add_price(&PRICE);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = sandbox.add_webhook_endpoint(&format!("{url}{WEBHOOK_PATH}"), &["*"]);
        let directory = tempfile::tempdir().unwrap();
        let within = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(within("licentia.toml"), "").unwrap();
        let settings = [
            ("LICENTIA_DATABASE_URL", format!("sqlite://{}", within("licentia.db"))),
            ("LICENTIA_KEYS_DIR", within("keys")),
            ("LICENTIA_PUBLIC_URL", url.clone()),
            ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key().to_owned()),
            ("LICENTIA_STRIPE__API_URL", sandbox.url().to_owned()),
            ("LICENTIA_STRIPE__WEBHOOK_SECRET", endpoint.1.clone()),
            ("LICENTIA_EMAIL__SMTP_URL", sandbox.smtp_url()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let config = Config::load(Some(within("licentia.toml").as_ref()), settings).unwrap();
        let random = Random::from_system().unwrap();
        let app = App::start(&config, Arc::new(SystemClock), random).await.unwrap();
        let served = app.clone();
        tokio::spawn(async move {
            licentia::http::serve(listener, &served, &config, pending()).await.unwrap();
        });
        Self { app, sandbox, endpoint, url, http: reqwest::Client::new(), directory }
    }

    /// Runs the worker until the returned sender is dropped.
    fn work(&self) -> watch::Sender<()> {
        let (stop, stopped) = watch::channel(());
        tokio::spawn(worker::run(self.app.clone(), stopped));
        stop
    }

    /// Signs customers up without HTTP, which limits sign-ups per address. Returns their session
    /// tokens.
    async fn customers(&self, count: usize) -> Vec<String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let customers = (0..count).map(|_| async {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let request = Signup {
                email: format!("{n:012}@example.com").parse().unwrap(),
                password: Password::new("SecurePass123".to_owned()),
                name: None,
                company_name: None,
                language: None,
            };
            signup(&self.app, request, None).await.unwrap().session_token.expose().to_owned()
        });
        stream::iter(customers).buffered(BUYERS_AT_ONCE).collect().await
    }

    /// Lets a customer open a checkout and pay. Its webhooks are due then.
    async fn sell(&self, access_token: &str) {
        let wanted = json!({ "plan": PLAN, "success_url": self.url, "cancel_url": self.url });
        let answer = self
            .http
            .post(format!("{}/api/subscriptions/checkout", self.url))
            .bearer_auth(access_token)
            .json(&wanted)
            .send()
            .await
            .unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{answer}");
        let session = answer["checkout_url"].as_str().unwrap().rsplit('/').next().unwrap();
        assert_eq!(self.sandbox.pay(session, Card::Paid).unwrap(), Paid::Completed);
    }
}

/// Measures the receipt of webhooks. Every delivery is a new event about an unknown customer. The
/// worker does not run.
fn ingest_row(runtime: &Runtime) -> Row {
    let shop = runtime.block_on(Shop::open(Sending::Manual));
    let event = runtime.block_on(an_event(&shop));
    let next = AtomicU64::new(0);
    let body = || event.numbered(next.fetch_add(1, Ordering::Relaxed));
    let secret = [&shop.endpoint.1];
    let request = || {
        let body = body();
        let signature = sign(&secret, SystemClock.now().epoch_seconds(), body.as_bytes());
        format!(
            "POST {WEBHOOK_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             stripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let address = shop.url.strip_prefix("http://").unwrap();
    let mut bare = runtime.block_on(BareLoop::open(&shop.directory));
    compare(
        "webhook ingest, 64 at once",
        "ev/s",
        Better::More,
        || 1e6 / runtime.block_on(load::microseconds(address, DELIVERIES, ROUND, request)),
        "a bare loop of one-row durable commits",
        || runtime.block_on(bare.commits_per_second(body)),
    )
}

/// The body of an event, split where each event differs.
struct Event(Vec<String>);

impl Event {
    /// Returns the event with an id of its own.
    fn numbered(&self, n: u64) -> String {
        self.0.join(&format!("evt_{n:024}"))
    }
}

/// Returns a real event of a sale, about an unknown customer.
async fn an_event(shop: &Shop) -> Event {
    let customers = shop.customers(1).await;
    shop.sell(&customers[0]).await;
    let id = shop.sandbox.events(EVENT).pop().unwrap();
    let webhook = shop.sandbox.webhook(&id, &shop.endpoint.0, 0).unwrap();
    let body = std::str::from_utf8(&webhook.body).unwrap();
    let event: Value = serde_json::from_str(body).unwrap();
    let customer = event["data"]["object"]["customer"].as_str().unwrap();
    let stranger = format!("cus_{:0>1$}", "", customer.len() - "cus_".len());
    let body = body.replace(customer, &stranger);
    let pieces: Vec<String> = body.split(&id).map(str::to_owned).collect();
    assert!(pieces.len() > 1 && (2_000..4_000).contains(&body.len()), "{} bytes", body.len());
    Event(pieces)
}

/// The baseline for the disk: durable inserts of single rows into a SQLite file.
struct BareLoop(SqliteConnection);

impl BareLoop {
    async fn open(directory: &TempDir) -> Self {
        let mut connection = SqliteConnectOptions::new()
            .filename(directory.path().join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging()
            .connect()
            .await
            .unwrap();
        let table = "CREATE TABLE events (event INTEGER PRIMARY KEY, body TEXT NOT NULL)";
        sqlx::query(table).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn commits_per_second(&mut self, body: impl Fn() -> String) -> f64 {
        // Each statement is a transaction of its own.
        let insert = "INSERT INTO events (body) VALUES ($1);".repeat(COMMITS_IN_ONE_GO as usize);
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < ROUND {
            let inserts = sqlx::query(AssertSqlSafe(insert.as_str())).bind(body());
            inserts.execute(&mut self.0).await.unwrap();
            count += COMMITS_IN_ONE_GO;
        }
        f64::from(count) / begun.elapsed().as_secs_f64()
    }
}

/// Measures the time from the webhooks of a sale to the mail with the license in the inbox, one
/// sale at a time.
fn latency_rows(runtime: &Runtime) -> [Row; 2] {
    let mut times = runtime.block_on(async {
        let shop = Shop::open(Sending::Manual).await;
        let _working = shop.work();
        let customers = shop.customers(TIMED_SALES).await;
        // The mails about the trials.
        let mut mails = shop.sandbox.mails_arrived(TIMED_SALES).await.len();
        let mut times = Vec::new();
        for access_token in customers {
            shop.sell(&access_token).await;
            mails += 1;
            let begun = Instant::now();
            let arrived = async {
                let arrived = shop.sandbox.mails_arrived(mails).await;
                (begun.elapsed().as_secs_f64() * 1e3, arrived)
            };
            let ((time, arrived), delivered) =
                tokio::join!(arrived, shop.sandbox.deliver_pending());
            assert!(arrived.len() == mails && delivered > 0, "a sale is one mail");
            times.push(time);
        }
        times
    });
    times.sort_by(f64::total_cmp);
    let row = |name, value| Row { name, value, unit: "ms", better: Better::Less, baseline: None };
    [
        row("webhook to mail, p50", times[TIMED_SALES / 2]),
        row("webhook to mail, p99", times[TIMED_SALES * 99 / 100 - 1]),
    ]
}

/// Measures the time from the first customer's checkout to the last customer's mail, with Stripe's
/// calls, webhooks, licenses and mails.
fn sales_row(runtime: &Runtime) -> Row {
    let rates: Vec<f64> = runtime.block_on(async {
        let shop = Shop::open(Sending::Automatic).await;
        let _working = shop.work();
        let (mut mails, mut rates) = (0, Vec::new());
        for _ in 0..SALE_ROUNDS {
            let customers = shop.customers(SALES).await;
            mails += SALES;
            shop.sandbox.mails_arrived(mails).await;
            mails += SALES;
            let begun = Instant::now();
            let sales = stream::iter(&customers).map(|access_token| shop.sell(access_token));
            sales.buffer_unordered(BUYERS_AT_ONCE).for_each(async |()| ()).await;
            shop.sandbox.mails_arrived(mails).await;
            rates.push(customers.len() as f64 / begun.elapsed().as_secs_f64());
            shop.sandbox.settled().await;
        }
        rates
    });
    let value = median(rates.into_iter());
    Row { name: "sales, end to end", value, unit: "/s", better: Better::More, baseline: None }
}
