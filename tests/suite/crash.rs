//! The process dies by SIGKILL at each fail point of a sale and restarts, and the result is the
//! same as without the death. These tests use the real binary, a real database, and Stripe's double
//! with its mail inbox over loopback. Every write passes a fail point, so none is missed.
//!
//! Each place is tested twice. The first death is at the first passage, in the sign-up, in a
//! checkout or for the trial's mail. The second is at the first passage after a payment, for the
//! paid event and its mail.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use licentia::clock::{Clock, SystemClock};
use licentia::domain::ids::TaskId;
use licentia::domain::sale::inbox::TaskKind;
use licentia::fail_point::{FailPoints, Place};
use licentia::store::Store;
use licentia_sandbox::{ApiFault, Card, Times};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::PASSWORD;
use crate::harness::database::{Kind, count, execute, kind, number, texts};
use crate::harness::patient::{ARMED, Patient};
use crate::harness::shop::session_of;

/// The longest duration of one sale. On PostgreSQL a dead server's leases end within a minute,
/// and all tests that run at once share a machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Returns how many die at once after a payment. On SQLite a few, because the inbox has ten seconds
/// while the reconciliation waits for Stripe. On PostgreSQL all, because they wait for the leases
/// of the dead servers.
fn deaths_at_once() -> usize {
    match kind() {
        Kind::Sqlite => 4,
        Kind::Postgres => 12,
    }
}

/// Returns how many die at once at their first passage. On SQLite a few: each needs the processor,
/// and the time for all is limited. On PostgreSQL more, because they wait for leases.
fn first_deaths_at_once() -> usize {
    match kind() {
        Kind::Sqlite => 6,
        Kind::Postgres => 16,
    }
}

const EMAIL: &str = "ada@example.com";

/// The prices of the built-in plans by the month: id, product and amount.
const PRICES: [(&str, &str, i64); 2] =
    [("price_starter_monthly", "Starter", 1900), ("price_pro_monthly", "Professional", 4900)];

const UNDONE: &str = "SELECT (SELECT COUNT(*) FROM inbox WHERE done_at IS NULL)
     + (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL)";

/// The number of reconciliations.
const COMPARISONS: &str = "SELECT COUNT(*) FROM audit_log WHERE action = 'stripe.compared'";

/// The seconds for which the test holds a customer's lease. It is longer than the reconciliation at
/// the start waits: 10 s for Stripe and then 15 s for the customer.
const HELD_SECONDS: i64 = 40;

/// The fail points that a paid event passes, from its arrival to the acceptance of its mail: their
/// first words.
const ON_THE_WAY: [&str; 6] = ["webhook", "inbox", "lease", "sync", "settle", "mail"];

/// The fail points that it does not pass: those for events about no customer, or about one who is
/// not linked, for a sync that takes long, and for a mail with a link.
const OFF_THE_WAY: [&str; 5] =
    ["webhook.ignored", "inbox.foreign", "settle.nothing", "lease.renewed", "mail.link_made"];

/// The fail points after which the license is written.
const EFFECT_WRITTEN: [&str; 5] =
    ["settle.committed", "lease.released", "mail.taken", "mail.accepted", "mail.noted"];

