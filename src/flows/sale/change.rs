//! Changes a customer's subscription as a preview showed it, and cancels and resumes it. Whether a
//! license follows is decided by the sync alone, from what is paid.

use serde_json::json;

use crate::app::App;
use crate::domain::ids::{AttemptId, CustomerId};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::change::{
    self, Billing, ChangeRefused, ChangeRequest, Paid, StoredChange, SubscriptionChange,
};
use crate::domain::sale::invoice::{InvoiceStatus, Payment};
use crate::domain::sale::preview::{PreviewTerms, fingerprint, hash};
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription, SubscriptionRow};
use crate::domain::sale::trial::has_paid_nothing_since;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::audit;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::preview::{self, invoice_of_change, refuse_vendors_schedule};
use crate::flows::sale::promotion;
use crate::flows::sale::schedule;
use crate::flows::sale::stripe_customer::is_fresh;
use crate::flows::sale::subscription::portal_for_owner;
use crate::flows::sale::sync;
use crate::flows::sale::waiting_invoice;
use crate::stripe::{Answer, ChangeParameters, StripeFailure};

/// When a subscription is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAt {
    /// At the end of what is paid for.
    PeriodEnd,
    /// At once, without a refund.
    Now,
}

/// A change as a preview showed it.
struct PreviewedChange {
    request: ChangeRequest,
    /// The terms of the preview, and the hash of its id.
    terms: PreviewTerms,
    preview_hash: String,
}

/// The request of a customer.
enum Request {
    /// A change.
    Change(Box<PreviewedChange>),
    /// The end.
    Cancel(CancelAt),
    /// No end, or the end of a pause.
    Resume,
}

/// Changes the customer's subscription as a preview showed it. If the response was lost, the same
/// request returns the same result. Returns the subscription.
///
/// # Errors
/// [`Error::PreviewOutdated`]. [`Error::PaymentFailed`] and [`Error::PaymentActionRequired`]: then
/// the change waits for its payment. Those of [`preview::preview`], and [`Error::Busy`].
pub async fn change(
    app: &App,
    customer_id: &CustomerId,
    request: ChangeRequest,
    preview_id: &str,
) -> Result<SubscriptionRow> {
    let terms = preview::open(app, customer_id, &request, preview_id).await?;
    let preview_hash = hash(preview_id);
    let change = PreviewedChange { request, terms, preview_hash };
    run(app, customer_id, Request::Change(Box::new(change))).await
}

/// Lets the customer's subscription end. Returns the subscription.
///
/// # Errors
/// [`Error::NoSubscription`], [`Error::ChangeNotPossible`], [`Error::Busy`], [`Error::Stripe`], or
/// a failure of the database.
pub async fn cancel(app: &App, customer_id: &CustomerId, at: CancelAt) -> Result<SubscriptionRow> {
    run(app, customer_id, Request::Cancel(at)).await
}

/// Undoes a scheduled end of the customer's subscription, or resumes a paused one. Returns the
/// subscription.
///
/// # Errors
/// Those of [`cancel`], [`Error::PaymentFailed`] and [`Error::PaymentActionRequired`].
pub async fn resume(app: &App, customer_id: &CustomerId) -> Result<SubscriptionRow> {
    run(app, customer_id, Request::Resume).await
}

/// Carries out a request under the lease, in its own task: a disconnect must not interrupt it.
async fn run(app: &App, customer_id: &CustomerId, request: Request) -> Result<SubscriptionRow> {
    app.stripe()?;
    let (own, customer_id) = (app.clone(), customer_id.clone());
    app.tasks
        .run(async move {
            let lease = Lease::take(&own, &customer_id).await?;
            let work = async {
                match &request {
                    Request::Change(change) => change_held(&own, &lease, change).await?,
                    Request::Cancel(at) => cancel_held(&own, &lease, *at).await?,
                    Request::Resume => resume_held(&own, &lease).await?,
                }
                let row = own.store.read().await?.subscription(&lease.customer_id).await?;
                row.ok_or(Error::NoSubscription)
            };
            lease.during(&own, Box::pin(work)).await
        })
        .await
}

