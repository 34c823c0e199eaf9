//! Syncs a customer with Stripe: fetches from Stripe everything that may have changed, and settles
//! it. The worker, the checkout, a license refresh, the reconciliation and the operator all use it.
//! [`crate::domain::sale::settlement`] decides what follows from the state, and
//! [`crate::flows::sale::settle`] writes it.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;

use crate::app::App;
use crate::clock::within;
use crate::domain::account::customer::Customer;
use crate::domain::ids::CustomerId;
use crate::domain::license::{IssuedLicense, Phase, Source, covers_new_builds};
use crate::domain::private::Private;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::sale::settlement::{KeptId, SyncReport};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::sale::stripe_state::{CheckoutSession, StripeState};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::schedule;
use crate::flows::sale::settle;
use crate::flows::sale::settle::{Fetched, MAX_ORDERS};
use crate::flows::sale::stripe_customer;
use crate::flows::sale::trial;
use crate::flows::sale::unclaimed;
use crate::stripe::{Needs, Stripe, StripeCustomer, StripeFailure};

/// How long a license request waits for a sync.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a Checkout session can be paid.
const CHECKOUT_LIFETIME: TimeDelta = TimeDelta::days(1);

/// The greatest age of a state from Stripe that is settled, by the server's clock. The limits of
/// the lease do not notice that the machine was suspended, because timers stop with it.
const OLDEST_STATE: TimeDelta = TimeDelta::minutes(10);

/// How many times a sync fetches at most: a second time if the machine was suspended during the
/// first.
const MAX_FETCHES: usize = 2;

/// The invoices that a sync fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The closed ones too.
    All,
    /// Those that an earlier sync did not find to be closed, unless an event may concern the
    /// others.
    WithoutClosed,
}

/// The most open Checkout sessions that a sync fetches. Usually there is one.
const MAX_SESSIONS: usize = 10;

/// Syncs a customer, and marks the events that caused it as done.
///
/// # Errors
/// [`Error::Stripe`], [`Error::Busy`], or a failure of the database. Then nothing was written, and
/// no event is done.
pub async fn sync(app: &App, customer_id: &CustomerId, events: &[LeasedEvent]) -> Result<()> {
    lease_and_sync(app, customer_id, events, (Mode::Apply, Extent::WithoutClosed)).await.map(drop)
}

/// Returns the drift of a customer, and repairs it unless this is a dry run. Reads closed invoices
/// too, because an event about one may have been lost.
///
/// # Errors
/// As [`sync`].
pub async fn compare(app: &App, customer_id: &CustomerId, mode: Mode) -> Result<SyncReport> {
    lease_and_sync(app, customer_id, &[], (mode, Extent::All)).await
}

async fn lease_and_sync(
    app: &App,
    customer_id: &CustomerId,
    events: &[LeasedEvent],
    how: (Mode, Extent),
) -> Result<SyncReport> {
    let lease = Lease::take(app, customer_id).await?;
    let work = Box::pin(sync_under_lease(app, &lease, events, how));
    // Boxed, like the work: its callers' futures stay small enough for a thread's stack.
    Ok(Box::pin(lease.during_sync(app, events, work)).await?.report)
}

/// Syncs a customer who fetches a license if an event may be missing: a checkout is open, or a
/// renewal is overdue. No event reports three more cases: the updates of a license have ended
/// beside a subscription, a grant has ended before a perpetual license, and the Stripe customer of
/// a customer with a claimed payment is gone. After [`CATCH_UP_TIMEOUT`], or if Stripe fails, the
/// customer gets the present license. Returns whether the license may have changed.
///
/// # Errors
/// A failure of the database.
pub(in crate::flows) async fn catch_up(
    app: &App,
    stripe_id: Option<&StripeCustomerId>,
    current: &IssuedLicense,
) -> Result<bool> {
    let now = app.now();
    if app.stripe.is_none() {
        return Ok(false);
    }
    let id = current.customer_id.clone();
    let is_linked = stripe_id.is_some();
    let works = current.revoked_at.is_none() && current.term().phase(now) == Phase::Active;
    let mut needs_sync =
        is_linked && app.store.has_pending_checkout(&id, now - CHECKOUT_LIFETIME).await?;
    let has_ended = !works || !covers_new_builds(current.updates_until, now);
    if !needs_sync && has_ended && current.source != Source::Trial {
        let mut tx = app.store.read().await?;
        let subscription = tx.subscription(&id).await?;
        let is_ended_grant =
            !works && current.source == Source::Operator && current.revoked_at.is_none();
        // Without a link, only claimed payments are kept.
        needs_sync = (is_linked && subscription.is_some_and(|row| row.status.is_live()))
            || ((is_ended_grant || !is_linked) && !tx.kept_purchases(&id).await?.is_empty());
    }
    if !needs_sync || !app.sync_limit.allows(&id, now) {
        return Ok(false);
    }
    let own = app.clone();
    let synced = app.tasks.run(async move { sync(&own, &id, &[]).await });
    match within(&*app.clock, CATCH_UP_TIMEOUT, synced).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "the sync before a license fetch failed"),
        None => tracing::debug!("the sync before a license fetch continues in the background"),
    }
    Ok(true)
}

