//! A customer's Stripe customer: finds or creates it once, sends it changed names and addresses,
//! and cancels its subscriptions before the customer is deleted. Everything here runs under the
//! customer's lease. `link.rs` writes the link; fetching Stripe's state is in `sync.rs`.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::customer::{Customer, SyncStatus};
use crate::domain::contact::DisplayName;
use crate::domain::ids::{AttemptId, CustomerId};
use crate::domain::operator::audit::Actor;
use crate::domain::sale::attempt::{Attempt, CreatedObject};
use crate::domain::sale::buyer::{Purchase, purchase_paid};
use crate::domain::sale::matching::{MatchReason, StripeCandidate, Tag};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::link::{LinkReason, link};
use crate::flows::sale::waiting_invoice;
use crate::stripe::{Answer, CustomerChanges, CustomerParameters, Stripe, StripeFailure};

/// How long an idempotency key is used: Stripe deletes keys after a day
/// (<https://docs.stripe.com/api/idempotent_requests>).
const KEY_LIFETIME: TimeDelta = TimeDelta::hours(23);

/// The most Stripe customers that are compared when several name one customer: each costs a call,
/// and a checkout waits for all of them. More than that are a mistake of a program.
const MAX_CANDIDATES: usize = 10;

/// Returns whether Stripe certainly still knows an idempotency key that was stored at this time.
/// One of the future was written by a clock that was ahead: its age is unknown, so it is not fresh.
pub(in crate::flows) fn is_fresh(stored_at: Timestamp, now: Timestamp) -> bool {
    stored_at <= now + SKEW && now < stored_at + KEY_LIFETIME
}

/// A customer's Stripe customer, and whether it may have existed before, perhaps with a
/// subscription.
pub(in crate::flows) struct Ensured {
    pub id: StripeCustomerId,
    pub existed: bool,
}

/// Returns the customer's Stripe customer. If there is none, links one whose `metadata.customer_id`
/// names this customer, or else creates one. After a lost response or a crash, the same call is
/// repeated with the same idempotency key, so that there are never two.
pub(in crate::flows) async fn ensure(
    app: &App,
    lease: &Lease,
    customer: &Customer,
) -> Result<Ensured> {
    if let Some(id) = &customer.stripe_customer_id {
        return Ok(Ensured { id: id.clone(), existed: true });
    }
    let attempt =
        app.store.read().await?.attempt(&lease.customer_id, CreatedObject::Customer).await?;
    if attempt.is_some() {
        let id = resume(app, lease, customer, attempt).await?;
        return Ok(Ensured { id, existed: true });
    }
    if let Some(id) = link_named(app, lease, customer).await? {
        return Ok(Ensured { id, existed: true });
    }
    let id = resume(app, lease, customer, None).await?;
    Ok(Ensured { id, existed: false })
}

/// Looks for a Stripe customer whose metadata names this customer, and links it. It exists if a
/// backup was restored, or if the vendor wrote the metadata. Of several, one that pays for a plan
/// is preferred, then one with any live subscription, then the lowest id.
async fn link_named(
    app: &App,
    lease: &Lease,
    customer: &Customer,
) -> Result<Option<StripeCustomerId>> {
    let (stripe, id) = (app.stripe()?, &lease.customer_id);
    let mut found = stripe.customers_with_email(customer.email.as_str()).await?;
    found.retain(|one| one.tag == Tag::Ours(id.clone()));
    found.extend(named(stripe, id).await?);
    found.sort_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
    found.dedup_by(|a, b| a.id == b.id);
    let found = keep_unlinked(app, found).await?;
    let Some(best) = choose(app, found, id).await? else { return Ok(None) };
    let why = LinkReason::Matched { theirs: &best, reason: MatchReason::Metadata };
    link(app, lease, &best.id, why, Actor::System).await?;
    Ok(Some(best.id))
}