async fn change_held(app: &App, lease: &Lease, previewed: &PreviewedChange) -> Result<()> {
    let terms = &previewed.terms;
    let repeated = former_attempt(app, lease, previewed).await?;
    let state = sync::sync_held(app, lease).await?.state;
    if let Some((stored, parameters)) = &repeated
        && (stored.done_at.is_some() || parameters.is_made(&state))
    {
        return finish(app, lease, &stored.attempt_id, parameters, &state).await;
    }
    // A former attempt may never have reached Stripe, so it is held to its preview like a new one.
    if Timestamp::saturating(terms.expires) <= app.now() {
        return Err(Error::PreviewOutdated);
    }
    let (subscription, paid) = current(app, lease, &state).await?;
    if fingerprint(subscription) != terms.state {
        return Err(Error::PreviewOutdated);
    }
    let mut change = change::decide(subscription, &paid, &previewed.request, &app.plans)?;
    let customer = app.store.read().await?.customer(&lease.customer_id).await?;
    let stripe_id = customer.and_then(|customer| customer.stripe_customer_id);
    let stripe_id = stripe_id.ok_or(Error::NoSubscription)?;
    if previewed.request.promotion_code.is_some() {
        let held = app.stripe()?.discounts(&subscription.id).await?;
        let (owner, request) = ((&lease.customer_id, &stripe_id), &previewed.request);
        change.promotion_code =
            preview::promotion_code(app, owner, request, &change, &state, &held).await?;
    }
    if change.is_empty() {
        return void_waiting_invoice_and_sync(app, lease, subscription, &state).await;
    }
    refuse_vendors_schedule(app, subscription).await?;
    // Before the amounts are compared: the customer's balance gets back what paid a part of it.
    void_waiting_invoice(app, lease, subscription, &state).await?;
    let billed_from = Timestamp::saturating(terms.at);
    let invoice = invoice_of_change(app, &change, billed_from).await?;
    let (due, total) = invoice.map_or((0, None), |invoice| (invoice.due, Some(invoice.total)));
    if (due, total) != (terms.due_now, terms.total) {
        return Err(Error::PreviewOutdated);
    }
    let parameters = parameters_of(&change, terms);
    let attempt_id = match repeated {
        // Should the former call still arrive, Stripe makes the change once.
        Some((stored, former)) if former == parameters => stored.attempt_id,
        _ => store(app, lease, previewed, (&change, &parameters)).await?,
    };
    make(app, lease, &attempt_id, &parameters).await
}

/// Returns the former attempt to make the same change.
async fn former_attempt(
    app: &App,
    lease: &Lease,
    previewed: &PreviewedChange,
) -> Result<Option<(StoredChange, ChangeParameters)>> {
    let stored = app.store.read().await?.subscription_change(&lease.customer_id).await?;
    let is_same = |stored: &StoredChange| {
        stored.preview_hash == previewed.preview_hash && is_fresh(stored.created_at, app.now())
    };
    Ok(stored.filter(is_same).and_then(|stored| {
        // Another version may have written it.
        let parameters = serde_json::from_str(stored.parameters.as_str()).ok()?;
        Some((stored, parameters))
    }))
}

/// Voids the invoice of a former change that waits for its payment, which ends that change.
///
/// # Errors
/// [`Error::Busy`] if it was paid in the meantime: then the change is in effect. Also while Stripe
/// neither voids it nor says that it is closed.
async fn void_waiting_invoice(
    app: &App,
    lease: &Lease,
    subscription: &Subscription,
    state: &StripeState,
) -> Result<()> {
    let refused = waiting_invoice::void(app, subscription, &state.invoices).await?;
    let Some(invoice) = refused else { return Ok(()) };
    let state = sync::sync_held(app, lease).await?.state;
    let found = state.invoices.iter().find(|found| found.id == *invoice);
    let is_over = found.is_none_or(|found| match found.status {
        InvoiceStatus::Paid => false,
        // A bank debit takes days, and cannot be stopped.
        InvoiceStatus::Open => found.payment == Payment::Processing,
        _ => true,
    });
    if is_over { Ok(()) } else { Err(Error::Busy) }
}

