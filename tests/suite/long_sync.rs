//! Customers with thousands of invoices and payments: every sync ends, however slow Stripe is, and
//! fetches only what may have changed (STRIPE 33).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use licentia::app::{App, Surroundings};
use licentia::clock::Clock;
use licentia::domain::time::Timestamp;
use licentia::fail_point::{FailPoints, Place};
use licentia::flows::sale::inbox;
use licentia::stripe::{Double, Stripe};
use licentia_sandbox::Card;
use tokio::sync::watch;

use crate::harness::database::number;
use crate::harness::held::forward;
use crate::harness::shop::{Buyer, Shop};

async fn active_buyer_of(shop: &Shop, invoices: usize) -> (Buyer, String) {
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.add_invoices(&customer, invoices).unwrap();
    shop.sandbox.add_payments(&customer, invoices).unwrap();
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.settled().await;
    assert_eq!(shop.license(&ada).await["status"], "active");
    (ada, session)
}

/// Processes the events of the only customer, in one sync.
async fn work_once(app: &App) {
    let due = inbox::take_due(app, 10).await.unwrap();
    assert_eq!(due.len(), 1, "{due:?}");
    for (subject, events) in due {
        inbox::work(app, &subject, &events).await.unwrap();
    }
}

#[tokio::test]
async fn unchanged_objects_are_not_fetched_again_stripe_33() {
    let mut shop = Shop::open().await;
    let (mut ada, _) = active_buyer_of(&shop, 10_500).await;

    let before = shop.sandbox.api_calls();
    let report = shop.sync_all().await;
    assert!(report.failed.is_empty() && report.drifted.is_empty(), "{report:?}");
    let for_all = shop.sandbox.api_calls() - before;
    assert!((20..=50).contains(&for_all), "a reconciliation reads all: {for_all}");

    // The worker could need several syncs, one for the events of each delivery.
    shop.end_worker().await;
    shop.sandbox.advance_days(31);
    shop.sandbox.settled().await;
    let before = shop.sandbox.api_calls();
    work_once(&shop.app.app).await;
    let for_renewal = shop.sandbox.api_calls() - before;
    shop.log_in(&mut ada).await;
    assert_eq!(shop.orders(&ada).await.len(), 2, "the renewal");
    assert_eq!(shop.license(&ada).await["status"], "active");
    assert!(for_renewal < for_all, "{for_renewal} calls for a renewal, {for_all} for all");
}

#[tokio::test]
async fn a_running_subscription_is_followed_behind_any_number_of_newer_invoices_stripe_33() {
    let shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "starter").await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.add_invoices(&customer, 2100).unwrap();
    for _ in 0..2 {
        let report = shop.sync_all().await;
        assert!(report.failed.is_empty() && report.drifted.is_empty(), "{report:?}");
        assert_eq!(shop.license(&ada).await["status"], "active");
    }
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.orders(&ada).await[0]["status"], "refunded");
    assert_eq!(shop.license(&ada).await["status"], "revoked");
}

#[tokio::test]
async fn a_refund_of_a_closed_invoice_is_applied_at_once_stripe_33() {
    let shop = Shop::open().await;
    let (mut ada, session) = active_buyer_of(&shop, 0).await;
    let payment = shop.sandbox.payment_intent(&session).unwrap();
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.pass_days(&mut ada, 31).await;
    let customer = shop.stripe_customer_of(&session);
    shop.sandbox.add_invoices(&customer, 200).unwrap();
    shop.sync_all().await;
    let settled = "SELECT COUNT(*) FROM customers WHERE stripe_closed_invoice_id IS NOT NULL";
    assert_eq!(number(&shop.app.app.store, settled).await, 1);

    shop.sandbox.refund(&payment, None).unwrap();
    shop.settled().await;
    assert_eq!(shop.orders(&ada).await[0]["status"], "refunded");
}

/// A clock that the test advances. An interval for the renewal of leases ends at once.
struct Hurried {
    double: licentia_sandbox::Clock,
    ahead: AtomicI64,
}

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.double.now() + self.ahead.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let is_interval = (Duration::from_secs(5)..Duration::from_secs(12)).contains(&time);
        let time = if is_interval { Duration::from_millis(1) } else { time };
        Box::pin(tokio::time::sleep(time))
    }
}

/// The seconds between two renewals, as the clock shows them: less than a lease.
const BETWEEN_RENEWALS: i64 = 20;

/// The renewals for which the sync waits for Stripe: longer than both leases.
const RENEWALS: usize = 5;

#[tokio::test]
async fn a_sync_that_takes_longer_than_its_leases_is_done_once_stripe_33() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.checkout(&ada, "professional").await;
    shop.end_worker().await;
    shop.sandbox.pay(&session, Card::Paid).unwrap();
    shop.sandbox.settled().await;

    let clock = Arc::new(Hurried { double: shop.sandbox.clock(), ahead: AtomicI64::new(0) });
    let (renewals, renewed) = watch::channel(0);
    let config = &shop.app.config;
    let other = shop.parts_with(config, clock.clone(), |real| real).await;
    let base = shop.sandbox.url().to_owned();
    let (own_clock, rival) = (clock.clone(), other.clone());
    let slow: Double = Box::new(move |call| {
        let (base, rival, mut renewed) = (base.clone(), rival.clone(), renewed.clone());
        Box::pin(async move {
            renewed.wait_for(|renewals| *renewals >= RENEWALS).await.unwrap();
            // Both leases would have expired by now. Nobody else processes the events.
            assert_eq!(inbox::take_due(&rival, 10).await.unwrap(), []);
            Some(forward(base, call).await)
        })
    });
    let own = shop
        .parts_with(config, clock, |real| Surroundings {
            stripe: real
                .stripe
                .map(|stripe| Stripe::double(stripe.config(), slow, own_clock.clone())),
            fail_points: FailPoints::calling(move |place| {
                if place == Place::LeaseRenewed {
                    own_clock.ahead.fetch_add(BETWEEN_RENEWALS, Ordering::SeqCst);
                    renewals.send_modify(|renewals| *renewals += 1);
                }
            }),
            ..real
        })
        .await;

    work_once(&own).await;
    let store = &shop.app.app.store;
    let undone = "SELECT COUNT(*) FROM inbox WHERE done_at IS NULL OR attempts > 0";
    assert_eq!(number(store, undone).await, 0);
    assert_eq!(shop.license(&ada).await["plan"], "professional");
}