/// Returns the Stripe customers that are linked to nobody. A linked one is never moved to another
/// customer, whatever its metadata says.
async fn keep_unlinked(app: &App, found: Vec<StripeCandidate>) -> Result<Vec<StripeCandidate>> {
    let mut tx = app.store.read().await?;
    let mut unlinked = Vec::new();
    for one in found {
        if tx.customer_by_stripe_id(&one.id).await?.is_none() {
            unlinked.push(one);
        }
    }
    Ok(unlinked)
}

/// Returns the Stripe customers whose metadata names this customer, or none if the account has no
/// search.
pub(in crate::flows) async fn named(
    stripe: &Stripe,
    id: &CustomerId,
) -> Answer<Vec<StripeCandidate>> {
    match stripe.customers_named(id).await {
        // Search is not available in every account (<https://docs.stripe.com/search>).
        Err(StripeFailure::Refused { .. }) => Ok(Vec::new()),
        found => found,
    }
}

/// Returns the best of the Stripe customers that name one customer. If there are several, also
/// alerts the operator.
///
/// # Errors
/// [`Error::NamedTooOften`] when there are more than [`MAX_CANDIDATES`]: an operator must decide.
async fn choose(
    app: &App,
    mut found: Vec<StripeCandidate>,
    id: &CustomerId,
) -> Result<Option<StripeCandidate>> {
    if found.len() < 2 {
        return Ok(found.pop());
    }
    let all: Vec<_> = found.iter().map(|one| one.id.to_string()).collect();
    tracing::warn!(
        customer_id = %id,
        stripe_customers = ?all,
        "several Stripe customers name this customer in `metadata.customer_id`; \
         run `licentia stripe backfill` to see what to do"
    );
    app.metrics.sync_alerts.inc();
    if found.len() > MAX_CANDIDATES {
        return Err(Error::NamedTooOften { customer_id: id.clone(), most: MAX_CANDIDATES });
    }
    let mut best = None;
    for one in found {
        let bought = app.stripe()?.bought(&one.id, app.plans.sells_once()).await?;
        let live = bought.subscriptions.iter().any(|subscription| subscription.status.is_live());
        let worth = (purchase_paid(&app.plans, &bought).map(Purchase::worth), live);
        if best.as_ref().is_none_or(|(before, _)| worth > *before) {
            best = Some((worth, one));
        }
    }
    Ok(best.map(|(_, one)| one))
}

/// Creates and links the Stripe customer, or links the one that an earlier attempt created.
async fn resume(
    app: &App,
    lease: &Lease,
    customer: &Customer,
    stored: Option<Attempt>,
) -> Result<StripeCustomerId> {
    let stored = stored.and_then(|attempt| {
        let parameters = serde_json::from_str(attempt.parameters.as_str()).ok()?;
        Some((attempt, parameters))
    });
    let may_be_older = stored.is_some();
    let (attempt, parameters) = match stored {
        Some((attempt, parameters)) if is_fresh(attempt.created_at, app.now()) => {
            (attempt, parameters)
        }
        Some((_, parameters)) => {
            // Stripe no longer knows the key, but the Stripe customer may exist.
            if let Some(found) = find(app, lease, &parameters).await? {
                return Ok(found);
            }
            begin(app, lease, customer).await?
        }
        None => begin(app, lease, customer).await?,
    };
    match make(app, app.stripe()?, &attempt, &parameters).await {
        Ok(made) => {
            let why = LinkReason::Created { parameters: &parameters, may_be_older };
            link(app, lease, &made, why, Actor::System).await?;
            Ok(made)
        }
        Err(failure) => after_failure(app, lease, customer, &parameters, failure).await,
    }
}

