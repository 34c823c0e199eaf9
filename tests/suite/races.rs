//! Two servers on one database at the same moment: there is one of everything. A server that pauses
//! until its lease is lost writes nothing when it continues. What changes at Stripe between two of
//! our calls.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use licentia::domain::operator::admin_key::Scope;
use licentia::flows::Mode;
use licentia::flows::sale::{inbox, reconcile};
use licentia::stripe::{Double, Needs};
use licentia_sandbox::{Card, DeliveryFault, Times};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::database::{HeldLock, execute, number, texts};
use crate::harness::pause::Pause;
use crate::harness::receiver::Receiver;
use crate::harness::shop::{Buyer, Peer, Shop, session_of};
use crate::harness::{Answer, BEHIND_A_PROXY, Client, PASSWORD, TestApp, stripe_of};
use crate::outgoing::{self, ALLOW_PRIVATE};

/// The number of licenses that were issued for a payment.
const ISSUED: &str = "SELECT COUNT(*) FROM audit_log
     WHERE action = 'license.issued' AND actor = 'system'";

/// Each license, with what tells where it came from.
const LICENSES: &str = "SELECT customer_id || ' ' || seq || ' ' || source || ' ' || plan
         || ' issued ' || issued_at || ' until ' || token_expires_at
     FROM licenses ORDER BY 1";

/// Each mail, with what tells why it was sent.
const MAILS: &str = "SELECT kind || ' ' || created_at || ' sent ' || COALESCE(sent_at, 0)
         || ' attempts ' || attempts
     FROM outbox ORDER BY 1";

impl Shop {
    /// Asserts that a sale took effect once: one Stripe customer, license and order, and one mail,
    /// whose repeats have its Message-ID.
    async fn must_have_sold_once(&self, ada: &Buyer, what: &str) {
        self.must_be_paid(ada).await;
        assert_eq!(self.stripe_customers(), 1, "{what}");
        assert_eq!(number(&self.app.app.store, ISSUED).await, 1, "{what}");
        let licenses = texts(&self.app.app.store, LICENSES).await;
        assert_eq!(licenses.len(), 2, "{what}: more than the trial and the paid one: {licenses:?}");
        assert_eq!(self.app.count("orders").await, 1, "{what}");
        let mails = texts(&self.app.app.store, MAILS).await;
        assert_eq!(mails.len(), 2, "{what}: more than the trial's and the upgrade's: {mails:?}");
        let mails = self.mails_about_sales(&ada.email);
        let mut ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{what}: {ids:?}");
    }
}

#[tokio::test]
async fn the_same_event_50_times_at_two_servers_counts_once_stripe_8() {
    let shop = Shop::open().await;
    let _other = shop.second_server().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    let before = shop.sandbox.events("").len();
    // To both endpoints.
    shop.sandbox.faults().delivery(DeliveryFault::Repeat(50), Times::Always);
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    assert!(shop.sandbox.events("").len() > before);
    shop.must_have_sold_once(&ada, "50 times").await;
    assert_eq!(shop.mails_about_sales(&ada.email).len(), 1);
}

#[tokio::test]
async fn two_plans_at_two_servers_at_once_leave_one_open_checkout_stripe_7() {
    let shop = Shop::open().await;
    let other = shop.second_server().await;
    let ada = shop.buyer("ada@example.com").await;
    let there = other.serves(&ada);
    let asked = (0..8).map(|n| {
        let plan = if n / 2 % 2 == 0 { "professional" } else { "starter" };
        shop.ask(if n % 2 == 0 { &ada } else { &there }, plan)
    });
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    // Her last request counts.
    let last = shop.checkout(&there, "professional").await;
    let sessions = answers.iter().map(|answer| session_of(answer.text("/checkout_url")));
    let open = sessions.filter(|id| shop.sandbox.object(id)["status"] == "open" && *id != last);
    assert_eq!(open.count(), 0, "a second checkout can be paid");
    shop.sandbox.pay(&last, Card::Paid).unwrap();
    shop.settled().await;
    shop.must_have_sold_once(&ada, "two plans").await;
}