/// Waits until a condition holds. The limit is that of the whole test.
async fn until(holds: impl AsyncFn() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Patient {
    /// Starts a service that dies at its first passage of this place.
    async fn new(point: &'static str) -> Self {
        Self::started(point, Some(point)).await
    }

    async fn started(point: &'static str, fail_point: Option<&str>) -> Self {
        Self::admit(point, fail_point, None, &PRICES).await
    }

    /// Signs up, or logs in if the sign-up was stored before the death.
    async fn sign_in(&mut self) -> String {
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        let signup = "/api/customers/signup";
        let (mut status, mut answer) = self.call(Method::POST, signup, "", account.clone()).await;
        if status == 409 {
            let login = "/api/customers/login";
            (status, answer) = self.call(Method::POST, login, "", account).await;
        }
        assert!(status < 300, "{}: {answer}", self.point);
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn checkout(&mut self, plan: &str, token: &str) -> String {
        let back = "https://app.example/";
        let wanted = json!({ "plan": plan, "success_url": back, "cancel_url": back });
        let path = "/api/subscriptions/checkout";
        let (status, answer) = self.call(Method::POST, path, token, wanted).await;
        assert_eq!(status, 200, "{}: {answer}", self.point);
        session_of(answer["checkout_url"].as_str().unwrap())
    }

    /// A sale that passes every fail point: an unnecessary task, an unknown Stripe customer, a plan
    /// that is changed before it is paid, and two calls that Stripe refuses once.
    async fn sell(&mut self) -> String {
        let token = self.sign_in().await;
        let store = self.database.open().await;
        self.leave_a_task(&store).await;
        let stranger = self.at_stripe("customers", &[("email", "eve@example.com")]).await;
        let path = format!("customers/{}", stranger["id"].as_str().unwrap());
        self.at_stripe(&path, &[("name", "Eve")]).await;
        let faults = self.sandbox.faults();
        faults.api_call(ApiFault::Refused, "POST /v1/customers", Times::Next(1));
        let replaced = self.checkout("starter", &token).await;
        let session = self.checkout("professional", &token).await;
        assert_eq!(self.sandbox.object(&replaced)["status"], "expired", "{}", self.point);
        // Other failures are retried at once, so the worker may never meet them.
        faults.api_call(ApiFault::Refused, "GET /v1/subscriptions", Times::Next(1));
        let name = json!({ "name": "Ada Lovelace" });
        self.call(Method::PATCH, "/api/customers/me", &token, name).await;
        self.sandbox.pay(&session, Card::Paid).unwrap();
        // The worker must meet that failure, not a request for the license.
        while !self.sandbox.faults().active().is_empty() {
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        loop {
            let (_, license) =
                self.call(Method::GET, "/api/licenses/current", &token, Value::Null).await;
            let paid = license["plan"] == "professional" && self.mails().len() == 2;
            if paid && number(&store, UNDONE).await == 0 && !self.revive().await {
                break;
            }
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(count(&store, "customers").await, 1, "{}", self.point);
        let stripe_id = texts(&store, "SELECT stripe_customer_id FROM customers").await.remove(0);
        assert_eq!(self.sandbox.object(&stripe_id)["name"], "Ada Lovelace", "{}", self.point);
        store.close().await;
        token
    }

    /// Leaves a change of a customer who is not linked any more, and waits until it is done.
    async fn leave_a_task(&mut self, store: &Store) {
        let id = texts(store, "SELECT customer_id FROM customers").await.remove(0);
        let mut tx = store.write().await.unwrap();
        let (task, now) = (TaskId::from_random(1), SystemClock.now());
        let kind = TaskKind::CustomerChanged;
        tx.insert_task(&task, kind, &id.parse().unwrap(), now).await.unwrap();
        tx.commit(FailPoints::default().at(Place::AccountChanged)).await.unwrap();
        while number(store, "SELECT COUNT(*) FROM inbox WHERE done_at IS NULL").await > 0 {
            self.revive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Prepares everything for a payment, and arms the fail point for the first passage from then
    /// on.
    async fn wait_for_payment(&mut self, store: &Store) -> String {
        let token = self.sign_in().await;
        let session = self.checkout("professional", &token).await;
        self.sandbox.settled().await;
        until(async || number(store, UNDONE).await == 0).await;
        // This ends all current work. The reconciliation at the start follows.
        assert_eq!(self.server.end(), Some(0), "{}", self.point);
        let before = number(store, COMPARISONS).await;
        self.start_again(Some(&format!("{}@{ARMED}", self.point)));
        self.register().await;
        until(async || number(store, COMPARISONS).await > before).await;
        std::fs::write(self.directory.path().join(ARMED), "").unwrap();
        session
    }

    /// Checks what a death after a payment left: the whole event or nothing, and all of its effects
    /// or nothing.
    async fn must_have_left_all_or_nothing(&self, store: &Store, arrived_before: i64) {
        let point = self.point;
        let arrived = count(store, "inbox").await - arrived_before;
        let undone = number(store, "SELECT COUNT(*) FROM inbox WHERE done_at IS NULL").await;
        let sold = EFFECT_WRITTEN.contains(&point);
        assert_eq!(arrived > 0, point != "webhook.written", "{point}: {arrived} events are there");
        assert_eq!(undone < arrived, sold, "{point}: {undone} of {arrived} are undone");
        assert_eq!(count(store, "licenses").await, 1 + i64::from(sold), "{point}");
    }

    /// Pays, dies and restarts, so that only the inbox can help. Stripe does not deliver a stored
    /// event again, and no request asks for the license. The reconciliation at the start is too
    /// late: it waits for a list of events that never arrives. On PostgreSQL, where a dead server's
    /// leases outlive that, it then finds the customer leased for longer than it waits.
    async fn sell_and_die_on_the_way(&mut self) {
        let store = self.database.open().await;
        let session = self.wait_for_payment(&store).await;
        let arrived_before = count(&store, "inbox").await;
        let faults = self.sandbox.faults();
        if self.point == "inbox.failed" {
            faults.api_call(ApiFault::Refused, "GET /v1/subscriptions", Times::Next(1));
        }
        self.sandbox.pay(&session, Card::Paid).unwrap();
        while !self.has_died() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.sandbox.settled().await;
        self.must_have_left_all_or_nothing(&store, arrived_before).await;

        faults.api_call(ApiFault::Silence, "GET /v1/events", Times::Always);
        let held = (SystemClock.now() + TimeDelta::seconds(HELD_SECONDS)).epoch_seconds();
        let compared = number(&store, COMPARISONS).await;
        let hold = format!("UPDATE customer_leases SET fence = fence + 1, leased_until = {held}");
        execute(&store, &hold).await.unwrap();
        self.start_again(None);
        if self.point == "webhook.written" {
            self.register().await;
            self.sandbox.retry_deliveries();
        }
        let done =
            async || count(&store, "licenses").await == 2 && number(&store, UNDONE).await == 0;
        until(done).await;
        // If the event is not stored, it is delivered again.
        self.register().await;
        self.sandbox.retry_deliveries();
        self.sandbox.settled().await;
        let all_done = async || {
            number(&store, UNDONE).await == 0 && number(&store, COMPARISONS).await > compared
        };
        until(all_done).await;
        self.must_have_sold_by_the_inbox(&store).await;
        store.close().await;
    }

    /// Checks that the inbox processed the events, and that no reconciliation had anything to
    /// repair.
    async fn must_have_sold_by_the_inbox(&self, store: &Store) {
        let point = self.point;
        let of_nobody = "SELECT COUNT(*) FROM inbox WHERE body = ''";
        assert_eq!(
            number(store, of_nobody).await,
            0,
            "{point}: an event was taken for a stranger's"
        );
        for told in
            texts(store, "SELECT detail FROM audit_log WHERE action = 'stripe.compared'").await
        {
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["drifted"], 0, "{point}: a comparison mended what was lost: {told}");
        }
        let issued = "SELECT COUNT(*) FROM audit_log
             WHERE action = 'license.issued' AND actor = 'system'";
        assert_eq!(number(store, issued).await, 1, "{point}");
    }

    /// Returns the subject and the Message-ID of every mail, each pair once.
    fn mails(&self) -> Vec<(String, String)> {
        let mails = self.sandbox.mails();
        let told =
            mails.iter().map(|m| (m.subject().to_owned(), m.header("Message-ID").to_owned()));
        let mut told: Vec<_> = told.collect();
        told.sort();
        told.dedup();
        told
    }

    async fn must_be_whole(&mut self, token: &str) {
        let point = self.point;
        assert_eq!(self.deaths, 1, "{point}: it did not die there, or died again");
        assert_eq!(self.sandbox.events("customer.subscription.created").len(), 1, "{point}");
        let (_, answer) = self.call(Method::GET, "/api/licenses", token, Value::Null).await;
        let licenses = answer["licenses"].as_array().unwrap();
        let paid = licenses.iter().filter(|license| license["trial"] == false).count();
        assert_eq!((licenses.len(), paid), (2, 1), "{point}: {answer}");
        let (_, answer) = self.call(Method::GET, "/api/orders", token, Value::Null).await;
        let orders = answer["orders"].as_array().unwrap();
        let statuses = |plan: &str| -> Vec<_> {
            let of_plan = orders.iter().filter(|order| order["plan"] == plan);
            of_plan.map(|order| order["status"].as_str().unwrap()).collect()
        };
        assert_eq!(statuses("professional"), ["succeeded"], "{point}");
        // It died between closing the replaced checkout and forgetting it. The order has failed,
        // with its reason.
        let replaced = statuses("starter");
        assert!(matches!(*replaced, [] | ["failed"]), "{point}: {answer}");
        let mails = self.mails();
        let subjects: Vec<_> = mails.iter().map(|(subject, _)| subject.as_str()).collect();
        // A repeated mail has the same Message-ID, so it counts once here.
        assert_eq!(
            subjects,
            ["Your new license for acme-app", "Your trial of acme-app"],
            "{point}"
        );
    }
}

/// Sells while the server dies at its first passage of this place, and checks the result.
async fn die_first(point: &'static str) {
    let lived = tokio::time::timeout(PATIENCE, async {
        let mut patient = Patient::new(point).await;
        let token = patient.sell().await;
        assert_eq!(patient.sandbox.events("customer.created").len(), 2, "{point}: a stranger");
        patient.must_be_whole(&token).await;
    });
    lived.await.unwrap_or_else(|_| panic!("{point}: it did not recover"));
}

/// Each sale has a thread of its own, because the start of a server blocks its thread.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_changes_nothing_in_the_end_stripe_4() {
    let places = Place::ALL.into_iter().filter(|place| place.is_of_a_sale());
    let die = |place: Place| {
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(die_first(place.as_str()));
        })
    };
    let deaths = stream::iter(places.map(die));
    deaths.buffer_unordered(first_deaths_at_once()).for_each(async |done| done.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_paid_event_is_processed_leaves_one_license_and_one_mail_stripe_4() {
    let on_the_way = |point: &&str| {
        let (family, _) = point.split_once('.').unwrap();
        ON_THE_WAY.contains(&family) && !OFF_THE_WAY.contains(point)
    };
    let points: Vec<_> = Place::ALL.map(Place::as_str).into_iter().filter(on_the_way).collect();
    assert_eq!(points.len(), 12, "{points:?}");
    let dies = async |point: &'static str| {
        let lived = tokio::time::timeout(PATIENCE, async {
            let mut patient = Patient::started(point, None).await;
            patient.sell_and_die_on_the_way().await;
            let token = patient.sign_in().await;
            patient.must_be_whole(&token).await;
            if point == "mail.accepted" {
                let mails = patient.sandbox.mails();
                let sale =
                    mails.iter().filter(|mail| mail.subject().starts_with("Your new license"));
                assert_eq!(sale.count(), 2, "a repeat of what was accepted and not noted");
            }
        });
        lived.await.unwrap_or_else(|_| panic!("{point}: it did not recover"));
    };
    stream::iter(points).for_each_concurrent(deaths_at_once(), dies).await;
}
