//! Opens a checkout: ensures a Stripe customer, and creates a Checkout session and a pending order
//! (`session.rs`). It does not process the payment: [`crate::flows::sale::sync`] does.

mod session;

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::ids::CustomerId;
use crate::domain::sale::attempt::CreatedObject;
use crate::domain::sale::promotion::{CodeUse, EnteredCode};
use crate::domain::sale::selection::holdings::Holdings;
use crate::domain::sale::selection::{self, NotSold, PurchaseRequest, Selection};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus, StripeState};
use crate::error::{Code, Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::promotion;
use crate::flows::sale::stripe_customer;
use crate::flows::sale::sync;
use crate::stripe::{SessionMode, SessionParameters, StripeFailure};

/// How long a pending payment blocks another checkout: longer than any bank debit takes
/// (<https://docs.stripe.com/payments/bank-debits>).
const LONGEST_PAYMENT: TimeDelta = TimeDelta::days(30);

/// The request of a checkout.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    /// The request of the customer.
    pub purchase: PurchaseRequest,
    /// A promotion code.
    pub promotion_code: Option<EnteredCode>,
    /// The URL that the browser returns to after the payment.
    pub success_url: String,
    /// The URL that the browser returns to when the customer cancels.
    pub cancel_url: String,
}

/// Opens a checkout for a customer, or reuses an open one with the same parameters. Returns the URL
/// of Stripe's payment page.
///
/// # Errors
/// [`Error::UnknownPlan`], [`Error::InvalidQuantity`], [`Error::UnknownAddon`],
/// [`Error::CurrencyNotSold`], [`Error::CurrencyPinned`], [`Error::InvalidPromotionCode`],
/// [`Error::TooManyRequests`] after wrong codes, [`Error::OwnsMore`], [`Error::UpdatesQuantity`],
/// [`Error::UpdatesEnded`], [`Error::NoPerpetualLicense`], [`Error::AddonBesideGrant`],
/// [`Error::InvalidReturnUrl`], [`Error::AlreadySubscribed`], [`Error::PaymentUnderWay`],
/// [`Error::BillingNotConfigured`], [`Error::NamedTooOften`], [`Error::Busy`], [`Error::Stripe`],
/// or a failure of the database.
pub async fn open(app: &App, customer_id: &CustomerId, request: CheckoutRequest) -> Result<String> {
    // Before anything is asked of Stripe.
    selection::refuse_for_everybody(&app.plans, &request.purchase)?;
    for (field, url) in [("success_url", &request.success_url), ("cancel_url", &request.cancel_url)]
    {
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
            lease.during(&own, open_held(&own, &lease, &request)).await
        })
        .await
}

/// Checks that Stripe may send browsers back to a URL: its origin must be configured.
pub(in crate::flows) fn may_return_to(app: &App, field: &'static str, url: &str) -> Result<()> {
    let allowed = app.return_origins.iter().any(|origin| origin.holds(url));
    if allowed { Ok(()) } else { Err(Error::InvalidReturnUrl(field)) }
}

