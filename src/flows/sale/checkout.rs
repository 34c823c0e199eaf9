//! Opens a checkout: ensures a Stripe customer, and creates a Checkout session and a pending order.
//! It does not process the payment: [`crate::flows::sale::sync`] does.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::attempt::{Attempt, Purpose};
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::{Interval, Plan, Price};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::stripe_customer;
use crate::flows::sale::sync;
use crate::stripe::{Answer, SessionParameters, StripeFailure};

/// How long a pending payment blocks another checkout: longer than any bank debit takes
/// (<https://docs.stripe.com/payments/bank-debits>).
const LONGEST_PAYMENT: TimeDelta = TimeDelta::days(30);

/// The request of a checkout.
#[derive(Clone, Debug)]
pub struct Purchase {
    /// The plan's id.
    pub plan: String,
    /// The billing interval. The default is monthly if the plan offers it.
    pub interval: Option<Interval>,
    /// The URL that the browser returns to after the payment.
    pub success_url: String,
    /// The URL that the browser returns to when the customer cancels.
    pub cancel_url: String,
}

/// Opens a checkout for a customer, or reuses an open one with the same parameters. Returns the URL
/// of Stripe's payment page.
///
/// # Errors
/// [`Error::UnknownPlan`], [`Error::InvalidReturnUrl`], [`Error::AlreadySubscribed`],
/// [`Error::PaymentUnderWay`], [`Error::BillingNotConfigured`], [`Error::NamedTooOften`],
/// [`Error::Busy`], [`Error::Stripe`], or a failure of the database.
pub async fn open(app: &App, customer_id: &CustomerId, wanted: Purchase) -> Result<String> {
    sold(app, &wanted)?;
    for (field, url) in [("success_url", &wanted.success_url), ("cancel_url", &wanted.cancel_url)] {
        may_return_to(app, field, url)?;
    }
    if app.stripe()?.config().webhook_secrets.is_empty() {
        // Without webhooks, the payment would not be noticed.
        return Err(Error::BillingNotConfigured);
    }
    // Runs in its own task: a disconnect must not interrupt it and leave the lease taken.
    let (own, customer_id) = (app.clone(), customer_id.clone());
    app.tasks
        .run(async move {
            let lease = Lease::take(&own, &customer_id).await?;
            lease.during(&own, open_held(&own, &lease, &wanted)).await
        })
        .await
}

/// Checks that Stripe may send browsers back to a URL: its origin must be configured.
pub(in crate::flows) fn may_return_to(app: &App, field: &'static str, url: &str) -> Result<()> {
    let allowed = app.return_origins.iter().any(|origin| origin.holds(url));
    if allowed { Ok(()) } else { Err(Error::InvalidReturnUrl(field)) }
}

fn sold<'a>(app: &'a App, wanted: &Purchase) -> Result<(&'a Plan, &'a Price)> {
    let plan = app.plans.plan(&wanted.plan).ok_or(Error::UnknownPlan)?;
    let price = plan.price(wanted.interval).filter(|price| price.interval.is_recurring());
    Ok((plan, price.ok_or(Error::UnknownPlan)?))
}

