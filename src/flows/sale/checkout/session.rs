//! The Checkout session of a checkout: the last one, a new one, and the order that waits for it.

use crate::app::App;
use crate::domain::ids::OrderId;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::attempt::{Attempt, CreatedObject};
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::{CheckoutOptions, Currency, Interval, Price, Sold};
use crate::domain::sale::selection::Selection;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::CheckoutSession;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::sale::checkout::CheckoutRequest;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::stripe_customer;
use crate::stripe::{Answer, SessionMode, SessionParameters, StripeFailure};

/// Returns the parameters of the session that sells a selection, without a code or a trial.
pub(super) fn parameters(
    lease: &Lease,
    stripe_id: &StripeCustomerId,
    selection: &Selection<'_>,
    request: &CheckoutRequest,
    options: CheckoutOptions,
) -> SessionParameters {
    let Selection { plan, interval, price: price_of_plan, choosable, currency, .. } = selection;
    let is_chosen_on_page = price_of_plan.is_some()
        && plan.is_per_unit()
        && choosable.min < choosable.max
        && *interval != Interval::Updates;
    let mut lines = selection.lines();
    let (price, quantity) =
        lines.next().map_or((String::new(), 0), |(price, units)| (price.id.clone(), units));
    let has_several_currencies = selection.lines().any(|(price, _)| !price.others.is_empty());
    SessionParameters {
        customer_id: lease.customer_id.to_string(),
        stripe_customer_id: stripe_id.to_string(),
        plan: plan.id.to_string(),
        price,
        quantity,
        addons: lines.map(|(price, _)| price.id.clone()).collect(),
        mode: if interval.is_recurring() {
            SessionMode::Subscription
        } else {
            SessionMode::Payment
        },
        currency: has_several_currencies.then(|| currency.to_string()),
        adjustable: is_chosen_on_page.then_some((choosable.min, choosable.max)),
        options: options.of_page(),
        promotion_code: None,
        trial_days: None,
        accepted_loss: selection.accepted_loss.clone(),
        success_url: request.success_url.clone(),
        cancel_url: request.cancel_url.clone(),
    }
}

/// Returns the present state of the last attempt's session, with the attempt's parameters. If the
/// response of the attempt was lost, the call is repeated with the same idempotency key, and
/// returns the session that it created.
pub(super) async fn last_session(
    app: &App,
    lease: &Lease,
    stripe_id: &StripeCustomerId,
) -> Result<Option<(CheckoutSession, SessionParameters)>> {
    let stored =
        app.store.read().await?.attempt(&lease.customer_id, CreatedObject::Checkout).await?;
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
        None if !stripe_customer::is_fresh(attempt.created_at, app.now()) => return Ok(None),
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
pub(super) async fn create(
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
pub(super) async fn record(
    app: &App,
    lease: &Lease,
    attempt: Attempt,
    session: &CheckoutSession,
    parameters: &SessionParameters,
) -> Result<()> {
    let order = pending_order(app, lease, session, parameters);
    let attempt = Attempt { result: Some(session.id.to_string()), ..attempt };
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.put_attempt(&lease.customer_id, CreatedObject::Checkout, &attempt).await?;
    tx.put_order(&order).await?;
    if let Some(loss) = &parameters.accepted_loss {
        tx.accept_loss(&lease.customer_id, loss).await?;
    }
    tx.commit(app.fail_points.at(Place::CheckoutRecorded)).await?;
    Ok(())
}

/// Returns the order that waits for the payment of a session. Its amount is the list price: the
/// invoice says what is paid.
fn pending_order(
    app: &App,
    lease: &Lease,
    session: &CheckoutSession,
    parameters: &SessionParameters,
) -> Order {
    let first = app.plans.sold(&parameters.price);
    let price = first.and_then(Sold::price);
    let chosen = parameters.currency.as_deref().and_then(|text| text.parse::<Currency>().ok());
    let currency = chosen.as_ref().or(price.map(|price| &price.currency));
    let amount = |price: &Price| currency.and_then(|currency| price.amount_in(currency));
    let of_first = price.and_then(amount).map_or(0, i64::from);
    let id = OrderId::from_random(app.random.bits());
    let mut order = Order {
        amount: of_first.saturating_mul(parameters.quantity.into()),
        currency: currency.map(ToString::to_string).unwrap_or_default(),
        billing_interval: price.map(|price| price.interval),
        // Add-ons alone have no units of the plan.
        quantity: (!matches!(first, Some(Sold::Addon { .. }))).then_some(parameters.quantity),
        stripe_checkout_session_id: Some(session.id.clone()),
        ..Order::pending(id, &lease.customer_id, &parameters.plan, app.now())
    };
    let mut ids = AddonIds::default();
    ids.0.extend(first.and_then(Sold::addon).map(|addon| addon.id.clone()));
    for sold in parameters.addons.iter().filter_map(|id| app.plans.sold(id)) {
        ids.0.extend(sold.addon().map(|addon| addon.id.clone()));
        let amount = sold.price().and_then(amount).map_or(0, i64::from);
        order.amount = order.amount.saturating_add(amount);
    }
    Order { addons: Some(ids), ..order }
}
