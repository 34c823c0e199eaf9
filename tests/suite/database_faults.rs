//! The database fails in the middle of a sale: it is locked, full, read-only, or restarted.
//! Requests that need to write are told to come back, and everything else works. When the fault is
//! over, the sale ends without help, as if nothing had happened.

use std::time::Duration;

use licentia::store::Store;
use licentia_sandbox::{Card, Options, sign};
use serde_json::json;

use crate::harness::database::{HeldLock, Kind, execute, kind, read_only_database};
use crate::harness::pause::Pause;
use crate::harness::postgres::Cluster;
use crate::harness::shop::{Buyer, Peer, Shop, event};
use crate::harness::{Answer, PASSWORD};

/// The longest time until every running delivery got a response or was given up.
const PATIENCE: Duration = Duration::from_secs(60);

impl Shop {
    /// Checks that the keys and liveness are served, which works without a database.
    async fn must_serve_keys(&self) {
        for path in ["/.well-known/jwks.json", "/health/live"] {
            assert_eq!(self.app.client.get(path).await.status, 200, "{path}");
        }
    }

    /// Checks the requests that work while the database can be read.
    async fn must_serve_readers(&self, ada: &Buyer) {
        self.must_serve_keys().await;
        let asked = json!({ "token": ada.trial });
        let verdict = self.app.client.post("/api/licenses/verify", &asked).await;
        assert_eq!((verdict.status, &verdict.body["valid"]), (200, &json!(true)));
        assert_eq!(self.app.client.get("/health/ready").await.status, 200);
    }

    /// Sends an event about an unknown customer.
    async fn send_event(&self) -> Answer {
        let body = event("evt_1", false, "cus_stranger");
        let signature = sign(&[&self.secret], self.sandbox.clock().now(), body.as_bytes());
        self.app.client.deliver(&body, Some(&signature)).await
    }

    /// Checks that Stripe and sign-ups, which need to write, are told to come back.
    async fn must_refuse_writers(&self) {
        let refused = self.send_event().await;
        assert_eq!(refused.status, 503, "{refused:?}");
        let wait = refused.header("retry-after");
        assert!(wait.parse::<u64>().is_ok_and(|seconds| seconds > 0), "Retry-After: {wait:?}");
        let account = json!({ "email": "late@example.com", "password": PASSWORD });
        let refused = self.app.client.post("/api/customers/signup", &account).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(!refused.header("retry-after").is_empty());
    }

    /// Starts a server as the only one with a worker. It pauses at these places once they are
    /// armed.
    async fn only_server_with(&mut self, pauses: &[&Pause]) -> Peer {
        self.end_worker().await;
        self.server_with(Pause::any_of(pauses)).await
    }

    /// Pays, and waits until the worker pauses with it.
    async fn pay_until(&self, session: &str, pause: &Pause) {
        pause.arm();
        self.sandbox.pay(session, Card::Paid).unwrap();
        self.until("the sale pauses", async || pause.has_begun()).await;
    }

    /// Waits until Stripe was told to come back.
    async fn until_a_delivery_is_refused(&self) {
        self.until("a delivery is refused", async || {
            self.sandbox.deliveries().iter().any(|delivery| delivery.last.starts_with("HTTP 503"))
        })
        .await;
    }

    /// Checks that the sale ends as if nothing had happened: Stripe delivers again.
    async fn must_recover(&self, ada: &Buyer) {
        tokio::time::timeout(PATIENCE, self.sandbox.settled()).await.expect("a delivery hangs");
        self.sandbox.retry_deliveries();
        self.until("all is done", async || {
            // Every failed attempt is due again within a minute.
            self.sandbox.advance(Duration::from_secs(1));
            // A request for the license can cause a sync with Stripe, and leaves a mail to send.
            self.open_work().await == 0
                && self.license(ada).await["trial"] == false
                && self.open_work().await == 0
        })
        .await;
        self.must_be_paid(ada).await;
        assert_eq!(self.stripe_customers(), 1);
        assert_eq!(self.mails_about_sales(&ada.email).len(), 1);
        assert_eq!(self.app.client.get("/health/ready").await.status, 200);
    }
}

/// The time for which another program prevents every write: several times as long as any wait.
const LOCK_HELD: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_write_lock_held_for_30_seconds_delays_a_sale_and_nothing_else_stripe_5() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    let pause = Pause::at("sync.fetched");
    let _server = shop.only_server_with(&[&pause]).await;
    // The paid license is about to be written when the lock is taken.
    shop.pay_until(&session, &pause).await;
    shop.sandbox.settled().await;
    let lock =
        HeldLock::take(&shop.app.config.database_url, "users, customers, inbox, outbox").await;
    pause.end();
    let released = tokio::time::sleep(LOCK_HELD);
    tokio::pin!(released);
    let mut refused = 0;
    loop {
        tokio::select! {
            () = &mut released => break,
            _ = async {
                tokio::join!(shop.must_refuse_writers(), shop.must_serve_readers(&ada))
            } => refused += 1,
        }
    }
    assert!(refused > 1, "{refused}");
    assert_eq!(shop.app.count("licenses").await, 1);
    lock.release().await;
    shop.must_recover(&ada).await;
    assert_eq!(shop.send_event().await.status, 200);
}

