//! The process dies by SIGKILL at each fail point of a purchase by a payment link, and restarts.
//! Ada bought as a guest with the address of an account that a stranger opened, and proves that the
//! mailbox is hers; Bob bought as a guest and has no account. Each ends with one license.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use licentia_sandbox::{Card, Interval, NewPrice};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::PASSWORD;
use crate::harness::database::{count, number, texts};
use crate::harness::patient::{Patient, recovers};

/// How many walk at once: on PostgreSQL each waits for the leases of its dead server.
const AT_ONCE: usize = 5;

const POINTS: [&str; 10] = [
    "buyer.noted",
    "purchase.waits",
    "payment.claimed",
    "stripe_customer.begun",
    "stripe_customer.made",
    "stripe_customer.linked",
    "sync.fetched",
    "settle.committed",
    "password.written",
    "password.changed",
];

const PLANS: &str = r#"
[[plan]]
id = "studio"
name = "Studio"
prices = [{ id = "price_once", interval = "once", amount = 30000, currency = "usd" }]
[checkout]
allow_unknown_buyers = true
"#;

const ADA: &str = "ada@example.com";

const BOB: &str = "bob@example.com";

const UNDONE: &str = "SELECT (SELECT COUNT(*) FROM inbox WHERE done_at IS NULL)
     + (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL)";

impl Patient {
    /// Returns the texts of the mails to an address with this subject. A mail that was accepted and
    /// not recorded is sent again, with the same id.
    fn letters(&self, to: &str, subject: &str) -> Vec<String> {
        let mails = self.sandbox.mails();
        let wanted = mails.iter().filter(|mail| {
            mail.subject() == subject && mail.to.iter().any(|address| address == to)
        });
        let by_id: BTreeMap<_, _> =
            wanted.map(|mail| (mail.header("Message-ID"), mail.text.clone().unwrap())).collect();
        by_id.into_values().collect()
    }

    async fn buy_as_guest(&self, email: &str) {
        let terms = [("line_items[0][price]", "price_once"), ("line_items[0][quantity]", "1")];
        let link = self.at_stripe("payment_links", &terms).await;
        let session = self.sandbox.open_payment_link(link["id"].as_str().unwrap(), None).unwrap();
        self.sandbox.pay_as(&session, Card::Paid, email).unwrap();
    }

    /// Waits until a condition holds, and restarts a server that died.
    async fn until(&mut self, holds: impl AsyncFn(&Self) -> bool) {
        while !holds(self).await {
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn walk(point: &'static str) {
    let mut patient = Patient::admit(point, Some(point), Some(PLANS), &[]).await;
    patient.sandbox.add_price(&NewPrice {
        id: "price_once",
        product: "Studio",
        amount: 30_000,
        currency: "usd",
        interval: Interval::Once,
    });
    let store = patient.database.open().await;
    let account = json!({ "email": ADA, "password": PASSWORD });
    let (status, stranger) = patient.call(Method::POST, "/api/customers/signup", "", account).await;
    assert_eq!(status, 201, "{point}: {stranger}");
    let trial = stranger["license"]["token"].as_str().unwrap();

    patient.buy_as_guest(ADA).await;
    patient.buy_as_guest(BOB).await;
    let waits = "Your purchase of acme-app";
    patient.until(async |patient| !patient.letters(ADA, waits).is_empty()).await;
    let mail = patient.letters(ADA, waits).remove(0);
    let (_, rest) = mail.split_once("#token=").unwrap();
    let token = rest.split_whitespace().next().unwrap();
    let chosen = json!({ "token": token, "password": "OwnedByTheBuyer" });
    let reset = "/api/customers/password/reset";
    let (status, answer) = patient.call(Method::POST, reset, "", chosen).await;
    // The response of the first call may have been lost after its effect.
    assert!(status == 200 || answer["code"] == "link_used", "{point}: {answer}");

    let current = "SELECT c.email || ' ' || l.plan FROM licenses l
         JOIN customers c ON c.customer_id = l.customer_id
         WHERE l.superseded_at IS NULL AND l.revoked_at IS NULL ORDER BY 1";
    patient
        .until(async |_| {
            texts(&store, current).await == ["ada@example.com studio", "bob@example.com studio"]
                && number(&store, UNDONE).await == 0
        })
        .await;
    patient.revive().await;
    assert_eq!(patient.deaths, 1, "{point}");
    for table in ["customers", "orders", "guest_purchases"] {
        assert_eq!(count(&store, table).await, 2, "{point}: {table}");
    }
    for table in ["unknown_buyers", "waiting_purchases"] {
        assert_eq!(count(&store, table).await, 0, "{point}: {table}");
    }
    assert_eq!(patient.sandbox.events("customer.created").len(), 2, "{point}");
    for (to, subject) in
        [(ADA, waits), (ADA, "Your new license for acme-app"), (BOB, "Your license for acme-app")]
    {
        assert_eq!(patient.letters(to, subject).len(), 1, "{point}: {subject}");
    }
    let refresh = "/api/licenses/refresh";
    let (_, refused) = patient.call(Method::POST, refresh, trial, json!({})).await;
    assert_eq!(refused["code"], "revoked", "{point}: {refused}");
    let (_, seen) = patient
        .call(Method::GET, "/api/orders", stranger["access_token"].as_str().unwrap(), Value::Null)
        .await;
    assert_eq!(seen["code"], "unauthenticated", "{point}: {seen}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_by_payment_link_survives_a_death_at_each_point_stripe_4_28() {
    let dies = async |point: &'static str| recovers(point, walk(point)).await;
    stream::iter(POINTS).for_each_concurrent(AT_ONCE, dies).await;
}
