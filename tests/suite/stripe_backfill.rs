//! `licentia stripe backfill`, as an operator runs it: what it says, its exit codes, and a death on the way.
//! What it does is tested in `backfill`.

use licentia::fail_point::BACKFILL;
use licentia_sandbox::{Card, Interval, NewPrice, Options, Sandbox};
use serde_json::Value;

use crate::harness::TestDatabase;
use crate::harness::database::{execute, number, texts};
use crate::harness::process::{Done, licentia, run};

/// What a vendor has. Everything lives by the machine's clock.
struct Vendor {
    directory: tempfile::TempDir,
    database: TestDatabase,
    sandbox: Sandbox,
}

impl Vendor {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        sandbox.add_price(&NewPrice {
            id: "price_pro_monthly",
            product: "Professional",
            amount: 4900,
            currency: "usd",
            interval: Interval::Month,
        });
        let vendor = Self { directory, database, sandbox };
        for setting_up in [&["migrate"][..], &["keys", "generate"]] {
            assert_eq!(vendor.run(setting_up, &[]).await.code, 0);
        }
        vendor
    }

    /// In a thread of its own: the double answers from this one.
    async fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Done {
        let mut command = licentia(self.directory.path());
        command
            .args(arguments)
            .env("LICENTIA_DATABASE_URL", &self.database.url)
            .env("LICENTIA_STRIPE__SECRET_KEY", self.sandbox.secret_key())
            .env("LICENTIA_STRIPE__API_URL", self.sandbox.url())
            .envs(more.iter().copied());
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    }

    async fn backfill(&self, more: &[&str]) -> Done {
        self.run(&[&["stripe", "backfill"], more].concat(), &[]).await
    }

    async fn buyer(&self, email: &str) -> String {
        let post = async |path: &str, form: &[(&str, &str)]| -> Value {
            let url = format!("{}/v1/{path}", self.sandbox.url());
            let request = reqwest::Client::new().post(url).bearer_auth(self.sandbox.secret_key());
            request.form(form).send().await.unwrap().json().await.unwrap()
        };
        let customer = post("customers", &[("email", email)]).await;
        let id = customer["id"].as_str().unwrap().to_owned();
        self.sandbox.replace_card(&id, Card::Paid).unwrap();
        let form = [("customer", id.as_str()), ("items[0][price]", "price_pro_monthly")];
        assert_eq!(post("subscriptions", &form).await["status"], "active");
        id
    }
}

#[tokio::test]
async fn the_command_tells_what_it_does_and_what_is_left() {
    let vendor = Vendor::new().await;
    let ada = vendor.buyer("ada@example.com").await;
    let looked = vendor.backfill(&["--dry-run"]).await;
    assert_eq!(looked.code, 1, "{looked:?}");
    let line = format!("left: {ada} (ada@example.com), who pays for professional: nobody here");
    assert!(looked.out.contains(&line), "{looked:?}");
    assert!(looked.out.contains("--create makes accounts"), "{looked:?}");
    assert!(looked.out.contains("1 customers at Stripe: 0 linked already, 0 would be worked on"));

    let looked = vendor.backfill(&["--create", "--dry-run", "--json"]).await;
    assert_eq!(looked.code, 1, "{looked:?}");
    let told: Value = serde_json::from_str(&looked.out).unwrap();
    assert_eq!(told["done"][0]["action"], "created");
    assert_eq!(told["done"][0]["customer_id"], Value::Null);

    let done = vendor.backfill(&["--create"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("a new account; subscription: none -> active"), "{done:?}");
    assert!(done.out.contains("license: professional until"), "{done:?}");
    let again = vendor.backfill(&["--create"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    let nothing =
        "1 customers at Stripe: 1 linked already, 0 worked on, 0 failed, 0 left to you.\n";
    assert_eq!(again.out, nothing);
    assert!(done.out.ends_with("The server mails the licenses that were issued.\n"), "{done:?}");

    let sandbox = vendor.sandbox.url().to_owned();
    vendor.sandbox.stop().await;
    let mut command = licentia(vendor.directory.path());
    command
        .args(["stripe", "backfill"])
        .env("LICENTIA_DATABASE_URL", &vendor.database.url)
        .env("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1")
        .env("LICENTIA_STRIPE__API_URL", &sandbox);
    let failed = run(&mut command);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("Stripe cannot be reached"), "{failed:?}");
    let nothing = run(licentia(vendor.directory.path()).args(["stripe", "backfill"]));
    assert!(nothing.err.contains("set LICENTIA_STRIPE__SECRET_KEY"), "{nothing:?}");
}

#[tokio::test]
async fn a_death_on_the_way_changes_nothing_in_the_end() {
    for point in BACKFILL.into_iter().chain(["sync.fetched", "settle.written"]) {
        let vendor = Vendor::new().await;
        let ada = vendor.buyer("ada@example.com").await;
        let create = ["stripe", "backfill", "--create"];
        let died = vendor.run(&create, &[("FAIL_POINT", point)]).await;
        assert_eq!(died.code, -1, "{point}: {died:?}");
        // A minute later.
        let store = vendor.database.open().await;
        execute(&store, "UPDATE customer_leases SET leased_until = NULL").await.unwrap();
        let done = vendor.run(&create, &[]).await;
        assert_eq!(done.code, 0, "{point}: {done:?}");
        for (rows, expected) in [
            ("customers WHERE stripe_synced_at IS NOT NULL", 1),
            ("customers", 1),
            ("licenses", 1),
            ("outbox", 1),
            ("orders", 1),
        ] {
            let count = number(&store, &format!("SELECT COUNT(*) FROM {rows}")).await;
            assert_eq!(count, expected, "{point}: {rows}");
        }
        let id = texts(&store, "SELECT customer_id FROM customers").await.remove(0);
        assert_eq!(vendor.sandbox.object(&ada)["metadata"]["customer_id"], id, "{point}");
        store.close().await;
    }
}
