//! A vendor who sold by Stripe before Licentia: runs the commands against Stripe's double. All of
//! them use the machine's clock.

use licentia_sandbox::{Card, Interval, NewPrice, Options, Sandbox};
use serde_json::Value;

use super::TestDatabase;
use super::process::{Done, licentia, run};

pub struct Vendor {
    pub directory: tempfile::TempDir,
    pub database: TestDatabase,
    pub sandbox: Sandbox,
}

impl Vendor {
    /// Returns a vendor with a schema, a signing key, and a price for the professional plan.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        let vendor = Self { directory, database, sandbox };
        vendor.add_price("price_pro_monthly");
        for setting_up in [&["migrate"][..], &["keys", "generate"]] {
            assert_eq!(vendor.run(setting_up).await.code, 0);
        }
        vendor
    }

    /// Adds a price at Stripe, which a plan may or may not have.
    pub fn add_price(&self, id: &'static str) {
        self.sandbox.add_price(&NewPrice {
            id,
            product: "Professional",
            amount: 4900,
            currency: "usd",
            interval: Interval::Month,
        });
    }

    pub async fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, &[]).await
    }

    /// Runs a command with more in the environment, in a thread of its own, because the double
    /// responds in this one.
    pub async fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Done {
        let mut command = licentia(self.directory.path());
        command
            .args(arguments)
            .env("LICENTIA_DATABASE_URL", &self.database.url)
            .env("LICENTIA_STRIPE__SECRET_KEY", self.sandbox.secret_key())
            .env("LICENTIA_STRIPE__API_URL", self.sandbox.url())
            .envs(more.iter().copied());
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    }

    pub async fn backfill(&self, more: &[&str]) -> Done {
        self.run(&[&["stripe", "backfill"], more].concat()).await
    }

    pub async fn reconcile(&self, more: &[&str]) -> Done {
        self.run(&[&["reconcile"], more].concat()).await
    }

    /// Imports a file with this text. It must succeed.
    pub async fn import(&self, csv: &str) {
        std::fs::write(self.directory.path().join("customers.csv"), csv).unwrap();
        let done = self.run(&["import", "customers", "customers.csv"]).await;
        assert_eq!(done.code, 0, "{done:?}");
    }

    /// Calls Stripe's API. Returns the object.
    pub async fn at_stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/v1/{path}", self.sandbox.url());
        let request = reqwest::Client::new().post(url).bearer_auth(self.sandbox.secret_key());
        request.form(form).send().await.unwrap().json().await.unwrap()
    }

    /// Creates a Stripe customer with a card. Returns the id.
    pub async fn customer(&self, email: &str) -> String {
        let customer = self.at_stripe("customers", &[("email", email)]).await;
        let id = customer["id"].as_str().unwrap().to_owned();
        self.sandbox.replace_card(&id, Card::Paid).unwrap();
        id
    }

    /// Subscribes a Stripe customer to a price. Returns the subscription's id.
    pub async fn subscribe(&self, customer: &str, price: &str) -> String {
        let form = [("customer", customer), ("items[0][price]", price)];
        let made = self.at_stripe("subscriptions", &form).await;
        assert_eq!(made["status"], "active", "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Creates a Stripe customer who pays for the professional plan. Returns the id.
    pub async fn buyer(&self, email: &str) -> String {
        let id = self.customer(email).await;
        self.subscribe(&id, "price_pro_monthly").await;
        id
    }
}
