//! Brings a customer in line with Stripe: fetches Stripe's current state and writes it whole. The
//! worker, the checkout and the operator call the same function. Called twice, it is silent the
//! second time. What the state comes to is judged by [`crate::domain::subscription`], and written by
//! [`crate::flows::settle`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::app::App;
use crate::clock::within;
use crate::domain::ids::CustomerId;
use crate::domain::invoice::OrderStatus;
use crate::domain::license::{Phase, Source};
use crate::domain::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::subscription::Seen;
use crate::domain::time::{DAY, Timestamp};
use crate::error::{Error, Result};
use crate::flows::lease::Lease;
use crate::flows::settle::{Intent, Looked};
use crate::flows::{counterpart, settle};
use crate::store::{Customer, IssuedLicense, LeasedEvent, Order};
use crate::stripe::{Session, Stripe, StripeCustomer, StripeFailure};

/// Orders of one customer that are looked at: more than eighty years of months.
pub(super) const MAX_ORDERS: i64 = 1000;

/// How long apart a customer who fetches a license makes us look at Stripe, in seconds.
const BETWEEN_LOOKS: i64 = 5;

/// Customers that are remembered before those of long ago are forgotten.
const MAX_LOOKS: usize = 10_000;

/// How long such a customer waits for it.
const LONGEST_LOOK: Duration = Duration::from_secs(3);

/// How long a checkout can be paid, in seconds.
const CHECKOUT_SECONDS: i64 = DAY;

/// Open checkouts that are asked after at once; by the rules there is one.
const MAX_SESSIONS: usize = 10;

/// What Stripe says about a customer.
pub(super) struct Found {
    /// The record at the beginning.
    pub customer: Customer,
    /// Whether Stripe knows it.
    pub told: bool,
    /// Who that is at Stripe.
    pub stripe_id: StripeCustomerId,
    /// What was bought.
    pub seen: Seen,
    /// The checkouts that were still pending here, as they are now.
    pub sessions: Vec<Session>,
    /// The card, or the like, that pays invoices.
    pub default_payment_method: Option<String>,
}

/// Brings a customer in line with Stripe, and marks the events done that called for it.
///
/// # Errors
/// [`Error::Stripe`], [`Error::Busy`], or a failure: nothing was written, and no event is done.
pub async fn sync(app: &App, customer_id: &CustomerId, events: &[LeasedEvent]) -> Result<()> {
    look_alone(app, customer_id, events, Intent::Repair).await.map(drop)
}

/// Finds out what is not as Stripe has it, and repairs it if that is the intent.
///
/// # Errors
/// As [`sync`].
pub async fn compare(app: &App, customer_id: &CustomerId, intent: Intent) -> Result<Looked> {
    look_alone(app, customer_id, &[], intent).await
}

async fn look_alone(
    app: &App,
    customer_id: &CustomerId,
    events: &[LeasedEvent],
    intent: Intent,
) -> Result<Looked> {
    let lease = Lease::take(app, customer_id).await?;
    lease.during(app, look(app, &lease, events, intent)).await
}

/// When customers who fetched a license last made us look at Stripe, on this server.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<CustomerId, Timestamp>>);

impl Looks {
    /// Whether it is time for another look, which is then noted: also one that will fail.
    fn may_look(&self, id: &CustomerId, now: Timestamp) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_LOOKS {
            looks.retain(|_, at| now < at.plus(BETWEEN_LOOKS));
        }
        let recently = looks.get(id).is_some_and(|at| *at <= now && now < at.plus(BETWEEN_LOOKS));
        if !recently {
            looks.insert(id.clone(), now);
        }
        !recently
    }
}

