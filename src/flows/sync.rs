//! Brings a customer in line with Stripe: fetches Stripe's current state and writes it whole. The
//! worker, the checkout and (later) the operator call the same function. Called twice, it is silent the
//! second time. What the state comes to is judged by [`crate::domain::subscription`], and written by
//! [`crate::flows::settle`].

use futures_util::future::try_join_all;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::invoice::OrderStatus;
use crate::domain::stripe_ids::StripeCustomerId;
use crate::domain::subscription::Seen;
use crate::error::{Error, Result};
use crate::fail_point;
use crate::flows::lease::Lease;
use crate::flows::{counterpart, settle};
use crate::store::{Customer, LeasedEvent, Order};
use crate::stripe::Session;

/// Orders of one customer that are looked at: more than twenty years of months.
pub(super) const MAX_ORDERS: i64 = 300;

/// Open checkouts that are asked after at once; by the rules there is one.
const MAX_SESSIONS: usize = 10;

/// What Stripe says about a customer.
pub(super) struct Found {
    /// The record that Stripe was told of.
    pub customer: Customer,
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
    let lease = Lease::take(app, customer_id).await?;
    lease.during(app, sync_held(app, &lease, events)).await
}

/// The same, by who holds the lease already.
pub(super) async fn sync_held(app: &App, lease: &Lease, events: &[LeasedEvent]) -> Result<()> {
    let mut tx = app.store.read().await?;
    let customer = tx.customer(&lease.customer_id).await?.ok_or(Error::NotFound("customer"))?;
    let orders = tx.orders_of(&lease.customer_id, MAX_ORDERS).await?;
    drop(tx);
    let stripe_id = match &customer.stripe_customer_id {
        Some(id) => id.clone(),
        None if events.iter().any(LeasedEvent::asks_for_counterpart) => {
            counterpart::ensure(app, lease, &customer).await?
        }
        None => return settle::nothing(app, lease, events).await,
    };
    let found = fetch(app, customer, stripe_id, &orders).await?;
    fail_point::reach("sync.fetched");
    settle::settle(app, lease, &found, events).await
}

async fn fetch(
    app: &App,
    customer: Customer,
    stripe_id: StripeCustomerId,
    orders: &[Order],
) -> Result<Found> {
    let stripe = app.stripe()?;
    let record = stripe.customer(&stripe_id).await?;
    if record.deleted {
        let seen = Seen { deleted: true, ..Seen::default() };
        let (sessions, default_payment_method) = (Vec::new(), None);
        return Ok(Found { customer, stripe_id, seen, sessions, default_payment_method });
    }
    counterpart::push(app, &customer, &stripe_id).await?;
    let seen = stripe.purchases(&stripe_id).await?;
    // After the invoices: a checkout that is complete by now may have none among them yet, never
    // the other way round.
    let pending = orders.iter().filter(|order| order.status == OrderStatus::Pending);
    let pending = pending.filter(|order| order.stripe_invoice_id.is_none());
    let pending = pending.filter_map(|order| order.stripe_checkout_session_id.as_ref());
    let asked = pending.take(MAX_SESSIONS).map(|id| stripe.session(id));
    let sessions = try_join_all(asked).await?;
    let default_payment_method = record.default_payment_method;
    Ok(Found { customer, stripe_id, seen, sessions, default_payment_method })
}