#[tokio::test]
async fn a_read_only_database_delays_a_sale_and_nothing_else_stripe_5() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    read_only(&shop, true).await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until_a_delivery_is_refused().await;
    shop.must_refuse_writers().await;
    shop.must_serve_readers(&ada).await;
    assert_eq!(shop.license(&ada).await["plan"], "trial");
    read_only(&shop, false).await;
    shop.must_recover(&ada).await;
}

/// Makes the database read-only, or writable again.
async fn read_only(shop: &Shop, on: bool) {
    match &shop.app.app.store {
        // The same error as for a read-only file, which does not stop root from writing.
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

/// PostgreSQL's behavior when its disk is full.
const FULL_DISK: &str = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full';
     END $$";

/// Makes writing an event fail as on a full disk. On SQLite once, because the connection is
/// replaced afterwards. On PostgreSQL, whose disk is its own, until the trigger is dropped.
async fn fill_the_disk(store: &Store) {
    let full = match kind() {
        Kind::Sqlite => "PRAGMA max_page_count = 1",
        Kind::Postgres => {
            let full =
                "CREATE TRIGGER full_disk BEFORE INSERT ON inbox EXECUTE FUNCTION full_disk()";
            &format!("{FULL_DISK}; {full}")
        }
    };
    execute(store, full).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stays_full_delays_running_work_and_loses_nothing_stripe_5() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    let (sale, mail) = (Pause::at("sync.fetched"), Pause::at("mail.link_made"));
    let _server = shop.only_server_with(&[&sale, &mail]).await;
    // A license is about to be written, and a mail about to be sent and recorded.
    shop.pay_until(&session, &sale).await;
    mail.arm();
    shop.buyer("eve@example.com").await;
    shop.until("the mail pauses", async || mail.has_begun()).await;
    write_nothing(&shop.app.app.store, true).await;
    sale.end();
    mail.end();
    let to_eve = || {
        let mails = shop.sandbox.mails();
        let to_eve = mails.iter().filter(|mail| mail.to.iter().any(|to| to == "eve@example.com"));
        to_eve.map(|mail| mail.header("Message-ID").to_owned()).collect::<Vec<_>>()
    };
    shop.until("the mail is sent", async || to_eve().len() == 1).await;
    for _ in 0..3 {
        // Everything that failed fails again.
        shop.sandbox.advance(Duration::from_secs(60));
        shop.must_refuse_writers().await;
        shop.must_serve_readers(&ada).await;
        assert_eq!(shop.license(&ada).await["plan"], "trial");
    }
    write_nothing(&shop.app.app.store, false).await;
    shop.must_recover(&ada).await;
    // The mail was accepted, but not recorded.
    let mut mails = to_eve();
    assert!(mails.len() > 1, "{mails:?}");
    mails.dedup();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(shop.send_event().await.status, 200);
}

/// The tables that a sale, a sign-up, the inbox and the outbox write.
const TABLES: [&str; 11] = [
    "users",
    "customers",
    "sessions",
    "licenses",
    "outbox",
    "inbox",
    "subscriptions",
    "orders",
    "stripe_attempts",
    "customer_leases",
    "audit_log",
];

/// Makes every write fail as on a full disk, and end its transaction, while `on`. A real full disk
/// is in the previous test; it cannot last for one file among others.
async fn write_nothing(store: &Store, on: bool) {
    let mut statements = Vec::new();
    if let (Kind::Postgres, true) = (kind(), on) {
        statements.push(FULL_DISK.to_owned());
    }
    for table in TABLES {
        match (kind(), on) {
            (Kind::Postgres, true) => statements.push(format!(
                "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON {table}
                 EXECUTE FUNCTION full_disk()"
            )),
            (Kind::Postgres, false) => {
                statements.push(format!("DROP TRIGGER full_disk ON {table}"))
            }
            (Kind::Sqlite, _) => {
                for what in ["INSERT", "UPDATE", "DELETE"] {
                    let name = format!("full_disk_{table}_{what}");
                    statements.push(if on {
                        format!(
                            "CREATE TRIGGER {name} BEFORE {what} ON {table} BEGIN
                                 SELECT RAISE(ROLLBACK, 'database or disk is full'); END"
                        )
                    } else {
                        format!("DROP TRIGGER {name}")
                    });
                }
            }
        }
    }
    let all = format!("BEGIN; {}; COMMIT", statements.join(";\n"));
    execute(store, &all).await.unwrap();
}

#[tokio::test]
async fn a_postgresql_that_is_restarted_delays_a_sale_and_nothing_else_stripe_5() {
    if kind() == Kind::Sqlite {
        return; // SQLite has no server.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_restarted_under_an_open_transaction_loses_nothing_stripe_5() {
    if kind() == Kind::Sqlite {
        return; // SQLite has no server.
    }
    let (cluster, url) = Cluster::with_database().await;
    let own = [("LICENTIA_DATABASE_URL", url.as_str())];
    let mut shop = Shop::open_with(Options::default(), &own).await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    let pause = Pause::at("settle.written");
    let _server = shop.only_server_with(&[&pause]).await;
    // All effects of the payment are written, but not committed.
    shop.pay_until(&session, &pause).await;
    cluster.stop_server();
    pause.end();
    shop.must_serve_keys().await;
    assert_eq!(shop.app.client.get("/health/ready").await.status, 503);
    cluster.start_server();
    assert_eq!(shop.app.count("licenses").await, 1, "what was not committed is there");
    shop.must_recover(&ada).await;
}