/// Brings a customer who fetches a license in line with Stripe, if a webhook may be missing: a
/// checkout is open, or a renewal is overdue. Waits a little. If anything goes wrong, the
/// customer gets the license that is there. Returns whether the license may be another one
/// afterwards.
///
/// # Errors
/// A failure of the database.
pub(super) async fn catch_up(
    app: &App,
    stripe_id: Option<&StripeCustomerId>,
    current: &IssuedLicense,
) -> Result<bool> {
    let now = app.now();
    if app.stripe.is_none() || stripe_id.is_none() {
        return Ok(false);
    }
    let id = current.customer_id.clone();
    let works = current.revoked_at.is_none() && current.term().phase(now) == Phase::Active;
    let mut due = app.store.has_pending_checkout(&id, now.plus(-CHECKOUT_SECONDS)).await?;
    if !due && !works && current.source != Source::Trial {
        let subscription = app.store.read().await?.subscription(&id).await?;
        due = subscription.is_some_and(|row| row.status.is_live());
    }
    if !due || !app.looks.may_look(&id, now) {
        return Ok(false);
    }
    let own = app.clone();
    let looked = app.tasks.run(async move { sync(&own, &id, &[]).await });
    match within(&*app.clock, LONGEST_LOOK, looked).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "no look at Stripe"),
        None => tracing::debug!("a look at Stripe takes longer"),
    }
    Ok(true)
}

/// The same, by who holds the lease already.
pub(super) async fn sync_held(app: &App, lease: &Lease) -> Result<Looked> {
    look(app, lease, &[], Intent::Repair).await
}

async fn look(app: &App, lease: &Lease, events: &[LeasedEvent], intent: Intent) -> Result<Looked> {
    let mut tx = app.store.read().await?;
    let customer = tx.customer(&lease.customer_id).await?.ok_or(Error::NotFound("customer"))?;
    let orders = tx.orders_to_settle(&lease.customer_id, MAX_ORDERS).await?;
    drop(tx);
    let stripe_id = match &customer.stripe_customer_id {
        Some(id) => id.clone(),
        None if events.iter().any(LeasedEvent::asks_for_counterpart) => {
            counterpart::ensure(app, lease, &customer).await?
        }
        None => {
            settle::nothing(app, lease, events).await?;
            return Ok(Looked::default());
        }
    };
    let told_deleted = events.iter().any(|event| event.says_deleted(&stripe_id));
    let found = fetch(app, customer, stripe_id, &orders, intent, told_deleted).await?;
    app.fail_points.reach("sync.fetched");
    settle::settle(app, lease, &found, events, intent).await
}

async fn fetch(
    app: &App,
    customer: Customer,
    stripe_id: StripeCustomerId,
    orders: &[Order],
    intent: Intent,
    told_deleted: bool,
) -> Result<Found> {
    let stripe = app.stripe()?;
    let record = match stripe.customer(&stripe_id).await {
        // By itself it would say no more than that the key is another account's.
        Err(StripeFailure::Refused { status: 404, .. }) if told_deleted => {
            StripeCustomer::deleted()
        }
        record => record?,
    };
    if record.deleted {
        let seen = Seen { deleted: true, ..Seen::default() };
        // The open checkouts went with them.
        let pending = orders.iter().filter(|order| order.status == OrderStatus::Pending);
        let pending = pending.filter_map(|order| order.stripe_checkout_session_id.as_ref());
        let sessions = pending.map(Session::forgotten).collect();
        let (told, default_payment_method) = (false, None);
        return Ok(Found { customer, told, stripe_id, seen, sessions, default_payment_method });
    }
    let told = intent == Intent::Repair && counterpart::push(app, &customer, &stripe_id).await?;
    let mut seen = stripe.purchases(&stripe_id).await?;
    // After the invoices: a checkout that is complete by now may have none among them yet, never
    // the other way round.
    let pending = orders.iter().filter(|order| order.status == OrderStatus::Pending);
    let pending = pending.filter(|order| order.stripe_invoice_id.is_none());
    let pending = pending.filter_map(|order| order.stripe_checkout_session_id.as_ref());
    let sessions = try_join_all(pending.take(MAX_SESSIONS).map(|id| session(stripe, id))).await?;
    for subscription in &mut seen.subscriptions {
        let sold = |session: &&Session| session.subscription.as_ref() == Some(&subscription.id);
        subscription.awaits_payment = sessions.iter().find(sold).is_some_and(|sold| sold.unpaid);
    }
    let default_payment_method = record.default_payment_method;
    Ok(Found { customer, told, stripe_id, seen, sessions, default_payment_method })
}

/// A checkout as it is now; one that Stripe does not know any more is over.
async fn session(stripe: &Stripe, id: &CheckoutSessionId) -> Result<Session> {
    match stripe.session(id).await {
        Err(StripeFailure::Refused { status: 404, .. }) => Ok(Session::forgotten(id)),
        found => Ok(found?),
    }
}
