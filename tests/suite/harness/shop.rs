//! A service that sells, with Stripe's double, its mail inbox, its clock, and a running worker. A
//! vendor who uses the commands is in `vendor.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use licentia::app::{App, Surroundings};
use licentia::clock::Clock;
use licentia::config::Config;
use licentia::domain::time::Timestamp;
use licentia::fail_point::FailPoints;
use licentia::flows::Mode;
use licentia::flows::sale::reconcile::{AT_ONCE, Report, run as reconcile};
use licentia::keys::KeyRing;
use licentia::random::Random;
use licentia::store::{IfMissing, Store};
use licentia::{http, plans, templates, worker};
use licentia_sandbox::{
    ApiFault, Card, Interval, Mail, NewPrice, Options, Paid, Sandbox, StartTime, Times,
};
use licentia_verify::{KeySet, License, Rejection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Answer, Client, ManualClock, PASSWORD, PATIENCE, START, TestApp, database};

/// The prices of the built-in plans.
const PRICES: [(&str, i64, Interval); 4] = [
    ("price_starter_monthly", 1900, Interval::Month),
    ("price_starter_yearly", 19000, Interval::Year),
    ("price_pro_monthly", 4900, Interval::Month),
    ("price_pro_yearly", 49000, Interval::Year),
];

/// The service and its surroundings.
pub struct Shop {
    pub app: TestApp,
    pub sandbox: Sandbox,
    /// The webhook endpoint's id.
    pub endpoint: String,
    /// Its secret.
    pub secret: String,
    /// Keeps the plans file for servers that start later.
    pub plans: Option<TempDir>,
    stop: watch::Sender<()>,
    worker: JoinHandle<()>,
}

/// Another server on the same database.
pub struct Peer {
    pub client: Client,
    pub app: App,
    stop: watch::Sender<()>,
    worker: JoinHandle<()>,
}

impl Peer {
    /// Returns the buyer as a client of this server.
    pub fn serves(&self, buyer: &Buyer) -> Buyer {
        Buyer { client: self.client.with_token(buyer.client.token()), ..buyer.clone() }
    }

    /// Ends its worker after its current work.
    pub async fn end_worker(self) {
        self.stop.send(()).unwrap();
        self.worker.await.unwrap();
    }
}

/// A customer who is signed in.
#[derive(Clone)]
pub struct Buyer {
    pub email: String,
    pub client: Client,
    pub customer_id: String,
    pub trial: String,
}

pub(super) struct SandboxClock(pub(super) licentia_sandbox::Clock);

impl Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.0.now())
    }
}