/// The result of a sync.
#[derive(Debug, Default)]
pub(in crate::flows) struct Synced {
    /// The changes to our records.
    pub report: SyncReport,
    /// The state at Stripe.
    pub state: StripeState,
}

/// Syncs a customer for a flow that already holds the lease.
pub(in crate::flows) async fn sync_held(app: &App, lease: &Lease) -> Result<Synced> {
    // Boxed, as above.
    Box::pin(sync_under_lease(app, lease, &[], (Mode::Apply, Extent::WithoutClosed))).await
}

/// Returns everything that a sync of a linked customer would read at Stripe. Nothing is written.
///
/// # Errors
/// As [`sync`].
pub(in crate::flows) async fn state_at_stripe(
    app: &App,
    customer_id: &CustomerId,
    stripe_id: &StripeCustomerId,
) -> Result<StripeState> {
    let ours = Ours::load(app, customer_id).await?;
    let how = (Mode::DryRun, Extent::WithoutClosed);
    Ok(fetch(app, ours, stripe_id, &[], how).await?.state)
}

async fn sync_under_lease(
    app: &App,
    lease: &Lease,
    events: &[LeasedEvent],
    (mode, extent): (Mode, Extent),
) -> Result<Synced> {
    let Some(fetched) = fresh_state(app, lease, events, (mode, extent)).await? else {
        settle::finish_events(app, lease, events).await?;
        return Ok(Synced::default());
    };
    if mode == Mode::Apply {
        schedule::release_replaced(app, &lease.customer_id, &fetched.state).await?;
    }
    let report = Box::pin(settle::settle(app, lease, &fetched, events, mode)).await?;
    Ok(Synced { report, state: fetched.state })
}

/// Fetches as [`fetch_once`] does, and again if the result is older than [`OLDEST_STATE`].
///
/// # Errors
/// Those of [`fetch_once`], and [`Error::Busy`] after [`MAX_FETCHES`].
async fn fresh_state(
    app: &App,
    lease: &Lease,
    events: &[LeasedEvent],
    how: (Mode, Extent),
) -> Result<Option<Fetched>> {
    for _ in 0..MAX_FETCHES {
        let begun = app.now();
        let Some(fetched) = fetch_once(app, lease, events, how).await? else { return Ok(None) };
        app.fail_points.reach(Place::SyncFetched);
        if app.now() <= begun + OLDEST_STATE {
            return Ok(Some(fetched));
        }
    }
    Err(Error::Busy)
}

/// Fetches what Stripe says about a customer. Returns `None` for a customer who has bought nothing.
async fn fetch_once(
    app: &App,
    lease: &Lease,
    events: &[LeasedEvent],
    (mode, extent): (Mode, Extent),
) -> Result<Option<Fetched>> {
    let ours = Ours::load(app, &lease.customer_id).await?;
    // Without a Stripe customer, only claimed payments are kept.
    let has_claimed = !ours.kept.is_empty();
    let stripe_id = match &ours.customer.stripe_customer_id {
        Some(id) => Some(id.clone()),
        None if mode == Mode::Apply
            && (has_claimed || events.iter().any(LeasedEvent::asks_for_stripe_customer)) =>
        {
            Some(Box::pin(stripe_customer::ensure(app, lease, &ours.customer)).await?.id)
        }
        None => None,
    };
    Ok(match stripe_id {
        Some(id) => Some(fetch(app, ours, &id, events, (mode, extent)).await?),
        None if has_claimed => Some(fetch_claimed(app, ours).await?),
        None => None,
    })
}

/// Our stored data that decides what a sync fetches.
struct Ours {
    customer: Customer,
    orders: Vec<Order>,
    kept: Vec<KeptId>,
    /// The sessions of the claimed payments, which need no Stripe customer. They are kept too.
    claimed: Vec<CheckoutSessionId>,
}

impl Ours {
    async fn load(app: &App, customer_id: &CustomerId) -> Result<Self> {
        let mut tx = app.store.read().await?;
        let customer = tx.customer(customer_id).await?.ok_or(Error::NotFound("customer"))?;
        let orders = tx.orders_to_settle(customer_id, MAX_ORDERS).await?;
        let kept = tx.kept_purchases(customer_id).await?;
        let claimed = tx.claimed_sessions(customer_id).await?;
        Ok(Self { customer, orders, kept, claimed })
    }
}

