//! Previews of what a change of a subscription costs. Nothing is changed, here or at Stripe; only
//! wrong promotion codes are counted.

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::ids::CustomerId;
use crate::domain::sale::change::{
    self, Billing, ChangeRefused, ChangeRequest, SubscriptionChange,
};
use crate::domain::sale::discount::{Discount, Discounts, of_next_invoice};
use crate::domain::sale::preview::{
    LIFETIME, NextInvoice, Preview, PreviewTerms, UpcomingInvoice, fingerprint, next_date,
    request_hash,
};
use crate::domain::sale::promotion::{CodeUse, PromotionCode};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;
use crate::domain::secret::Purpose;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::sale::promotion;
use crate::flows::sale::sync;
use crate::flows::secret;
use crate::stripe::{PreviewOf, StripeFailure};

/// A preview as the customer sees it.
pub struct Previewed {
    /// The preview.
    pub preview: Preview,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The id by which the change repeats it.
    pub preview_id: String,
}

/// Returns what a change of the customer's subscription costs.
///
/// # Errors
/// [`Error::NoSubscription`], [`Error::ChangeNotPossible`], [`Error::InvalidPromotionCode`], or the
/// reason why what is requested is not sold. [`Error::BillingNotConfigured`], [`Error::Stripe`], or
/// a failure of the database.
pub async fn preview(app: &App, customer: &Customer, request: &ChangeRequest) -> Result<Previewed> {
    let (id, now) = (&customer.customer_id, app.now());
    app.stripe()?;
    let stripe_id = customer.stripe_customer_id.as_ref().ok_or(Error::NoSubscription)?;
    let row = app.store.read().await?.subscription(id).await?;
    // The change reads the same, so that both decide the same.
    let state = sync::state_at_stripe(app, id, stripe_id).await?;
    let current = row.as_ref().map(|row| &row.stripe_subscription_id);
    let (subscription, paid) = change::current(&state, current, &app.plans, now)?;
    let mut change = change::decide(subscription, &paid, request, &app.plans)?;
    refuse_vendors_schedule(app, subscription).await?;
    let held = app.stripe()?.discounts(&subscription.id).await?;
    let owner = (id, stripe_id);
    change.promotion_code = promotion_code(app, owner, request, &change, &state, &held).await?;
    let at = billed_from(&change, now, app);
    let due_now = invoice_of_change(app, &change, at).await?;
    let next = next_invoice(app, &change, due_now.as_ref(), &held).await?;
    let preview = Preview::new(due_now.as_ref(), &next);
    let terms = PreviewTerms {
        request: request_hash(id, request),
        state: fingerprint(subscription),
        at: at.epoch_seconds(),
        due_now: preview.due_now,
        total: due_now.as_ref().map(|invoice| invoice.total),
        expires: (now + LIFETIME).epoch_seconds(),
    };
    let text = terms.to_text();
    let signature = secret::keyed(app, Purpose::Preview, &text).await?;
    let preview_id = PreviewTerms::id(&text, &signature.to_string());
    let currency = subscription.currency.clone().unwrap_or_default();
    Ok(Previewed { preview, currency, preview_id })
}

/// Returns the terms of a preview, if this server or another one on the database made it for this
/// customer and request.
///
/// # Errors
/// [`Error::PreviewOutdated`], or a failure of the database.
pub(super) async fn open(
    app: &App,
    customer_id: &CustomerId,
    request: &ChangeRequest,
    preview_id: &str,
) -> Result<PreviewTerms> {
    let (text, signature) = PreviewTerms::split(preview_id).ok_or(Error::PreviewOutdated)?;
    if !secret::is_keyed(app, Purpose::Preview, text, signature).await? {
        return Err(Error::PreviewOutdated);
    }
    let terms = PreviewTerms::read(text).ok_or(Error::PreviewOutdated)?;
    let is_its = terms.request == request_hash(customer_id, request);
    if is_its { Ok(terms) } else { Err(Error::PreviewOutdated) }
}