/// Ends a former change that waits for its payment, and syncs then. Otherwise does nothing.
async fn void_waiting_invoice_and_sync(
    app: &App,
    lease: &Lease,
    subscription: &Subscription,
    state: &StripeState,
) -> Result<()> {
    if change::waiting_invoice(subscription, &state.invoices).is_some() {
        void_waiting_invoice(app, lease, subscription, state).await?;
        sync::sync_held(app, lease).await?;
    }
    Ok(())
}

/// Returns the customer's current subscription, and what is paid for.
async fn current<'a>(
    app: &'a App,
    lease: &Lease,
    state: &'a StripeState,
) -> Result<(&'a Subscription, Paid<'a>)> {
    let row = app.store.read().await?.subscription(&lease.customer_id).await?;
    let id = row.map(|row| row.stripe_subscription_id);
    Ok(change::current(state, id.as_ref(), &app.plans, app.now())?)
}

fn parameters_of(change: &SubscriptionChange<'_>, terms: &PreviewTerms) -> ChangeParameters {
    let subscription = change.subscription;
    ChangeParameters {
        subscription: subscription.id.to_string(),
        edits: change.edits.clone(),
        billed_from: (change.billing == Billing::Now).then_some(terms.at),
        has_sent_invoices: subscription.has_sent_invoices,
        discounts: subscription.discounts.clone(),
        promotion_code: change.promotion_code.as_ref().map(|code| code.id.clone()),
        latest_invoice: subscription.latest_invoice.as_ref().map(ToString::to_string),
        schedule: subscription.schedule.clone(),
    }
}

/// Stores a change before it is made.
async fn store(
    app: &App,
    lease: &Lease,
    previewed: &PreviewedChange,
    (change, parameters): (&SubscriptionChange<'_>, &ChangeParameters),
) -> Result<AttemptId> {
    let text = serde_json::to_string(parameters)
        .map_err(|error| Error::Internal(format!("a change cannot be written: {error}")))?;
    let stored = StoredChange {
        attempt_id: AttemptId::from_random(app.random.bits()),
        preview_hash: previewed.preview_hash.clone(),
        parameters: text.into(),
        created_at: app.now(),
        done_at: None,
    };
    let mut detail = previewed.request.to_json();
    detail["due_now"] = previewed.terms.due_now.into();
    detail["replaces_schedule"] = parameters.schedule.is_some().into();
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.put_subscription_change(&lease.customer_id, &stored).await?;
    if let Some(loss) = &change.accepted_loss {
        tx.accept_loss(&lease.customer_id, loss).await?;
    }
    let action = AuditAction::SubscriptionChangeRequested;
    let entry = AuditEntry::new(Actor::Customer, action, Some(&lease.customer_id), detail);
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::ChangeStored)).await?;
    Ok(stored.attempt_id)
}

/// Makes a change at Stripe, or repeats the call of one whose response was lost.
async fn make(
    app: &App,
    lease: &Lease,
    attempt_id: &AttemptId,
    parameters: &ChangeParameters,
) -> Result<()> {
    let at = app.fail_points.at(Place::ChangeMade);
    let made = app.stripe()?.change_subscription(attempt_id, parameters, at).await;
    if let Err(failure @ StripeFailure::Unreachable(_)) = made {
        return Err(failure.into());
    }
    let state = sync::sync_held(app, lease).await?.state;
    match made {
        // Whether a call that failed took effect is seen at Stripe.
        Err(failure) if !parameters.is_made(&state) => {
            let mut tx = app.store.write().await?;
            lease.lock(&mut tx).await?;
            tx.delete_subscription_change(&lease.customer_id).await?;
            tx.commit(app.fail_points.at(Place::ChangeSettled)).await?;
            Err(match failure {
                StripeFailure::Refused { status: 402, .. } => Error::PaymentFailed { url: None },
                failure => promotion::refused(failure),
            })
        }
        _ => finish(app, lease, attempt_id, parameters, &state).await,
    }
}

