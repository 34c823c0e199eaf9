//! What the worker does by itself as days pass: everybody is compared with Stripe, whatever events came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use licentia::clock::Clock;
use licentia::domain::time::Timestamp;
use licentia::fail_point::FailPoints;
use licentia_sandbox::{DeliveryFault, Times};

use crate::harness::database::{number, texts};
use crate::harness::shop::Shop;

/// What nobody waits for by the machine's clock.
const LONG: Duration = Duration::from_secs(600);

const DAY: i64 = 86_400;

/// When everybody was compared, the last time first.
const COMPARED: &str = "SELECT CAST(at AS TEXT) FROM audit_log WHERE action = 'stripe.compared'
     ORDER BY at DESC";

/// The double's clock, also for whoever waits for long: that takes as long as the test wants.
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
        if time < LONG {
            return Box::pin(tokio::time::sleep(time));
        }
        let (own, over) = (self.clone(), self.now().plus(i64::try_from(time.as_secs()).unwrap()));
        self.somebody_waits.store(true, Ordering::SeqCst);
        Box::pin(async move {
            while own.now() < over {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

#[tokio::test]
async fn everybody_is_compared_again_a_day_later_stripe_17() {
    let mut shop = Shop::open().await;
    let ada = shop.buyer("ada@example.com").await;
    let session = shop.buy(&ada, "professional").await;
    shop.end_worker().await;
    let somebody_waits = Arc::new(AtomicBool::new(false));
    let clock = LongWaits { now: shop.sandbox.clock(), somebody_waits: somebody_waits.clone() };
    let server = shop.server_by(Arc::new(clock), FailPoints::default()).await;
    let waits = async || somebody_waits.swap(false, Ordering::SeqCst);
    shop.until("the comparison at the start is over", waits).await;
    let (first, times) = (shop.sandbox.clock().now(), shop.comparisons().await.len());

    // Nobody hears of the end, for nearly a day.
    shop.sandbox.faults().delivery(DeliveryFault::Drop, Times::Always);
    shop.sandbox.cancel_now(&shop.subscription_of(&session)).unwrap();
    shop.sandbox.advance(Duration::from_secs(23 * 3600));
    shop.sandbox.settled().await;
    assert_eq!(shop.subscription(&ada).await["status"], "active");
    shop.sandbox.advance(Duration::from_secs(3600));
    shop.until("the second comparison is over", waits).await;
    assert_eq!(shop.subscription(&ada).await["status"], "canceled");
    let compared = shop.comparisons().await;
    assert_eq!((compared.len(), compared[0]), (times + 1, first + DAY));

    // And the day after that.
    shop.sandbox.advance_days(1);
    shop.until("the third comparison is over", waits).await;
    assert_eq!(shop.comparisons().await[0], first + 2 * DAY);
    let drifted = "SELECT COUNT(*) FROM audit_log WHERE detail LIKE '%\"drifted\":1%'";
    assert_eq!(number(&shop.app.app.store, drifted).await, 1);
    server.end_worker().await;
}

impl Shop {
    /// When everybody was compared with Stripe, the last time first.
    async fn comparisons(&self) -> Vec<i64> {
        let compared = texts(&self.app.app.store, COMPARED).await;
        compared.iter().map(|at| at.parse().unwrap()).collect()
    }
}
