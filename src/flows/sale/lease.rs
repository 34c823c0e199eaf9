//! The lease on a customer: one sync, checkout or deletion at a time, across all servers. The rows
//! are in `store/sale/leases.rs`.

use std::pin::pin;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{Either, select};

use crate::app::App;
use crate::clock::within;
use crate::domain::account::customer::Customer;
use crate::domain::ids::CustomerId;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::time::SKEW;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::store::Tx;
use crate::stripe::StripeFailure;

/// How long a lease lasts. After a crash, the customer's work continues within a
/// minute.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// How long work may take for which a client waits: less than the lease.
const WORK_TIMEOUT: Duration = Duration::from_secs(25);

/// How long a sync may take. A customer with thousands of invoices needs a hundred calls, each of
/// which may take seconds while Stripe is slow.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The interval at which a sync renews its leases. Two renewals in a row may fail before a lease
/// expires, also that of an event that waited for the customer's.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(8);

/// How long to wait for other work on the same customer.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The interval at which a taken lease is polled. It grows, because most work is short.
const SHORTEST_POLL: Duration = Duration::from_millis(20);
const LONGEST_POLL: Duration = Duration::from_millis(200);

/// A lease on a customer.
pub(in crate::flows) struct Lease {
    pub customer_id: CustomerId,
    fence: i64,
}

impl Lease {
    /// Takes the lease, and waits while it is held elsewhere.
    ///
    /// # Errors
    /// [`Error::Busy`] after [`LONGEST_WAIT`], [`Error::NotFound`] when there is no such customer.
    pub async fn take(app: &App, customer_id: &CustomerId) -> Result<Self> {
        let taken = within(&*app.clock, LONGEST_WAIT, async {
            let mut pause = SHORTEST_POLL;
            loop {
                let now = app.now();
                let latest = now + LEASE + SKEW;
                let leased = app.store.is_leased(customer_id, now, latest).await?;
                if !leased && let Some(lease) = Self::try_take(app, customer_id).await? {
                    return Ok(lease);
                }
                app.clock.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_POLL);
            }
        });
        taken.await.unwrap_or(Err(Error::Busy))
    }

    async fn try_take(app: &App, customer_id: &CustomerId) -> Result<Option<Self>> {
        let now = app.now();
        let mut tx = app.store.write().await?;
        if tx.lock_customer(customer_id).await?.is_none() {
            return Err(Error::NotFound("customer"));
        }
        let (until, latest) = (now + LEASE, now + LEASE + SKEW);
        let fence = tx.take_lease(customer_id, now, until, latest).await?;
        tx.commit(app.fail_points.at(Place::LeaseTaken)).await?;
        Ok(fence.map(|fence| Self { customer_id: customer_id.clone(), fence }))
    }

    /// Runs work under the lease, then releases it. Returns the result of the work.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Stripe`] after [`WORK_TIMEOUT`].
    pub async fn during<T>(&self, app: &App, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.limited(app, WORK_TIMEOUT, work).await
    }

    /// Runs a sync under the lease, then releases it. The leases on the customer and on the events
    /// are renewed until it ends. Returns the result of the sync.
    ///
    /// # Errors
    /// Those of the sync, [`Error::Stripe`] after [`SYNC_TIMEOUT`], and [`Error::Busy`] when the
    /// lease was lost.
    pub async fn during_sync<T>(
        &self,
        app: &App,
        events: &[LeasedEvent],
        sync: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let renewals = async {
            loop {
                app.clock.sleep(RENEWAL_INTERVAL).await;
                match self.renew(app, events).await {
                    Ok(true) => {}
                    Ok(false) => return Error::Busy,
                    Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
                }
            }
        };
        let renewed = async {
            match select(pin!(sync), pin!(renewals)).await {
                Either::Left((result, _)) => result,
                Either::Right((lost, _)) => Err(lost),
            }
        };
        self.limited(app, SYNC_TIMEOUT, renewed).await
    }

    async fn limited<T>(
        &self,
        app: &App,
        limit: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let timed_out = || {
            let problem = format!("it took longer than {} seconds", limit.as_secs());
            Err(Error::Stripe(StripeFailure::Unreachable(problem)))
        };
        let result = within(&*app.clock, limit, work).await.unwrap_or_else(timed_out);
        if let Err(error) = self.release(app).await {
            tracing::warn!(%error, "a lease could not be released; it expires by itself");
        }
        result
    }

    /// Extends the leases on the customer and on these events. Returns false if that on the
    /// customer was lost.
    async fn renew(&self, app: &App, events: &[LeasedEvent]) -> Result<bool> {
        let now = app.now();
        let mut tx = app.store.write().await?;
        let held = tx.renew_lease(&self.customer_id, self.fence, now + LEASE).await?;
        for event in events {
            tx.renew(event, now).await?;
        }
        tx.commit(app.fail_points.at(Place::LeaseRenewed)).await?;
        Ok(held)
    }

    /// Locks the customer in a transaction that will write, and checks that the lease still holds.
    /// Returns the customer.
    ///
    /// # Errors
    /// [`Error::Busy`] when the lease expired and was taken elsewhere. [`Error::NotFound`] when the
    /// customer was deleted.
    pub async fn lock(&self, tx: &mut Tx) -> Result<Customer> {
        let customer = tx.lock_customer(&self.customer_id).await?;
        let customer = customer.ok_or(Error::NotFound("customer"))?;
        let held = tx.holds_lease(&self.customer_id, self.fence).await?;
        if held { Ok(customer) } else { Err(Error::Busy) }
    }

    async fn release(&self, app: &App) -> Result<()> {
        let at = app.fail_points.at(Place::LeaseReleased);
        app.store.release_lease(&self.customer_id, self.fence, at).await
    }
}