#[tokio::test]
async fn two_reconciliations_at_once_repair_each_customer_once() {
    let mut shop = Shop::open().await;
    let other = shop.second_server().await;
    // The events of the sale are lost, until both servers reconcile.
    shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
    let mut buyers = Vec::new();
    for n in 0..4 {
        let buyer = shop.buyer(&format!("ada{n}@example.com")).await;
        let session = shop.checkout(&buyer, "professional").await;
        shop.sandbox.pay(&session, Card::Paid).unwrap();
        buyers.push(buyer);
    }
    let look = |app| reconcile::run(app, Mode::Apply, 2, |_| {});
    let (one, two) = tokio::join!(look(&shop.app.app), look(&other.app));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.failed.len(), two.failed.len()), (0, 0), "{one:?} {two:?}");
    assert_eq!((one.checked, two.checked), (4, 4));
    shop.sandbox.faults().clear();
    shop.settled().await;
    for buyer in &buyers {
        shop.must_be_paid(buyer).await;
        assert_eq!(shop.mails_about_sales(&buyer.email).len(), 1);
    }
    assert_eq!(number(&shop.app.app.store, ISSUED).await, 4);
    shop.end_worker().await;
    other.end_worker().await;
}

/// The fail points outside of transactions, where a server can pause while others continue. In a
/// transaction, the database makes the others wait.
const OUTSIDE_OF_TRANSACTIONS: [&str; 14] = [
    "lease.taken",
    "lease.released",
    "stripe_customer.begun",
    "stripe_customer.made",
    "stripe_customer.linked",
    "checkout.begun",
    "checkout.made",
    "checkout.recorded",
    "webhook.stored",
    "inbox.taken",
    "sync.fetched",
    "settle.committed",
    "mail.taken",
    "mail.noted",
];

