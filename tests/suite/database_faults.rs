//! The database fails in the middle of a sale: it is locked, full, takes no writes, or is restarted.
//! What needs it to write is told to come back, everything else goes on, and when the fault is over the
//! sale ends as if nothing had been, without anybody's help.

use std::time::Duration;

use licentia::store::Store;
use licentia_sandbox::{Card, Options, sign};
use serde_json::json;

use crate::harness::database::{HeldLock, Kind, execute, kind, read_only_database};
use crate::harness::postgres::Cluster;
use crate::harness::shop::{Buyer, Shop};

/// How long it may take until every delivery under way was answered or given up.
const PATIENCE: Duration = Duration::from_secs(60);

impl Shop {
    /// What goes on whatever the database does: the keys, and whether the process lives.
    async fn must_serve_keys(&self) {
        for path in ["/.well-known/jwks.json", "/health/live"] {
            assert_eq!(self.app.client.get(path).await.status, 200, "{path}");
        }
    }

    /// What goes on for as long as the database can be read.
    async fn must_serve_readers(&self, ada: &Buyer) {
        self.must_serve_keys().await;
        let asked = json!({ "token": ada.trial });
        let verdict = self.app.client.post("/api/licenses/verify", &asked).await;
        assert_eq!((verdict.status, &verdict.body["valid"]), (200, &json!(true)));
        assert_eq!(self.app.client.get("/health/ready").await.status, 200);
    }

    /// Sends an event as Stripe does. Answers the status, and after how many seconds to come back.
    async fn send_event(&self, id: &str) -> (u16, String) {
        let object = json!({ "object": "subscription", "id": "sub_1", "customer": "cus_stranger" });
        let body = json!({ "id": id, "object": "event", "type": "customer.subscription.updated",
            "created": self.sandbox.clock().now(), "livemode": false, "data": { "object": object } })
        .to_string();
        let signature = sign(&[&self.secret], self.sandbox.clock().now(), body.as_bytes());
        let request = reqwest::Client::new()
            .post(format!("{}/api/webhooks/stripe", self.app.client.base))
            .header("content-type", "application/json")
            .header("stripe-signature", signature);
        let answer = request.body(body).send().await.unwrap();
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().unwrap());
        (answer.status().as_u16(), wait.unwrap_or_default().to_owned())
    }

    /// Waits until Stripe was told to come back.
    async fn until_a_delivery_is_refused(&self) {
        self.until("a delivery is refused", async || {
            self.sandbox.deliveries().iter().any(|delivery| delivery.last.starts_with("HTTP 503"))
        })
        .await;
    }

    /// That the sale ends as if nothing had been: Stripe delivers again.
    async fn must_recover(&self, ada: &Buyer) {
        tokio::time::timeout(PATIENCE, self.sandbox.settled()).await.expect("a delivery hangs");
        self.sandbox.retry_deliveries();
        self.until("all is done", async || {
            // Whatever was tried in vain is due again within a minute.
            self.sandbox.advance(Duration::from_secs(1));
            // Asking for the license may be what makes us look at Stripe.
            self.license(ada).await["trial"] == false && self.open_work().await == 0
        })
        .await;
        self.must_be_paid(ada).await;
        assert_eq!(self.counterparts(), 1);
        assert_eq!(self.mails_about_sales(&ada.email).len(), 1);
        assert_eq!(self.app.client.get("/health/ready").await.status, 200);
    }
}

#[tokio::test]
async fn a_write_lock_held_for_long_delays_a_sale_and_nothing_else_stripe_5() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    let lock =
        HeldLock::take(&shop.app.config.database_url, "users, customers, inbox, outbox").await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    let (refused, ()) = tokio::join!(shop.send_event("evt_1"), shop.must_serve_readers(&ada));
    assert_eq!(refused.0, 503);
    assert!(refused.1.parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    shop.until_a_delivery_is_refused().await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    lock.release().await;
    shop.must_recover(&ada).await;
    assert_eq!(shop.send_event("evt_1").await.0, 200);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_delays_a_sale_and_nothing_else_stripe_5() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    read_only(&shop, true).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until_a_delivery_is_refused().await;
    let account = json!({ "email": "eve@example.com", "password": "SecurePass123" });
    let refused = shop.app.client.post("/api/customers/signup", &account).await;
    assert_eq!(refused.problem(), (503, "unavailable"));
    assert!(!refused.header("retry-after").is_empty());
    shop.must_serve_readers(&ada).await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    read_only(&shop, false).await;
    shop.must_recover(&ada).await;
}

/// Lets the database take no writes, or take them again.
async fn read_only(shop: &Shop, on: bool) {
    match &shop.app.app.store {
        // The same error as of a file that is read-only, which would not keep root from writing.
        Store::Sqlite { .. } => {
            execute(&shop.app.app.store, &format!("PRAGMA query_only = {on}")).await.unwrap();
        }
        Store::Postgres(_) => read_only_database(&shop.app.config.database_url, on).await,
    }
}

#[tokio::test]
async fn a_full_disk_delays_a_sale_and_nothing_else_stripe_5() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    fill_the_disk(&shop.app.app.store).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until_a_delivery_is_refused().await;
    shop.must_serve_readers(&ada).await;
    if kind() == Kind::Postgres {
        execute(&shop.app.app.store, "DROP TRIGGER full_disk ON inbox").await.unwrap();
    }
    shop.must_recover(&ada).await;
}

/// Lets writing an event fail as on a full disk: on SQLite once, since the connection is replaced after it;
/// on PostgreSQL, which fills a disk of its own, until the trigger is dropped.
async fn fill_the_disk(store: &Store) {
    let full = match kind() {
        Kind::Sqlite => "PRAGMA max_page_count = 1",
        Kind::Postgres => {
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full';
             END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON inbox EXECUTE FUNCTION full_disk()"
        }
    };
    execute(store, full).await.unwrap();
}

#[tokio::test]
async fn a_postgresql_that_is_restarted_delays_a_sale_and_nothing_else_stripe_5() {
    if kind() == Kind::Sqlite {
        return; // It has no server.
    }
    let (cluster, url) = Cluster::with_database().await;
    let own = [("LICENTIA_DATABASE_URL", url.as_str())];
    let shop = Shop::open_with(Options::default(), &own).await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    cluster.stop_server();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until_a_delivery_is_refused().await;
    shop.must_serve_keys().await;
    assert_eq!(shop.app.client.get("/health/ready").await.status, 503);
    let asked = json!({ "token": ada.trial });
    let verdict = shop.app.client.post("/api/licenses/verify", &asked).await;
    assert_eq!(verdict.status, 503);
    cluster.start_server();
    shop.must_recover(&ada).await;
}