/// Fetches the claimed payments of a customer without a Stripe customer.
async fn fetch_claimed(app: &App, Ours { customer, kept, claimed, .. }: Ours) -> Result<Fetched> {
    let paid_sessions = app.stripe()?.paid_sessions(&claimed).await?;
    let state = StripeState { paid_sessions, ..StripeState::default() };
    let (stripe_id, first_trials) = (None, Vec::new());
    Ok(Fetched { customer, is_pushed: false, stripe_id, kept, state, first_trials })
}

/// Sends a changed name or address to Stripe, then fetches everything that Stripe says about a
/// customer.
async fn fetch(
    app: &App,
    Ours { customer, orders, kept, claimed }: Ours,
    stripe_id: &StripeCustomerId,
    events: &[LeasedEvent],
    (mode, extent): (Mode, Extent),
) -> Result<Fetched> {
    let stripe = app.stripe()?;
    let has_deletion_event = events.iter().any(|event| event.says_deleted(stripe_id));
    let needs_closed =
        extent == Extent::All || events.iter().any(LeasedEvent::may_concern_closed_invoice);
    let stripe_customer = match stripe.customer(stripe_id).await {
        // A 404 alone proves nothing: the key may belong to another account.
        Err(StripeFailure::Refused { status: 404, .. }) if has_deletion_event => {
            StripeCustomer::deleted()
        }
        found => found?,
    };
    let pending = orders.iter().filter(|order| order.status == OrderStatus::Pending);
    if stripe_customer.deleted {
        // Nobody can pay the checkouts of a deleted customer.
        let sessions = pending.filter_map(|order| order.stripe_checkout_session_id.as_ref());
        let checkout_sessions = sessions.map(CheckoutSession::unknown_to_stripe).collect();
        let paid_sessions = stripe.paid_sessions(&claimed).await?;
        let is_deleted = true;
        let state =
            StripeState { is_deleted, checkout_sessions, paid_sessions, ..StripeState::default() };
        let (stripe_id, first_trials) = (Some(stripe_id.clone()), Vec::new());
        return Ok(Fetched { customer, is_pushed: false, stripe_id, kept, state, first_trials });
    }
    let name = stripe_customer.name.as_ref().map(Private::as_str);
    let is_pushed =
        mode == Mode::Apply && stripe_customer::push(app, &customer, stripe_id, name).await?;
    let needs = Needs {
        closed: customer.stripe_closed_invoice_id.as_ref().filter(|_| !needs_closed),
        kept: &kept,
        sells_once: app.plans.sells_once(),
        has_trials: app.plans.has_stripe_trials(),
    };
    let ids = (&customer.customer_id, stripe_id);
    let (mut state, first_trials) = trial::purchases(app, ids, &needs, mode).await?;
    unclaimed::leave_out_claimed(app, &mut state, Some(ids.0)).await?;
    // Fetched after the invoices: a session that is complete now may have an invoice that was not
    // listed yet. The reverse order would show a paid invoice of an open session.
    let is_listed =
        |id: &&CheckoutSessionId| !state.checkout_sessions.iter().any(|session| session.id == **id);
    let open = pending.filter(|order| order.stripe_invoice_id.is_none());
    let open = open.filter_map(|order| order.stripe_checkout_session_id.as_ref());
    let open = open.filter(is_listed).take(MAX_SESSIONS);
    let sessions = open.map(|id| checkout_session(stripe, id)).collect::<Vec<_>>();
    state.checkout_sessions.extend(try_join_all(sessions).await?);
    for subscription in &mut state.subscriptions {
        let mut sessions = state.checkout_sessions.iter();
        let created_it =
            sessions.find(|found| found.subscription.as_ref() == Some(&subscription.id));
        subscription.awaits_payment = created_it.is_some_and(|session| session.is_unpaid);
    }
    state.default_payment_method = stripe_customer.default_payment_method;
    state.usual_currency = stripe_customer.currency;
    let stripe_id = Some(stripe_id.clone());
    Ok(Fetched { customer, is_pushed, stripe_id, kept, state, first_trials })
}

/// Returns the present state of a Checkout session. One that Stripe no longer knows has ended.
async fn checkout_session(stripe: &Stripe, id: &CheckoutSessionId) -> Result<CheckoutSession> {
    match stripe.session(id).await {
        Err(StripeFailure::Refused { status: 404, .. }) => {
            Ok(CheckoutSession::unknown_to_stripe(id))
        }
        found => Ok(found?),
    }
}
