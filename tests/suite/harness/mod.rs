//! The harness: a whole service for each test, with its own database, over a real socket. The
//! sale's surroundings are in `shop.rs`.

pub mod client;
pub mod database;
pub mod held;
pub mod mailbox;
pub mod patient;
pub mod pause;
pub mod postgres;
pub mod process;
pub mod raw;
pub mod receiver;
pub mod rotation;
pub mod selling;
pub mod shop;
pub mod subscriber;
pub mod traced;
pub mod vendor;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::config::Config;
use licentia::domain::license::{Extras, IssuedLicense};
use licentia::domain::operator::admin_key::Scope;
use licentia::domain::operator::audit::Actor;
use licentia::domain::time::Timestamp;
use licentia::flows::mail;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::flows::operator::{admin_key, outgoing};
use licentia::http;
use licentia::random::Random;
use licentia::stripe::{Double, Stripe};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::{Answer, Client};
pub use database::TestDatabase;

/// The time at which every test begins: 2026-11-20T15:00:00Z.
pub const START: i64 = 1_795_186_800;

/// A valid password.
pub const PASSWORD: &str = "SecurePass123";

/// The setting that makes the service trust a test's `X-Forwarded-For`.
pub const BEHIND_A_PROXY: (&str, &str) = ("LICENTIA_TRUSTED_PROXIES", "127.0.0.1");

/// A running service.
pub struct TestApp {
    pub client: Client,
    pub app: App,
    pub clock: Arc<ManualClock>,
    pub config: Config,
    pub directory: TempDir,
    _database: TestDatabase,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<()>>,
}

/// A clock that is stopped until a test advances it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.0.load(Ordering::SeqCst))
    }
}

impl ManualClock {
    pub fn advance_days(&self, days: i64) {
        self.advance_seconds(days * 86_400);
    }

    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl TestApp {
    /// Starts the service with only the settings that differ between tests.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the service with more settings, by their names in the environment.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = Arc::new(ManualClock(AtomicI64::new(START)));
        Self::start_at(listener, settings, clock.clone(), clock).await
    }

    /// Starts the service at this address with this clock. `own` is the clock if the test advances
    /// it.
    async fn start_at(
        listener: TcpListener,
        settings: &[(&str, &str)],
        clock: Arc<dyn Clock>,
        own: Arc<ManualClock>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::new(directory.path()).await;
        let config = config(directory.path(), &database, settings);
        let random = Random::from_system().unwrap();
        let app = App::start(&config, clock, random).await.unwrap();
        let clock = own;
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn({
            let (app, config) = (app.clone(), config.clone());
            async move {
                let stopped = async { drop(stopped.await) };
                http::serve(listener, &app, &config, stopped).await
            }
        });
        let client = Client::new(format!("http://{address}"));
        let stop = Some(stop);
        Self { client, app, clock, config, directory, _database: database, stop, served }
    }

    /// Starts another server on the same database and returns its client. It runs as long as the
    /// test.
    pub async fn second_server(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(format!("http://{}", listener.local_addr().unwrap()));
        let (config, random) = (self.config.clone(), Random::from_system().unwrap());
        let app = App::start(&config, self.clock.clone(), random).await.unwrap();
        tokio::spawn(
            async move { http::serve(listener, &app, &config, std::future::pending()).await },
        );
        client
    }

    /// Signs a customer up. Returns the whole response, a 201.
    ///
    /// One address may sign up only a few customers. If the service trusts the proxy on 127.0.0.1
    /// ([`BEHIND_A_PROXY`]), every customer has an address of their own.
    pub async fn sign_up(&self, email: &str) -> Answer {
        let request = serde_json::json!({ "email": email, "password": PASSWORD });
        let number = email.bytes().fold(0_u32, |sum, byte| sum * 31 % 65_521 + u32::from(byte));
        let client = self.client.at_address(&format!("10.{}.{}.1", number >> 8, number & 255));
        let answer = client.post("/api/customers/signup", &request).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// Returns a client that is signed in as a new customer.
    pub async fn signed_in(&self, email: &str) -> Client {
        let answer = self.sign_up(email).await;
        self.client.with_token(answer.text("/access_token"))
    }

    /// Returns a client with a new admin key of this scope.
    pub async fn admin(&self, scope: Scope) -> Client {
        let name = format!("a test's, {scope}").parse().unwrap();
        let (_, key) = admin_key::create(&self.app, name, scope, None).await.unwrap();
        self.client.with_token(key.expose())
    }

    /// Grants a customer a license without an end, whatever the customer has.
    pub async fn grant(&self, customer_id: &str, plan: &str) -> IssuedLicense {
        let plan = self.app.plans.plan(plan).unwrap();
        let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
        let id = customer_id.parse().unwrap();
        licenses::grant(&self.app, Actor::Operator, &id, &grant).await.unwrap()
    }

    /// Sends the due mails, as the worker does. Returns how many were attempted.
    pub async fn send_due(&self) -> usize {
        let taken = mail::take_due(&self.app, 10).await.unwrap();
        for each in &taken {
            mail::send(&self.app, each).await.unwrap();
        }
        taken.len()
    }

    /// Makes one attempt for each delivery of an outgoing webhook that is due, as the worker does.
    /// Returns the number of attempts.
    pub async fn deliver_due(&self) -> usize {
        deliver_due(&self.app).await
    }

    /// Returns the number of rows of a table.
    pub async fn count(&self, table: &str) -> i64 {
        database::count(&self.app.store, table).await
    }

    /// Asks the server to stop, and waits until it has stopped.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.served).await.unwrap().unwrap();
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Makes one attempt for each delivery of an outgoing webhook that is due. Returns their number.
pub async fn deliver_due(app: &App) -> usize {
    let taken = outgoing::take_due(app, 100).await.unwrap();
    for each in &taken {
        outgoing::deliver(app, each).await.unwrap();
    }
    taken.len()
}

/// The longest time until a condition holds, with many tests on one machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
pub async fn until(holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("it never came true");
}

/// Returns a connection to Stripe that leads to this double.
pub async fn stripe_of(double: Double) -> Stripe {
    let settings = [
        ("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1"),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let config = config(directory.path(), &database, &settings);
    Stripe::double(&config.stripe.unwrap(), double, Arc::new(SystemClock))
}

/// Returns the configuration of a test.
pub fn config(directory: &Path, database: &TestDatabase, settings: &[(&str, &str)]) -> Config {
    let keys = directory.join("keys");
    let file = directory.join("licentia.toml");
    if !file.exists() {
        std::fs::write(&file, "").unwrap();
    }
    let mut environment = vec![
        ("LICENTIA_DATABASE_URL".to_owned(), database.url.clone()),
        ("LICENTIA_KEYS_DIR".to_owned(), keys.display().to_string()),
        ("LICENTIA_EMAIL__FOLDER".to_owned(), directory.join("mail").display().to_string()),
    ];
    environment.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
    environment.extend(settings.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    Config::load(Some(&file), environment).unwrap()
}