/// Adds the prices of the built-in plans.
pub fn add_prices(sandbox: &Sandbox) {
    for (id, amount, interval) in PRICES {
        let product = id.split('_').nth(1).unwrap();
        sandbox.add_price(&NewPrice { id, product, amount, currency: "usd", interval });
    }
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_with(Options::default(), &[]).await
    }

    /// Opens a shop with more options for the double, and more settings for the service.
    pub async fn open_with(options: Options, settings: &[(&str, &str)]) -> Self {
        Self::open_selling(options, add_prices, settings).await
    }

    /// Opens a shop with the prices that `add` adds to the double.
    pub async fn open_selling(
        options: Options,
        add: impl FnOnce(&Sandbox),
        settings: &[(&str, &str)],
    ) -> Self {
        let options = Options { start: StartTime::At(START), ..options };
        let sandbox = Sandbox::start(options).await.unwrap();
        add(&sandbox);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (endpoint, secret) =
            sandbox.add_webhook_endpoint(&format!("{url}/api/webhooks/stripe"), &["*"]);
        let smtp = sandbox.smtp_url();
        let mut all = vec![
            ("LICENTIA_PUBLIC_URL", url.as_str()),
            ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
            ("LICENTIA_STRIPE__API_URL", sandbox.url()),
            ("LICENTIA_STRIPE__WEBHOOK_SECRET", &secret),
            ("LICENTIA_EMAIL__SMTP_URL", &smtp),
        ];
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend(settings);
        let clock = Arc::new(SandboxClock(sandbox.clock()));
        let unused = Arc::new(ManualClock(AtomicI64::new(START)));
        let app = TestApp::start_at(listener, &all, clock, unused).await;
        let (stop, stopped) = watch::channel(());
        let worker = tokio::spawn(worker::run(app.app.clone(), stopped));
        let shop = Self { app, sandbox, endpoint, secret, plans: None, stop, worker };
        // The worker reconciles all customers at its start. Waiting for that here keeps it out of
        // the test.
        let compared = "SELECT COUNT(*) FROM audit_log WHERE action = 'stripe.compared'";
        let store = &shop.app.app.store;
        if shop.app.app.stripe.is_some() {
            let done = async || database::number(store, compared).await > 0;
            shop.until("the comparison at the start", done).await;
        }
        shop
    }

    /// Starts another server on the same database, with a worker and a webhook endpoint of its own.
    pub async fn second_server(&self) -> Peer {
        self.server_with(FailPoints::default()).await
    }

    /// Starts another server with these fail points.
    pub async fn server_with(&self, fail_points: FailPoints) -> Peer {
        self.server_by(Arc::new(SandboxClock(self.sandbox.clock())), fail_points).await
    }

    /// Starts another server with these fail points and this clock.
    pub async fn server_by(&self, clock: Arc<dyn Clock>, fail_points: FailPoints) -> Peer {
        let mut config = self.app.config.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let url = format!("{base}/api/webhooks/stripe");
        let (_, secret) = self.sandbox.add_webhook_endpoint(&url, &["*"]);
        config.stripe.as_mut().unwrap().webhook_secrets.push(secret.into());
        let app =
            self.parts_with(&config, clock, |real| Surroundings { fail_points, ..real }).await;
        let (stop, stopped) = watch::channel(());
        let worker = tokio::spawn(worker::run(app.clone(), stopped));
        let server = app.clone();
        tokio::spawn(async move {
            http::serve(listener, &server, &config, std::future::pending()).await
        });
        Peer { client: Client::new(base), app, stop, worker }
    }

    /// Returns the parts of a server, without a worker, in changed surroundings.
    pub async fn parts_with(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
        change: impl FnOnce(Surroundings) -> Surroundings,
    ) -> App {
        let store = Store::open(&config.database_url, IfMissing::Refuse).await.unwrap();
        let random = Random::from_system().unwrap();
        let real = Surroundings::real(config, store, clock, random).unwrap();
        let plans = plans::load(config.plans_file.as_deref()).unwrap();
        let keys = KeyRing::load(config).unwrap().unwrap();
        let templates = templates::load(&config.email).unwrap();
        App::new(config, plans, keys, templates, change(real)).unwrap()
    }

    /// Ends this server's worker after its current work. The server still handles requests.
    pub async fn end_worker(&mut self) {
        self.stop.send(()).unwrap();
        (&mut self.worker).await.unwrap();
    }

    /// Returns a service with another plans file on the same database, without an HTTP server.
    pub async fn another_app(&self, plans_file: String) -> App {
        let config = Config { plans_file: Some(plans_file.into()), ..self.app.config.clone() };
        let clock = Arc::new(SandboxClock(self.sandbox.clock()));
        App::start(&config, clock, Random::from_system().unwrap()).await.unwrap()
    }

    pub async fn buyer(&self, email: &str) -> Buyer {
        let answer = self.app.sign_up(email).await;
        Buyer {
            email: email.to_owned(),
            client: self.app.client.with_token(answer.text("/access_token")),
            customer_id: answer.text("/customer/customer_id").to_owned(),
            trial: answer.body["license"]["token"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Logs a buyer in again, because a login session lasts for a month.
    pub async fn log_in(&self, buyer: &mut Buyer) {
        let login = json!({ "email": buyer.email, "password": PASSWORD });
        let answer = self.app.client.post("/api/customers/login", &login).await;
        buyer.client = self.app.client.with_token(answer.text("/access_token"));
    }

    /// Lets days pass, waits until due work is done, and logs the buyer in again.
    pub async fn pass_days(&self, buyer: &mut Buyer, days: u32) {
        self.sandbox.advance_days(days);
        self.settled().await;
        self.log_in(buyer).await;
    }

    /// Requests a checkout. Returns the whole response.
    pub async fn ask(&self, buyer: &Buyer, plan: &str) -> Answer {
        Self::ask_to_return(buyer, plan, &self.app.client.base).await
    }

    /// Requests a checkout, without a borrow of the shop.
    pub async fn ask_to_return(buyer: &Buyer, plan: &str, base: &str) -> Answer {
        let back = format!("{base}/docs");
        let request = json!({ "plan": plan, "success_url": back, "cancel_url": back });
        buyer.client.post("/api/subscriptions/checkout", &request).await
    }

    /// Opens a checkout. Returns the Checkout session's id.
    pub async fn checkout(&self, buyer: &Buyer, plan: &str) -> String {
        let answer = self.ask(buyer, plan).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        session_of(answer.text("/checkout_url"))
    }

    /// Buys a plan, and waits until all work is done. Returns the Checkout session's id.
    pub async fn buy(&self, buyer: &Buyer, plan: &str) -> String {
        let session = self.checkout(buyer, plan).await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
        self.settled().await;
        session
    }

    /// Lets a buyer pay for a plan while Stripe fails, until every event about it has failed once.
    /// Returns the Checkout session's id.
    pub async fn stuck(&self, buyer: &Buyer) -> String {
        let session = self.checkout(buyer, "professional").await;
        self.sandbox.faults().api_call(ApiFault::ErrorBefore, "GET /v1/customers", Times::Always);
        self.sandbox.pay(&session, Card::Paid).unwrap();
        self.sandbox.settled().await;
        let untried = "SELECT COUNT(*) FROM inbox WHERE attempts = 0";
        let store = &self.app.app.store;
        self.until("all were tried", async || database::number(store, untried).await == 0).await;
        session
    }

    /// Lets events fail for four days, until they are dead letters. Stripe fails until the faults
    /// are cleared. Returns the Checkout session's id.
    pub async fn dead_letter(&self, buyer: &Buyer) -> String {
        let session = self.stuck(buyer).await;
        let store = &self.app.app.store;
        let age = "UPDATE inbox SET received_at = received_at - 345600,
                       tried_since = tried_since - 345600, attempts = 50";
        database::execute(store, age).await.unwrap();
        self.sandbox.advance(Duration::from_secs(60));
        let open = "SELECT COUNT(*) FROM inbox WHERE given_up_at IS NULL";
        self.until("all are given up", async || database::number(store, open).await == 0).await;
        session
    }

    /// Waits until every webhook is delivered and processed, and every mail is sent.
    pub async fn settled(&self) {
        tokio::time::timeout(PATIENCE, self.sandbox.settled()).await.expect("webhooks hang");
        self.until("all work is done", async || self.open_work().await == 0).await;
    }

    /// Syncs every customer with Stripe, whatever events were sent. Returns what differed.
    pub async fn sync_all(&self) -> Report {
        self.settled().await;
        let report = reconcile(&self.app.app, Mode::Apply, AT_ONCE, |_| {}).await.unwrap();
        self.settled().await;
        report
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if waited.await.is_err() {
            let errors = database::texts(&self.app.app.store, ERRORS).await;
            panic!("it never came true that {what}; left in the inbox: {errors:?}");
        }
    }

    /// Returns how many events and mails are not done.
    pub async fn open_work(&self) -> i64 {
        let store = &self.app.app.store;
        database::number(store, "SELECT COUNT(*) FROM inbox WHERE done_at IS NULL").await
            + database::number(store, "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL").await
    }

    /// Returns the buyer's current license, as the API shows it.
    pub async fn license(&self, buyer: &Buyer) -> Value {
        buyer.client.get("/api/licenses/current").await.body
    }

    /// Returns all licenses of a buyer.
    pub async fn licenses(&self, buyer: &Buyer) -> Vec<Value> {
        let answer = buyer.client.get("/api/licenses").await;
        answer.body["licenses"].as_array().unwrap().clone()
    }

    pub async fn orders(&self, buyer: &Buyer) -> Vec<Value> {
        let answer = buyer.client.get("/api/orders").await;
        answer.body["orders"].as_array().unwrap().clone()
    }

    pub async fn subscription(&self, buyer: &Buyer) -> Value {
        buyer.client.get("/api/subscriptions/current").await.body
    }

    /// Verifies a license as an app does, with the published keys and without other network access.
    pub async fn offline(&self, token: &str) -> Result<License, Rejection> {
        let jwks = self.app.client.get("/.well-known/jwks.json").await.text;
        let keys = KeySet::from_jwks(&jwks, "acme-app").unwrap();
        licentia_verify::verify(token, &keys, self.app.app.now().to_system_time())
    }

    /// Asserts that a buyer has exactly one paid license, for the professional plan, and one order,
    /// and that the license verifies as in an app.
    pub async fn must_be_paid(&self, buyer: &Buyer) {
        let license = self.license(buyer).await;
        assert_eq!(license["plan"], "professional", "{license}");
        let verified = self.offline(license["token"].as_str().unwrap()).await.unwrap();
        assert_eq!(verified.claims().plan, "professional");
        let licenses = self.licenses(buyer).await;
        let paid = licenses.iter().filter(|license| license["trial"] == false).count();
        assert_eq!(paid, 1, "more than one license was issued: {licenses:?}");
        let orders = self.orders(buyer).await;
        let succeeded = orders.iter().filter(|order| order["status"] == "succeeded").count();
        assert_eq!((orders.len(), succeeded), (1, 1), "{orders:?}");
    }

    /// Returns the number of Stripe customers.
    pub fn stripe_customers(&self) -> usize {
        self.sandbox.events("customer.created").len()
    }

    /// Changes the address of a buyer, and confirms it by the mailed link.
    pub async fn change_email(&self, buyer: &Buyer, email: &str) {
        let change = json!({ "email": email, "current_password": PASSWORD });
        let requested = buyer.client.patch("/api/customers/me", &change).await;
        assert_eq!(requested.status, 200, "{}", requested.text);
        let mails = || self.sandbox.mails().into_iter().rev();
        let newest = || mails().find(|mail| mail.to.iter().any(|to| to == email));
        self.until("the mail to the new address", async || newest().is_some()).await;
        let text = newest().and_then(|mail| mail.text).unwrap();
        let token = text.split_once("/account/verify#token=").unwrap().1;
        let token = json!({ "token": token.split_whitespace().next() });
        let verified = self.app.client.post("/api/customers/verify", &token).await;
        assert_eq!(verified.status, 200, "{}", verified.text);
    }

    /// Returns the mails to an address, except the one about the trial.
    pub fn mails_about_sales(&self, email: &str) -> Vec<Mail> {
        let mails = self.sandbox.mails();
        let to = mails.into_iter().filter(|mail| mail.to.iter().any(|to| to == email));
        to.filter(|mail| !mail.subject().starts_with("Your trial")).collect()
    }

    /// Returns the Stripe customer of a session.
    pub fn stripe_customer_of(&self, session: &str) -> String {
        self.sandbox.object(session)["customer"].as_str().unwrap().to_owned()
    }

    /// Calls Stripe's API without the service, as the vendor does. Returns the object.
    pub async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/v1/{path}", self.sandbox.url());
        let request = reqwest::Client::new().post(url).bearer_auth(self.sandbox.secret_key());
        let answer = request.form(form).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path} {form:?}");
        answer.json().await.unwrap()
    }

    /// Deletes an object at Stripe, as the vendor does in the dashboard. Returns the answer.
    pub async fn delete_at_stripe(&self, path: &str) -> Value {
        let url = format!("{}/v1/{path}", self.sandbox.url());
        let request = reqwest::Client::new().delete(url).bearer_auth(self.sandbox.secret_key());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Creates a customer at Stripe, as the vendor did before Licentia. Returns the id.
    pub async fn old_customer(&self, email: &str, metadata: &[(&str, &str)]) -> String {
        let metadata = metadata.iter().map(|(key, value)| (format!("metadata[{key}]"), *value));
        let metadata: Vec<_> = metadata.collect();
        let mut form = vec![("email", email)];
        form.extend(metadata.iter().map(|(key, value)| (key.as_str(), *value)));
        self.at_stripe("customers", &form).await["id"].as_str().unwrap().to_owned()
    }

    /// Creates a customer at Stripe with a paid subscription to the professional plan. Returns the
    /// id.
    pub async fn old_buyer(&self, email: &str, metadata: &[(&str, &str)]) -> String {
        let id = self.old_customer(email, metadata).await;
        self.sandbox.replace_card(&id, Card::Paid).unwrap();
        let form = [("customer", id.as_str()), ("items[0][price]", "price_pro_monthly")];
        let made = self.at_stripe("subscriptions", &form).await;
        assert_eq!(made["status"], "active", "{made}");
        id
    }

    /// Delivers an event, even if it was delivered before.
    pub async fn redeliver(&self, event: &str) {
        let now = self.sandbox.clock().now();
        let webhook = self.sandbox.webhook(event, &self.endpoint, now).unwrap();
        let body = str::from_utf8(&webhook.body).unwrap();
        let answer = self.app.client.deliver(body, Some(&webhook.signature)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Returns the subscription of a session.
    pub fn subscription_of(&self, session: &str) -> String {
        self.sandbox.object(session)["subscription"].as_str().unwrap().to_owned()
    }
}

const ERRORS: &str = "SELECT kind || ': ' || COALESCE(last_error, '-') FROM inbox
     WHERE done_at IS NULL
     UNION ALL SELECT kind || ': ' || COALESCE(last_error, '-') FROM outbox
     WHERE sent_at IS NULL";

/// Returns an event about a Stripe customer, as Stripe would send it.
pub fn event(id: &str, livemode: bool, customer: &str) -> String {
    let object = json!({ "object": "subscription", "id": "sub_1", "customer": customer });
    let kind = "customer.subscription.updated";
    json!({ "id": id, "object": "event", "type": kind, "created": START, "livemode": livemode,
        "data": { "object": object } })
    .to_string()
}

/// Writes the built-in plans with a policy to a file. The file exists as long as the returned
/// directory.
pub fn plans_with(policy: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plans.toml");
    let text = format!("{}\n[policy]\n{policy}\n", include_str!("../../../plans.toml"));
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    (directory, path)
}

/// Opens a shop with this policy.
pub async fn shop_with_policy(policy: &str) -> Shop {
    let (_directory, file) = plans_with(policy);
    Shop::open_with(Options::default(), &[("LICENTIA_PLANS_FILE", &file)]).await
}

/// Returns the session that a checkout's URL names.
pub fn session_of(url: &str) -> String {
    url.rsplit('/').next().unwrap().to_owned()
}