async fn open_held(app: &App, lease: &Lease, request: &CheckoutRequest) -> Result<String> {
    let mut customer = load(app, &lease.customer_id).await?;
    let mut state = StripeState::default();
    if customer.stripe_customer_id.is_some() {
        // A purchase in the meantime counts, even if its webhook has not arrived yet.
        state = sync::sync_held(app, lease).await?.state;
        customer = load(app, &lease.customer_id).await?;
    }
    let known = customer.stripe_customer_id.as_ref();
    // Something that is not sold, or a wrong code, must not create a Stripe customer.
    let mut offer = Offer::new(app, lease, request, known, &state).await?;
    let ensured = Box::pin(stripe_customer::ensure(app, lease, &customer)).await?;
    let stripe_id = ensured.id;
    let last = session::last_session(app, lease, &stripe_id).await?;
    let was_completed =
        last.as_ref().is_some_and(|(one, _)| one.status == CheckoutStatus::Complete);
    if was_completed || (customer.stripe_customer_id.is_none() && ensured.existed) {
        // It was completed after the first sync, or long ago. Or, after a restored backup, the
        // Stripe customer has a subscription already.
        state = sync::sync_held(app, lease).await?.state;
        offer = Offer::new(app, lease, request, Some(&stripe_id), &state).await?;
    }
    let Offer { selection, promotion_code } = offer;
    let parameters = SessionParameters {
        promotion_code,
        trial_days: trial_days(app, lease, &selection, &state).await?,
        ..session::parameters(lease, &stripe_id, &selection, request, app.plans.checkout)
    };
    if let Some((session, before)) = last {
        match (session.status, session.url.clone()) {
            (CheckoutStatus::Open, Some(url)) if before == parameters => return Ok(url),
            (CheckoutStatus::Open, _) => {
                match stripe_customer::expire(app, app.stripe()?, &session.id).await {
                    // Nobody paid it, so its order is of no interest to the customer.
                    Ok(()) => delete_order(app, lease, &session).await?,
                    // Stripe does not expire a session that was just paid.
                    Err(failure) if failure.comes_too_late() => {
                        state = sync::sync_held(app, lease).await?.state;
                        select(app, lease, &request.purchase, &state).await?;
                        return Err(Error::Busy);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            (CheckoutStatus::Complete, _) => {
                let is_once = before.mode == SessionMode::Payment;
                let since = app.now() - LONGEST_PAYMENT;
                if app.store.read().await?.is_being_paid(&session.id, is_once, since).await? {
                    return Err(Error::PaymentUnderWay);
                }
            }
            (CheckoutStatus::Expired, _) => {}
        }
    }
    let attempt =
        stripe_customer::store_attempt(app, lease, CreatedObject::Checkout, &parameters).await?;
    let session = match session::create(app, &attempt, &parameters).await? {
        Ok(session) => session,
        Err(failure) => return Err(refused(app, &stripe_id, &selection, failure).await),
    };
    session::record(app, lease, attempt, &session, &parameters).await?;
    session.url.ok_or_else(|| StripeFailure::Unreadable("a session without a URL".into()).into())
}

/// The selection and the promotion code of a request.
struct Offer<'a> {
    selection: Selection<'a>,
    /// Stripe's id of the code that the request names.
    promotion_code: Option<String>,
}

impl<'a> Offer<'a> {
    /// # Errors
    /// The reason why nothing is sold, as in [`select`], or why the code is not taken.
    async fn new(
        app: &'a App,
        lease: &Lease,
        request: &CheckoutRequest,
        stripe_id: Option<&StripeCustomerId>,
        state: &StripeState,
    ) -> Result<Self> {
        let selection = select(app, lease, &request.purchase, state).await?;
        let buyer = (&lease.customer_id, stripe_id);
        let promotion_code = promotion_code(app, buyer, &selection, state, request).await?;
        Ok(Self { selection, promotion_code })
    }
}

/// Returns what is sold to a customer with this state at Stripe.
///
/// # Errors
/// The reason why it is not sold: one of [`NotSold`], or [`Error::AlreadySubscribed`].
async fn select<'a>(
    app: &'a App,
    lease: &Lease,
    purchase: &PurchaseRequest,
    state: &StripeState,
) -> Result<Selection<'a>> {
    let license = app.store.read().await?.current_license(&lease.customer_id).await?;
    let holdings = Holdings::of(state, &app.plans, app.now());
    let selection = holdings.select(purchase, license.as_ref())?;
    if selection.interval.is_recurring() {
        refuse_second_subscription(app, &lease.customer_id).await?;
    }
    Ok(selection)
}

/// Returns the length of the trial at Stripe: each customer has one.
async fn trial_days(
    app: &App,
    lease: &Lease,
    selection: &Selection<'_>,
    state: &StripeState,
) -> Result<Option<u32>> {
    let days = selection.plan.trial_days.filter(|_| selection.interval.is_recurring());
    let is_second = state.subscriptions.iter().any(|one| one.trial_end.is_some());
    if days.is_none() || is_second {
        return Ok(None);
    }
    let is_second = app.store.read().await?.has_had_stripe_trial(&lease.customer_id).await?;
    Ok(days.filter(|_| !is_second))
}

/// Returns Stripe's id of the promotion code that a purchase names.
async fn promotion_code(
    app: &App,
    (id, stripe_id): (&CustomerId, Option<&StripeCustomerId>),
    selection: &Selection<'_>,
    state: &StripeState,
    request: &CheckoutRequest,
) -> Result<Option<String>> {
    let Some(code) = &request.promotion_code else { return Ok(None) };
    let code_use = CodeUse {
        customer: stripe_id.map(StripeCustomerId::as_str),
        has_bought: state.has_bought(),
        amount: Some(selection.amount()),
        currency: &selection.currency,
        prices: selection.lines().map(|(price, _)| price.id.as_str()).collect(),
        used: BTreeSet::new(),
    };
    promotion::usable(app, id, code, &code_use).await.map(|code| Some(code.id))
}

/// Returns the error for a session that Stripe refused. Stripe has no code for a customer who is
/// pinned to another currency, for example by a quote or by a checkout of another program. So it
/// is asked for the customer's currencies.
async fn refused(
    app: &App,
    stripe_id: &StripeCustomerId,
    selection: &Selection<'_>,
    failure: StripeFailure,
) -> Error {
    let is_pinnable = matches!(failure, StripeFailure::Refused { status: 400, .. })
        && selection.interval.is_recurring();
    let error = promotion::refused(failure);
    if !is_pinnable || error.code() != Code::BillingRefused {
        return error;
    }
    let Ok(stripe) = app.stripe() else { return error };
    let pins = stripe.pinning_currencies(stripe_id).await.unwrap_or_default();
    match pins.into_iter().find(|currency| *currency != selection.currency) {
        Some(pinned) => {
            let sold = selection.plan.currencies(selection.interval);
            NotSold::Pinned { pinned, sold }.into()
        }
        None => error,
    }
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
