//! The daily work of the worker: all customers are reconciled with Stripe, whatever events arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use licentia::clock::Clock;
use licentia::domain::time::Timestamp;
use licentia::fail_point::FailPoints;
use licentia_sandbox::{ApiFault, DeliveryFault, Times};
use serde_json::Value;

use crate::harness::database::texts;
use crate::harness::shop::{Buyer, Peer, Shop};

/// Waits of this length never end by the machine's clock.
const LONG: Duration = Duration::from_secs(60);

/// The time limit of a sync, which is no wait of the worker.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);

const DAY: i64 = 86_400;

/// The times of the reconciliations, the last one first.
const COMPARED: &str = "SELECT CAST(at AS TEXT) FROM audit_log WHERE action = 'stripe.compared'
     ORDER BY at DESC";

/// The double's clock, also for long waits, which take as long as the test wants.
#[derive(Clone)]
struct LongWaits {
    now: licentia_sandbox::Clock,
    somebody_waits: Arc<AtomicBool>,
}

impl Clock for LongWaits {
    fn now(&self) -> Timestamp {
        Timestamp::saturating(self.now.now())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        if time < LONG || time == SYNC_TIMEOUT {
            return Box::pin(tokio::time::sleep(time));
        }
        let (own, over) =
            (self.clone(), self.now() + TimeDelta::seconds(i64::try_from(time.as_secs()).unwrap()));
        self.somebody_waits.store(true, Ordering::SeqCst);
        Box::pin(async move {
            while own.now() < over {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

/// A shop with a paying customer, and a worker whose days pass as the test wants. The first
/// reconciliation is over.
struct Days {
    shop: Shop,
    ada: Buyer,
    subscription: String,
    server: Peer,
    somebody_waits: Arc<AtomicBool>,
}

impl Days {
    async fn begin() -> Self {
        let mut shop = Shop::open().await;
        let ada = shop.buyer("ada@example.com").await;
        let session = shop.buy(&ada, "professional").await;
        shop.end_worker().await;
        let somebody_waits = Arc::new(AtomicBool::new(false));
        let clock = LongWaits { now: shop.sandbox.clock(), somebody_waits: somebody_waits.clone() };
        let server = shop.server_by(Arc::new(clock), FailPoints::default()).await;
        let subscription = shop.subscription_of(&session);
        let days = Self { shop, ada, subscription, server, somebody_waits };
        days.until_it_waits().await;
        days
    }

    /// Waits until the worker is in a long wait again.
    async fn until_it_waits(&self) {
        let waits = async || self.somebody_waits.swap(false, Ordering::SeqCst);
        self.shop.until("everybody was compared", waits).await;
    }

    /// Ends the subscription, while its events are lost.
    fn end_unheard(&self) {
        self.shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
        self.shop.sandbox.cancel_now(&self.subscription).unwrap();
    }

    async fn subscribed(&self) -> Value {
        self.shop.subscription(&self.ada).await["status"].clone()
    }

    /// Returns the times of the reconciliations, the last one first.
    async fn comparisons(&self) -> Vec<i64> {
        let compared = texts(&self.shop.app.app.store, COMPARED).await;
        compared.iter().map(|at| at.parse().unwrap()).collect()
    }
}

#[tokio::test]
async fn all_customers_are_reconciled_again_a_day_later_stripe_17() {
    let days = Days::begin().await;
    let sandbox = &days.shop.sandbox;
    let (first, times) = (sandbox.clock().now(), days.comparisons().await.len());
    days.end_unheard();
    sandbox.advance(Duration::from_secs(23 * 3600));
    sandbox.settled().await;
    assert_eq!(days.subscribed().await, "active");
    sandbox.advance(Duration::from_secs(3600));
    days.until_it_waits().await;
    assert_eq!(days.subscribed().await, "canceled");
    let compared = days.comparisons().await;
    assert_eq!((compared.len(), compared[0]), (times + 1, first + DAY));

    // And the day after that.
    sandbox.advance_days(1);
    days.until_it_waits().await;
    assert_eq!(days.comparisons().await[0], first + 2 * DAY);
    days.server.end_worker().await;
}

#[tokio::test]
async fn a_customer_who_could_not_be_reconciled_is_retried_sooner() {
    let days = Days::begin().await;
    let sandbox = &days.shop.sandbox;
    days.end_unheard();
    sandbox.faults().api_call(ApiFault::Refused, "GET /v1/subscriptions", Times::Always);
    sandbox.advance_days(1);
    days.until_it_waits().await;
    assert_eq!(days.subscribed().await, "active");
    sandbox.faults().clear();
    sandbox.advance(LONG);
    let canceled = async || days.subscribed().await == "canceled";
    days.shop.until("it is looked at again", canceled).await;
    days.server.end_worker().await;
}