/// Records that the outcome of a change is known.
///
/// # Errors
/// [`Error::PaymentFailed`] or [`Error::PaymentActionRequired`] while it waits for its payment.
/// [`Error::PreviewOutdated`] when it was given up since.
async fn finish(
    app: &App,
    lease: &Lease,
    attempt_id: &AttemptId,
    parameters: &ChangeParameters,
    state: &StripeState,
) -> Result<()> {
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    tx.end_subscription_change(attempt_id, &lease.customer_id, app.now()).await?;
    tx.commit(app.fail_points.at(Place::ChangeSettled)).await?;
    let found = parameters.subscription_in(state).ok_or(Error::PreviewOutdated)?;
    let (invoice, waits) = (parameters.new_invoice(found), found.pending_until.is_some());
    let is_in_effect = parameters.is_in_effect(found, invoice.is_some());
    if let Some(invoice) = invoice {
        refuse_unpaid(app, state, invoice).await?;
    }
    if waits || is_in_effect { Ok(()) } else { Err(Error::PreviewOutdated) }
}

/// Returns an error if the customer must pay an invoice, with the page where they can.
async fn refuse_unpaid(app: &App, state: &StripeState, id: &InvoiceId) -> Result<()> {
    let open = state.invoices.iter().find(|invoice| invoice.id == *id);
    let open = open.filter(|one| one.status == InvoiceStatus::Open && one.amount > 0);
    match open.map(|invoice| invoice.payment) {
        // A bank debit takes days.
        None | Some(Payment::Processing) => Ok(()),
        Some(Payment::Failed) => {
            Err(Error::PaymentFailed { url: app.stripe()?.invoice_page(id).await? })
        }
        Some(_) => Err(Error::PaymentActionRequired { url: app.stripe()?.invoice_page(id).await? }),
    }
}

async fn cancel_held(app: &App, lease: &Lease, at: CancelAt) -> Result<()> {
    let state = sync::sync_held(app, lease).await?.state;
    let (subscription, _) = current(app, lease, &state).await?;
    if subscription.status == Status::Incomplete {
        // Stripe ends it if the first payment is not made within a day.
        return Err(ChangeRefused::Incomplete.into());
    }
    // After a trial, nothing is paid that could be used.
    let own = state.invoices.iter().filter(|invoice| invoice.is_of(&subscription.id));
    let payments = own.filter(|invoice| invoice.amount > 0).filter_map(|one| one.paid_at);
    let is_over = subscription.status == Status::Paused
        && has_paid_nothing_since(subscription.trial_end, payments, app.now());
    let at = if is_over { CancelAt::Now } else { at };
    let ends_at = subscription.ends_at(&app.plans);
    let is_scheduled = ends_at.is_some_and(|end| Some(end) <= subscription.period_end(&app.plans));
    if at == CancelAt::PeriodEnd && is_scheduled {
        return void_waiting_invoice_and_sync(app, lease, subscription, &state).await;
    }
    let name = if at == CancelAt::Now { "now" } else { "period_end" };
    if at == CancelAt::PeriodEnd {
        refuse_vendors_schedule(app, subscription).await?;
    }
    let action = AuditAction::SubscriptionCancelRequested;
    let replaces_schedule = subscription.schedule.is_some();
    let detail = json!({ "at": name, "replaces_schedule": replaces_schedule });
    record(app, lease, action, detail).await?;
    // Stripe keeps the invoice of a waiting change payable. The customer could pay for a year that
    // the end cuts short.
    void_waiting_invoice(app, lease, subscription, &state).await?;
    let (stripe, id) = (app.stripe()?, &subscription.id);
    let place = app.fail_points.at(Place::ChangeMade);
    let ended = match at {
        CancelAt::PeriodEnd => {
            // Stripe schedules no end beside a schedule.
            schedule::release(app, subscription.schedule.as_deref()).await?;
            stripe.set_end(id, true, true, place).await
        }
        CancelAt::Now => stripe.cancel_subscription(id, place).await,
    };
    settle_end(app, lease, id, ended).await
}