/// Links the Stripe customer of a call that failed, if the call or an earlier one created it. If
/// the failure is final and it does not exist, creates it with a new key, or ends the attempt.
async fn after_failure(
    app: &App,
    lease: &Lease,
    customer: &Customer,
    parameters: &CustomerParameters,
    failure: StripeFailure,
) -> Result<StripeCustomerId> {
    match failure {
        // Stripe may repeat this response for as long as it knows the key. But if the call is still
        // in progress, a call with another key could create a second Stripe customer.
        StripeFailure::Unreadable(_) => {
            find(app, lease, parameters).await?.ok_or(Error::Stripe(failure))
        }
        // Stripe repeats this failure for as long as it knows the key, whether or not it created
        // the Stripe customer.
        StripeFailure::Broken(_) => {
            if let Some(found) = find(app, lease, parameters).await? {
                return Ok(found);
            }
            let (attempt, parameters) = begin(app, lease, customer).await?;
            let made = make(app, app.stripe()?, &attempt, &parameters).await?;
            let why = LinkReason::Created { parameters: &parameters, may_be_older: false };
            link(app, lease, &made, why, Actor::System).await?;
            Ok(made)
        }
        StripeFailure::Refused { .. } => after_refusal(app, lease, parameters, failure).await,
        StripeFailure::Unreachable(_) | StripeFailure::TooLong { .. } => Err(failure.into()),
    }
}

/// Ends an attempt that Stripe refused. Returns the Stripe customer that an earlier call of the
/// attempt created, for example before the API key was rolled, or else the failure.
async fn after_refusal(
    app: &App,
    lease: &Lease,
    parameters: &CustomerParameters,
    failure: StripeFailure,
) -> Result<StripeCustomerId> {
    match find(app, lease, parameters).await {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        // Stripe refuses the address, so no earlier call can have created it.
        Err(Error::Stripe(StripeFailure::Refused { status: 400, .. })) => {}
        Err(_) => return Err(failure.into()),
    }
    // The next attempt uses the customer's data of that time.
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.delete_attempt(&lease.customer_id, CreatedObject::Customer).await?;
    tx.commit(app.fail_points.at(Place::StripeCustomerRefused)).await?;
    Err(failure.into())
}

/// Stores a new attempt with the parameters of the call.
async fn begin(
    app: &App,
    lease: &Lease,
    customer: &Customer,
) -> Result<(Attempt, CustomerParameters)> {
    let parameters = CustomerParameters {
        customer_id: customer.customer_id.to_string(),
        email: customer.email.to_string().into(),
        name: customer.stripe_name().map(|name| name.to_owned().into()),
        business_name: customer.company_name.as_ref().map(|name| name.to_string().into()),
    };
    let attempt = store_attempt(app, lease, CreatedObject::Customer, &parameters).await?;
    Ok((attempt, parameters))
}

/// Stores an attempt with a new idempotency key and these parameters, before the call.
pub(in crate::flows) async fn store_attempt(
    app: &App,
    lease: &Lease,
    purpose: CreatedObject,
    parameters: &impl serde::Serialize,
) -> Result<Attempt> {
    let parameters = serde_json::to_string(parameters)
        .map_err(|error| Error::Internal(format!("an attempt cannot be written: {error}")))?;
    let attempt = Attempt {
        attempt_id: AttemptId::from_random(app.random.bits()),
        parameters: parameters.into(),
        created_at: app.now(),
        result: None,
    };
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.put_attempt(&lease.customer_id, purpose, &attempt).await?;
    let place = match purpose {
        CreatedObject::Customer => Place::StripeCustomerBegun,
        CreatedObject::Checkout => Place::CheckoutBegun,
    };
    tx.commit(app.fail_points.at(place)).await?;
    Ok(attempt)
}

async fn make(
    app: &App,
    stripe: &Stripe,
    attempt: &Attempt,
    parameters: &CustomerParameters,
) -> Answer<StripeCustomerId> {
    let at = app.fail_points.at(Place::StripeCustomerMade);
    stripe.create_customer(&attempt.attempt_id, parameters, at).await
}