/// Returns the promotion code that a change adds to the discounts `held`.
///
/// # Errors
/// Those of [`promotion::usable`].
pub(super) async fn promotion_code(
    app: &App,
    (id, stripe_id): (&CustomerId, &StripeCustomerId),
    request: &ChangeRequest,
    change: &SubscriptionChange<'_>,
    state: &StripeState,
    held: &[Discount],
) -> Result<Option<PromotionCode>> {
    let Some(code) = &request.promotion_code else { return Ok(None) };
    promotion::refuse_beside(app, held).await?;
    let subscription = change.subscription;
    let waiting = change::waiting_invoice(subscription, &state.invoices);
    let code_use = CodeUse {
        customer: Some(stripe_id.as_str()),
        has_bought: state.has_bought(),
        amount: change.amount,
        currency: &change.currency,
        prices: change.prices.iter().map(String::as_str).collect(),
        used: app.stripe()?.used_codes(&subscription.id, waiting).await?,
    };
    promotion::usable(app, id, code, &code_use).await.map(Some)
}

/// Returns the invoice that a change creates at once, which bills the rest of the period from this
/// time; `None` if it creates none.
pub(super) async fn invoice_of_change(
    app: &App,
    change: &SubscriptionChange<'_>,
    at: Timestamp,
) -> Result<Option<UpcomingInvoice>> {
    if change.billing == Billing::Later || change.edits.is_empty() {
        return Ok(None);
    }
    let invoice =
        app.stripe()?.preview_change(change, PreviewOf::Change(at), &Discounts::OfChange).await;
    let invoice = invoice.map_err(promotion::refused)?;
    let period_end = change.subscription.period_end(&app.plans).unwrap_or(Timestamp::MAX);
    Ok(Some(invoice).filter(|invoice| invoice.bills_before(period_end, &app.plans)))
}

/// Returns the next invoice after a change that creates the invoice `now` at once. After such a
/// one, the next is for a whole period: everything else is billed with it.
async fn next_invoice(
    app: &App,
    change: &SubscriptionChange<'_>,
    now: Option<&UpcomingInvoice>,
    held: &[Discount],
) -> Result<NextInvoice> {
    let stripe = app.stripe()?;
    let Some(date) = next_date(change, now, &app.plans) else { return Ok(NextInvoice::None) };
    // A code for one invoice lowers no rest of a period, so it is used up if it lowers anything.
    let is_code_used = now.is_some_and(|invoice| invoice.discount > 0);
    let code = change.promotion_code.as_ref().map(|code| (code, is_code_used));
    let Some(discounts) = of_next_invoice(held, code, (app.now(), date)) else {
        return Ok(NextInvoice::Unknown(date));
    };
    let known = |invoice| NextInvoice::Known(date, invoice);
    if now.is_none() {
        match stripe.preview_change(change, PreviewOf::Next, &discounts).await {
            // A trial without a payment method is followed by a pause.
            Err(StripeFailure::Refused { status: 404, .. }) => {}
            next => return next.map(known).map_err(promotion::refused),
        }
    }
    let next = stripe.preview_change(change, PreviewOf::WholePeriod, &discounts).await;
    next.map(known).map_err(promotion::refused)
}

/// Refuses to change a subscription that the vendor manages by a schedule. One of the portal gives
/// way.
pub(super) async fn refuse_vendors_schedule(app: &App, subscription: &Subscription) -> Result<()> {
    let Some(schedule) = &subscription.schedule else { return Ok(()) };
    if app.stripe()?.is_portal_schedule(schedule).await? {
        Ok(())
    } else {
        Err(ChangeRefused::Scheduled.into())
    }
}

/// Returns the time from which the rest of the period is billed: now, as far as it lies in the
/// period by Stripe's clock.
fn billed_from(change: &SubscriptionChange<'_>, now: Timestamp, app: &App) -> Timestamp {
    let item = change.subscription.plan(&app.plans).map(|(_, item)| item);
    let start = item.and_then(|item| item.period_start);
    let end = item.and_then(|item| item.period_end);
    now.max(start.unwrap_or(now)).min(end.unwrap_or(now))
}