async fn resume_held(app: &App, lease: &Lease) -> Result<()> {
    let state = sync::sync_held(app, lease).await?.state;
    let (subscription, _) = current(app, lease, &state).await?;
    let id = &subscription.id;
    if subscription.status == Status::Incomplete {
        return Err(ChangeRefused::Incomplete.into());
    }
    let is_paused = subscription.status == Status::Paused;
    let is_ending = subscription.ends_at(&app.plans).is_some();
    if !is_paused && !is_ending {
        return Ok(());
    }
    if is_ending {
        refuse_vendors_schedule(app, subscription).await?;
    }
    let replaces_schedule = is_ending && subscription.schedule.is_some();
    let detail = json!({ "replaces_schedule": replaces_schedule });
    record(app, lease, AuditAction::SubscriptionResumeRequested, detail).await?;
    if is_ending {
        let undone = undo_end(app, subscription).await?;
        if !is_paused {
            return settle_end(app, lease, id, undone).await;
        }
        undone?;
    }
    resume_paused(app, lease, subscription, &state).await
}

/// Undoes the scheduled end of a subscription.
async fn undo_end(app: &App, subscription: &Subscription) -> Result<Answer<()>> {
    schedule::release(app, subscription.schedule.as_deref()).await?;
    let place = app.fail_points.at(Place::ChangeMade);
    let by_period = subscription.cancel_at_period_end;
    Ok(app.stripe()?.set_end(&subscription.id, false, by_period, place).await)
}

/// Resumes a paused subscription, which is charged.
async fn resume_paused(
    app: &App,
    lease: &Lease,
    subscription: &Subscription,
    state: &StripeState,
) -> Result<()> {
    let (stripe, id) = (app.stripe()?, &subscription.id);
    let method = &subscription.default_payment_method;
    if method.is_none() && state.default_payment_method.is_none() {
        // The customer adds one in the portal.
        let customer = app.store.read().await?.customer(&lease.customer_id).await?;
        let customer = customer.ok_or(Error::NotFound("customer"))?;
        let url = portal_for_owner(app, &customer, None).await?;
        return Err(Error::PaymentActionRequired { url: Some(url) });
    }
    let resumed = stripe.resume_subscription(id, app.fail_points.at(Place::ChangeMade)).await;
    let state = sync::sync_held(app, lease).await?.state;
    let found = state.subscriptions.iter().find(|one| one.id == *id);
    let found = found.ok_or(Error::NoSubscription)?;
    if found.status != Status::Paused {
        return Ok(());
    }
    if let Some(invoice) = &found.latest_invoice {
        refuse_unpaid(app, &state, invoice).await?;
    }
    Ok(resumed?)
}

/// Records a request before it is carried out.
async fn record(
    app: &App,
    lease: &Lease,
    action: AuditAction,
    detail: serde_json::Value,
) -> Result<()> {
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    let entry = AuditEntry::new(Actor::Customer, action, Some(&lease.customer_id), detail);
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::ChangeStored)).await?;
    Ok(())
}

/// Syncs after a call about the end of a subscription. If Stripe refused it because the
/// subscription has ended meanwhile, there is nothing more to do.
async fn settle_end(
    app: &App,
    lease: &Lease,
    id: &StripeSubscriptionId,
    answer: Answer<()>,
) -> Result<()> {
    let state = sync::sync_held(app, lease).await?.state;
    let has_ended = state.subscriptions.iter().any(|one| one.id == *id && one.status.has_ended());
    match answer {
        Err(StripeFailure::Refused { .. }) if has_ended => Ok(()),
        answer => Ok(answer?),
    }
}