/// Those of them that a paid event and its mail pass.
const ON_THE_WAY_OF_A_PAYMENT: [&str; 8] = [
    "webhook.stored",
    "inbox.taken",
    "lease.taken",
    "lease.released",
    "sync.fetched",
    "settle.committed",
    "mail.taken",
    "mail.noted",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pauses_until_its_lease_is_lost_writes_nothing_afterwards_stripe_7() {
    // A few at a time, because each needs three servers.
    let all = stream::iter(OUTSIDE_OF_TRANSACTIONS);
    all.for_each_concurrent(4, one_pauses_on_the_way_to_a_checkout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loses_its_lease_with_a_paid_event_writes_nothing_afterwards_stripe_4() {
    let all = stream::iter(ON_THE_WAY_OF_A_PAYMENT);
    all.for_each_concurrent(4, one_pauses_with_a_paid_event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_server_issues_no_license_for_what_was_refunded_meanwhile_stripe_4() {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let pause = Pause::at("sync.fetched");
    let one = shop.server_with(Pause::any_of(&[&pause])).await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    pause.arm();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until("the sync pauses", async || pause.has_begun()).await;
    shop.sandbox.refund(&shop.sandbox.payment_intent(&session).unwrap(), None).unwrap();
    // Nobody else takes the lease, and the server's timers have not moved on.
    shop.sandbox.advance(Duration::from_secs(3600));
    pause.end();
    shop.settled().await;
    assert_eq!(number(&shop.app.app.store, ISSUED).await, 0);
    one.end_worker().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_loses_its_lease_keeps_a_customer_who_opened_a_checkout() {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let pause = Pause::at("checkout.closed");
    let one = shop.server_with(Pause::any_of(&[&pause])).await;
    let other = shop.second_server().await;
    let ada = shop.buyer("ada@example.com").await;
    shop.checkout(&ada, "professional").await;
    pause.arm();
    let leaving = one.serves(&ada);
    let deletion =
        tokio::spawn(async move { leaving.client.delete("/api/customers/me").await.status });
    shop.until("the deletion pauses", async || pause.has_begun()).await;
    shop.sandbox.advance(PAST_THE_LEASES);
    let base = shop.app.client.base.clone();
    let opened = Shop::ask_to_return(&other.serves(&ada), "professional", &base).await;
    pause.end();
    assert_eq!(deletion.await.unwrap(), 503);
    shop.sandbox.pay(&session_of(opened.text("/checkout_url")), Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["plan"], "professional");
    for server in [one, other] {
        server.end_worker().await;
    }
}

async fn one_pauses_on_the_way_to_a_checkout(place: &'static str) {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let pause = Pause::at(place);
    pause.arm();
    let one = shop.server_with(Pause::any_of(&[&pause])).await;
    let other = shop.server_with(Pause::any_of(&[&pause])).await;
    let ada = shop.buyer("ada@example.com").await;

    let (mut session, mut late) = (String::new(), Vec::new());
    for server in [&one, &other, &one] {
        let (buyer, base) = (server.serves(&ada), shop.app.client.base.clone());
        let paused = pause.has_begun();
        let asked =
            tokio::spawn(async move { Shop::ask_to_return(&buyer, "professional", &base).await });
        let over = async || asked.is_finished() || pause.has_begun() != paused;
        shop.until("there is an answer, or somebody pauses", over).await;
        if asked.is_finished() {
            session = session_of(asked.await.unwrap().text("/checkout_url"));
        } else {
            late.push(asked);
            shop.sandbox.advance(PAST_THE_LEASES);
        }
    }
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    the_other_sells_meanwhile(&shop, &ada, place, pause, [one, other], late).await;
}

async fn one_pauses_with_a_paid_event(place: &'static str) {
    let mut shop = Shop::open().await;
    shop.end_worker().await;
    let pause = Pause::at(place);
    let one = shop.server_with(Pause::any_of(&[&pause])).await;
    let other = shop.server_with(Pause::any_of(&[&pause])).await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.settled().await;
    pause.arm();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.until("somebody pauses", async || pause.has_begun()).await;
    the_other_sells_meanwhile(&shop, &ada, place, pause, [one, other], Vec::new()).await;
}

/// Longer than any lease of a paused server.
const PAST_THE_LEASES: Duration = Duration::from_secs(60);

/// After the payment, the other server does everything before the pause ends. The paused server
/// writes nothing when it continues, and returns no checkout that does not exist.
async fn the_other_sells_meanwhile(
    shop: &Shop,
    ada: &Buyer,
    place: &str,
    pause: Pause,
    servers: [Peer; 2],
    late: Vec<JoinHandle<Answer>>,
) {
    if pause.has_begun() {
        shop.sandbox.advance(PAST_THE_LEASES);
    }
    // The paused server responds to its delivery too late. The other server has the event all the
    // same.
    let told = tokio::time::timeout(Duration::from_secs(60), shop.sandbox.settled());
    told.await.expect("webhooks hang");
    shop.until("the other did everything", async || {
        if pause.has_begun() {
            shop.sandbox.advance(Duration::from_secs(2));
        }
        shop.app.count("licenses").await == 2 && shop.open_work().await == 0
    })
    .await;
    assert!(pause.has_begun(), "nobody came by {place}");
    let written = texts(&shop.app.app.store, WRITTEN).await;
    pause.end();
    for asked in late {
        let answer = asked.await.unwrap();
        assert!([200, 409, 503].contains(&answer.status), "{place}: {answer:?}");
    }
    for server in servers {
        server.end_worker().await;
    }
    assert_eq!(texts(&shop.app.app.store, WRITTEN).await, written, "{place}");
    shop.must_have_sold_once(ada, place).await;
}

/// The rows that a sale leaves.
const WRITTEN: &str = "SELECT 'license ' || license_id FROM licenses
     UNION ALL SELECT 'order ' || order_id || status FROM orders
     UNION ALL SELECT 'event ' || event_id || attempts FROM inbox WHERE done_at IS NOT NULL
     UNION ALL SELECT 'mail ' || mail_id || attempts FROM outbox WHERE sent_at IS NOT NULL
     UNION ALL SELECT 'attempt ' || attempt_id || COALESCE(result, '') FROM stripe_attempts
     UNION ALL SELECT 'linked ' || stripe_customer_id FROM customers
     ORDER BY 1";

/// Lives through a sign-up, a change of the address and a reset, which delete expired rows of each
/// table but the inbox. Returns the signed-in client.
async fn sign_up_move_and_reset(app: &TestApp, email: &str, network: &str) -> Client {
    let client = app.client.at_address(&format!("{network}.1"));
    let request = json!({ "email": email, "password": PASSWORD });
    let signed_up = client.with_key(email).post("/api/customers/signup", &request).await;
    assert_eq!(signed_up.status, 202, "{}", signed_up.text);
    let token = json!({ "token": app.take_mail(email).await.token("verify") });
    assert_eq!(client.post("/api/customers/verify", &token).await.status, 200);
    let login = client.post("/api/customers/login", &request).await;
    let me = client.with_token(login.text("/access_token"));
    let other = format!("other.{email}");
    app.change_email(&me, &other).await;
    let forgot = json!({ "email": other });
    assert_eq!(client.post("/api/customers/password/forgot", &forgot).await.status, 202);
    let token = app.take_mail(&other).await.token("reset");
    let reset = json!({ "token": token, "password": "four purple trains at noon" });
    let reset = client.post("/api/customers/password/reset", &reset).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    app.deliver_due().await;
    client.with_token(reset.text("/access_token"))
}

/// PostgreSQL locks rows; SQLite has one writer at a time.
#[tokio::test]
async fn locked_expired_rows_do_not_delay_other_customers() {
    let required = ("LICENTIA_SIGNUP__VERIFICATION", "required");
    let app = TestApp::start_with(&[required, ALLOW_PRIVATE, BEHIND_A_PROXY]).await;
    let receiver = Receiver::start().await;
    outgoing::add(&app.admin(Scope::Admin).await, &receiver.url, &["*"]).await;
    let never = json!({ "email": "never@example.com", "password": PASSWORD });
    assert_eq!(app.client.post("/api/customers/signup", &never).await.status, 202);
    sign_up_move_and_reset(&app, "ada@example.com", "192.0.2").await;
    let gone = sign_up_move_and_reset(&app, "gone@example.com", "198.51.100").await;
    assert_eq!(gone.delete("/api/customers/me").await.status, 204);
    app.take_mails("ada@example.com").await;
    app.deliver_due().await;
    let event = "INSERT INTO inbox (event_id, kind, body, happened_at, received_at, tried_since,
             due_at, done_at)
         VALUES ('evt_1', 'invoice.paid', '', 0, 0, 0, 0, 0)";
    execute(&app.app.store, event).await.unwrap();
    app.clock.advance_days(1000);

    let tables = [
        "sessions",
        "mail_links",
        "former_addresses",
        "trial_addresses",
        "pending_signups",
        "throttle_buckets",
        "idempotency_keys",
        "webhook_messages",
        "outbox",
        "inbox",
    ];
    for table in tables {
        assert!(app.count(table).await > 0, "{table} has no expired rows");
    }
    let lock = HeldLock::take_rows(&app.config.database_url, &tables).await;
    let carol = sign_up_move_and_reset(&app, "carol@example.com", "203.0.113").await;
    assert_eq!(carol.delete("/api/customers/me").await.status, 204);
    assert!(inbox::take_due(&app.app, 10).await.unwrap().is_empty());
    lock.release().await;
}

#[tokio::test]
async fn a_subscription_that_begins_while_it_is_read_is_read_with_its_payment() {
    let subscription = |status: &str| json!({ "id": "sub_1", "status": status, "created": 0 });
    for (first, later, read) in [
        (None, Some("active"), 2),
        (Some("incomplete"), Some("active"), 2),
        (Some("active"), Some("active"), 1),
        // Stripe never lists it: what is known counts.
        (None, None, 2),
    ] {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        let double: Double = Box::new(move |call| {
            let listed = match call.path.as_str() {
                "/v1/subscriptions" if counted.fetch_add(1, Ordering::SeqCst) == 0 => first,
                "/v1/subscriptions" => later,
                "/v1/invoices" => {
                    let parent = json!({ "subscription_details": { "subscription": "sub_1" } });
                    let paid = json!({ "id": "in_1", "status": "paid", "parent": parent });
                    return ready(Some((200, json!({ "data": [paid] })))).boxed();
                }
                _ => None,
            };
            let data: Vec<_> = listed.map(subscription).into_iter().collect();
            ready(Some((200, json!({ "data": data })))).boxed()
        });
        let stripe = stripe_of(double).await;
        let seen = stripe.purchases(&"cus_1".parse().unwrap(), &Needs::default()).await.unwrap();
        let statuses: Vec<_> =
            seen.subscriptions.iter().map(|one| one.status.to_string()).collect();
        assert_eq!(statuses, later.into_iter().collect::<Vec<_>>());
        assert_eq!((seen.invoices.len(), reads.load(Ordering::SeqCst)), (1, read), "{first:?}");
    }
}