/// Looks for the Stripe customer that an earlier call created, and links it. Returns `None` if
/// there is none.
async fn find(
    app: &App,
    lease: &Lease,
    parameters: &CustomerParameters,
) -> Result<Option<StripeCustomerId>> {
    // The list shows a new Stripe customer at once; the search does not.
    let mut found = app.stripe()?.customers_with_email(parameters.email.as_str()).await?;
    found.retain(|one| one.tag == Tag::Ours(lease.customer_id.clone()));
    let Some(found) = keep_unlinked(app, found).await?.into_iter().next() else { return Ok(None) };
    let why = LinkReason::Created { parameters, may_be_older: true };
    link(app, lease, &found.id, why, Actor::System).await?;
    Ok(Some(found.id))
}

/// Sends the names and the email address to Stripe, as far as they changed and were not sent yet.
/// Returns whether Stripe accepted them. A refusal is not an error: Stripe may be stricter about
/// addresses, and the sync must continue.
pub(in crate::flows) async fn push(
    app: &App,
    customer: &Customer,
    id: &StripeCustomerId,
    name_at_stripe: Option<&str>,
) -> Result<bool> {
    let due = customer.stripe_sync_status.unwrap_or(SyncStatus::Synced);
    if due == SyncStatus::Synced {
        return Ok(true);
    }
    let stripe = app.stripe()?;
    let due = due.fields();
    let company = customer.company_name.as_ref().map(DisplayName::as_str);
    let changes = CustomerChanges {
        email: due.email.then_some(customer.email.as_str()),
        // Stripe would show a new company's name instead of the name, unless that is sent too.
        name: if due.name {
            Some(customer.stripe_name().unwrap_or_default())
        } else {
            name_at_stripe.filter(|_| due.company)
        },
        business_name: due.company.then(|| company.unwrap_or_default()),
    };
    let at = app.fail_points.at(Place::StripeCustomerUpdated);
    match stripe.update_customer(id, changes, at).await {
        Ok(()) => Ok(true),
        Err(error @ StripeFailure::Refused { .. }) => {
            let customer_id = &customer.customer_id;
            tracing::warn!(%customer_id, %error, "Stripe refused a name or the email address");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends everything at Stripe that could charge a customer whose account is about to be deleted:
/// closes the open checkout, and cancels every subscription of the Stripe customer, known here or
/// not.
///
/// # Errors
/// [`Error::Stripe`], [`Error::BillingNotConfigured`]: then the account must not be deleted.
pub(in crate::flows) async fn close(app: &App, lease: &Lease) -> Result<()> {
    let mut tx = app.store.read().await?;
    let customer = tx.customer(&lease.customer_id).await?.ok_or(Error::NotFound("customer"))?;
    let checkout = tx.attempt(&lease.customer_id, CreatedObject::Checkout).await?;
    drop(tx);
    let Some(stripe_id) = &customer.stripe_customer_id else { return Ok(()) };
    let stripe = app.stripe()?;
    if let Some(session) = checkout.and_then(|attempt| attempt.result?.parse().ok()) {
        ended(expire(app, stripe, &session).await)?;
    }
    // Listed after the checkout is closed, so that no subscription is missed.
    for subscription in stripe.subscriptions(stripe_id).await? {
        if !subscription.status.has_ended() {
            if subscription.may_wait() {
                let open = stripe.open_invoices(&subscription).await?;
                // If it was just paid, the subscription ends anyway.
                waiting_invoice::void(app, &subscription, &open).await?;
            }
            let at = app.fail_points.at(Place::AccountSubscriptionEnded);
            ended(stripe.cancel_subscription(&subscription.id, at).await)?;
        }
    }
    Ok(())
}

/// Closes a checkout, so that it can no longer be paid.
pub(in crate::flows) async fn expire(
    app: &App,
    stripe: &Stripe,
    id: &CheckoutSessionId,
) -> Answer<()> {
    stripe.expire_session(id, app.fail_points.at(Place::CheckoutClosed)).await.map(drop)
}

/// Ignores the refusal to end an object that was already paid, closed or ended.
pub(in crate::flows) fn ended(done: Answer<()>) -> Result<()> {
    match done {
        Err(failure) if failure.comes_too_late() => Ok(()),
        done => Ok(done?),
    }
}