async fn open_held(app: &App, lease: &Lease, wanted: &Purchase) -> Result<String> {
    let mut customer = load(app, &lease.customer_id).await?;
    if customer.stripe_customer_id.is_some() {
        // A purchase in the meantime counts, even if its webhook has not arrived yet.
        sync::sync_held(app, lease).await?;
        refuse_second_subscription(app, &lease.customer_id).await?;
        customer = load(app, &lease.customer_id).await?;
    }
    let ensured = Box::pin(stripe_customer::ensure(app, lease, &customer)).await?;
    if customer.stripe_customer_id.is_none() && ensured.existed {
        // After a restored backup, the Stripe customer may have a subscription already.
        sync::sync_held(app, lease).await?;
        refuse_second_subscription(app, &lease.customer_id).await?;
    }
    let stripe_id = ensured.id;
    let (plan, price) = sold(app, wanted)?;
    let parameters = SessionParameters {
        customer_id: lease.customer_id.to_string(),
        stripe_customer_id: stripe_id.to_string(),
        plan: plan.id.to_string(),
        price: price.id.clone(),
        success_url: wanted.success_url.clone(),
        cancel_url: wanted.cancel_url.clone(),
    };
    if let Some((session, before)) = last_session(app, lease, &stripe_id).await? {
        match (session.status, session.url.clone()) {
            (CheckoutStatus::Open, Some(url)) if before == parameters => return Ok(url),
            (CheckoutStatus::Open, _) => {
                match stripe_customer::expire(app, app.stripe()?, &session.id).await {
                    // Nobody paid it, so its order is of no interest to the customer.
                    Ok(()) => delete_order(app, lease, &session).await?,
                    // Stripe does not expire a session that was just paid.
                    Err(StripeFailure::Refused { .. }) => {
                        return refuse_after_sync(app, lease).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            (CheckoutStatus::Complete, _) => {
                // It was completed after the first sync, or long ago.
                sync::sync_held(app, lease).await?;
                refuse_second_subscription(app, &lease.customer_id).await?;
                let since = app.now() - LONGEST_PAYMENT;
                if app.store.read().await?.is_being_paid(&session.id, since).await? {
                    return Err(Error::PaymentUnderWay);
                }
            }
            (CheckoutStatus::Expired, _) => {}
        }
    }
    let attempt =
        stripe_customer::store_attempt(app, lease, Purpose::Checkout, &parameters).await?;
    let session = create(app, &attempt, &parameters).await??;
    record(app, lease, attempt, &session, &parameters).await?;
    session.url.ok_or_else(|| StripeFailure::Unreadable("a session without a URL".into()).into())
}

/// Deletes the pending order of a closed checkout.
async fn delete_order(app: &App, lease: &Lease, session: &CheckoutSession) -> Result<()> {
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.delete_pending_order(&session.id).await?;
    tx.commit(app.fail_points.at(Place::CheckoutForgotten)).await?;
    Ok(())
}

async fn load(app: &App, id: &CustomerId) -> Result<Customer> {
    app.store.read().await?.customer(id).await?.ok_or(Error::Unauthenticated)
}

async fn refuse_second_subscription(app: &App, id: &CustomerId) -> Result<()> {
    let row = app.store.read().await?.subscription(id).await?;
    let live = row.is_some_and(|row| row.status.is_live());
    if live { Err(Error::AlreadySubscribed) } else { Ok(()) }
}

/// Syncs after a session could not be closed. Always returns an error: the customer has a
/// subscription now, or should try again.
async fn refuse_after_sync(app: &App, lease: &Lease) -> Result<String> {
    sync::sync_held(app, lease).await?;
    refuse_second_subscription(app, &lease.customer_id).await?;
    Err(Error::Busy)
}

/// Returns the present state of the last attempt's session, with the attempt's parameters. If the
/// response of the attempt was lost, the call is repeated with the same idempotency key, and
/// returns the session that it created.
async fn last_session(
    app: &App,
    lease: &Lease,
    stripe_id: &StripeCustomerId,
) -> Result<Option<(CheckoutSession, SessionParameters)>> {
    let stored = app.store.read().await?.attempt(&lease.customer_id, Purpose::Checkout).await?;
    let Some(attempt) = stored else { return Ok(None) };
    let known = attempt.result.as_ref().and_then(|id| id.parse().ok());
    let Ok(parameters) = serde_json::from_str::<SessionParameters>(attempt.parameters.as_str())
    else {
        // Another version wrote the parameters. The session is closed, so that there are never two
        // that can be paid.
        if let Some(id) = known {
            stripe_customer::ended(stripe_customer::expire(app, app.stripe()?, &id).await)?;
        }
        return Ok(None);
    };
    if parameters.stripe_customer_id != stripe_id.as_str() {
        // The attempt's Stripe customer was deleted, and its sessions with it.
        return Ok(None);
    }
    let id = match known {
        Some(id) => id,
        // The response was lost, so nobody has the URL of a session that may exist.
        None if !stripe_customer::is_fresh(&attempt, app.now()) => return Ok(None),
        None => match create(app, &attempt, &parameters).await? {
            Ok(session) => {
                record(app, lease, attempt, &session, &parameters).await?;
                session.id
            }
            Err(_) => return Ok(None),
        },
    };
    match app.stripe()?.session(&id).await {
        Ok(session) => Ok(Some((session, parameters))),
        Err(StripeFailure::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Creates the session of an attempt. After a failure, looks for a session that an earlier call of
/// the attempt created. Returns the session, or the failure if there is certainly no session.
///
/// # Errors
/// [`Error::Stripe`] when it is unknown whether there is a session: then this attempt must be
/// repeated, and no other may be made.
async fn create(
    app: &App,
    attempt: &Attempt,
    parameters: &SessionParameters,
) -> Result<Answer<CheckoutSession>> {
    let stripe = app.stripe()?;
    let at = app.fail_points.at(Place::CheckoutMade);
    let failure = match stripe.create_session(&attempt.attempt_id, parameters, at).await {
        Ok(session) => return Ok(Ok(session)),
        Err(failure @ StripeFailure::Unreachable(_)) => return Err(failure.into()),
        Err(failure) => failure,
    };
    let found = stripe.find_session(&parameters.stripe_customer_id, &attempt.attempt_id).await;
    match (found, failure) {
        (Ok(Some(session)), _) => Ok(Ok(session)),
        // An unreadable response may come from a proxy while Stripe still processes the call.
        (Ok(None), failure @ StripeFailure::Unreadable(_)) | (Err(_), failure) => {
            Err(failure.into())
        }
        (Ok(None), failure) => Ok(Err(failure)),
    }
}

/// Records the session of an attempt, and its pending order.
async fn record(
    app: &App,
    lease: &Lease,
    attempt: Attempt,
    session: &CheckoutSession,
    parameters: &SessionParameters,
) -> Result<()> {
    let now = app.now();
    let price = app
        .plans
        .by_price(&parameters.price)
        .and_then(|(_, plan)| plan.prices.iter().find(|price| price.id == parameters.price));
    let order = Order {
        order_id: OrderId::from_random(app.random.bits()),
        customer_id: Some(lease.customer_id.clone()),
        plan: parameters.plan.clone(),
        amount: price.map_or(0, |price| price.amount.into()),
        currency: price.map(|price| price.currency.to_string()).unwrap_or_default(),
        billing_interval: price.map(|price| price.interval),
        quantity: Some(1),
        addons: Some(AddonIds::default()),
        tax: None,
        discount: None,
        returned: 0,
        status: OrderStatus::Pending,
        stripe_checkout_session_id: Some(session.id.clone()),
        stripe_invoice_id: None,
        stripe_payment_intent_id: None,
        invoice_url: None,
        receipt_url: None,
        created_at: now,
        purchased_at: None,
        updated_at: now,
    };
    let attempt = Attempt { result: Some(session.id.to_string()), ..attempt };
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.put_attempt(&lease.customer_id, Purpose::Checkout, &attempt).await?;
    tx.put_order(&order).await?;
    tx.commit(app.fail_points.at(Place::CheckoutRecorded)).await?;
    Ok(())
}
