//! Processes the inbox: finds the customer of each event, and syncs the customer with Stripe. All
//! due events of a customer are processed by one sync. Webhooks are received in `webhook.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::app::App;
use crate::clock::within;
use crate::domain::account::customer::SyncStatus;
use crate::domain::ids::{CustomerId, TaskId};
use crate::domain::queue::Leased;
use crate::domain::retry;
use crate::domain::sale::inbox::{LeasedEvent, TaskKind};
use crate::domain::sale::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::buyer_claim::BuyerLink;
use crate::flows::sale::buyers;
use crate::flows::sale::sync;
use crate::flows::sale::waiting_purchases;
use crate::flows::{brief, queue};
use crate::metrics::EventResult;
use crate::store::Tx;

/// How long to wait for Stripe to name the customer of a payment. The rest of the event's lease is
/// for the sync.
const PAYER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long it may take to link an unlinked Stripe customer, perhaps to a new account. The wait for
/// the customer's lease and the first renewal of the event's lease, by the sync, must come before
/// the event's lease ends ([`crate::domain::retry`]). What takes longer continues in the
/// background, and the retry of the event finds its result.
const UNLINKED_TIMEOUT: Duration = Duration::from_secs(20);

/// Adds a task that sends a changed name or address to Stripe, in the transaction of the change.
pub(in crate::flows) async fn queue_customer_update(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    due: SyncStatus,
    now: Timestamp,
) -> Result<()> {
    tx.stripe_sync_due(id, due).await?;
    queue_task(app, tx, TaskKind::CustomerChanged, id, now).await
}

/// Adds a task for a customer, in the transaction of its cause.
pub(in crate::flows) async fn queue_task(
    app: &App,
    tx: &mut Tx,
    kind: TaskKind,
    id: &CustomerId,
    now: Timestamp,
) -> Result<()> {
    tx.insert_task(&TaskId::from_random(app.random.bits()), kind, id, now).await
}

/// Adds a task that syncs a customer who was unlinked, if the customer has claimed payments. The
/// sync creates another Stripe customer: without one, no event about later purchases arrives.
pub(in crate::flows) async fn queue_sync_of_claimed(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    now: Timestamp,
) -> Result<()> {
    // Of an unlinked customer, nothing else is kept.
    if tx.kept_purchases(id).await?.is_empty() {
        return Ok(());
    }
    queue_task(app, tx, TaskKind::CustomerLinked, id, now).await
}

/// The subject of an event, as far as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A customer here.
    Customer(CustomerId),
    /// The unknown customer of this payment: its order may not be written yet.
    Payer(PaymentIntentId),
    /// A Stripe customer without a linked customer here, who may have bought a plan.
    Unlinked(StripeCustomerId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(id) => id.fmt(f),
            Self::Payer(id) => write!(f, "customer of payment {id}"),
            Self::Unlinked(id) => write!(f, "unknown Stripe customer {id}"),
        }
    }
}

/// Leases due events, at most `most`. Returns them grouped by subject. Events that are certainly
/// not about a customer here are marked as done and not returned.
///
/// # Errors
/// A failure of the database.
pub async fn take_due(app: &App, most: usize) -> Result<Vec<(Subject, Vec<LeasedEvent>)>> {
    let leased: Vec<LeasedEvent> = queue::lease_due(app, most, Place::InboxTaken).await?;
    let mut by_subject: BTreeMap<Subject, Vec<LeasedEvent>> = BTreeMap::new();
    let mut foreign = Vec::new();
    let mut tx = app.store.read().await?;
    for event in leased {
        match subject(app, &mut tx, &event).await? {
            Some(subject) => by_subject.entry(subject).or_default().push(event),
            None => foreign.push(event),
        }
    }
    drop(tx);
    finish_foreign(app, &foreign).await?;
    Ok(by_subject.into_iter().collect())
}

/// Returns the subject of an event, or `None` if it is certainly not about a customer here.
async fn subject(app: &App, tx: &mut Tx, event: &LeasedEvent) -> Result<Option<Subject>> {
    let LeasedEvent { customer_id, stripe_customer_id, stripe_payment_intent_id, .. } = event;
    let about = (customer_id, stripe_customer_id, stripe_payment_intent_id);
    if let Some(id) = customer_of(tx, about).await? {
        return Ok(Some(Subject::Customer(id)));
    }
    match about {
        // While no customer is linked to Stripe, no payment can be from a customer here, but it may
        // be that of a guest.
        (None, None, Some(payment))
            if app.stripe.is_some()
                && (app.plans.sells_once()
                    || !tx.customers_at_stripe(None, 1).await?.is_empty()) =>
        {
            Ok(Some(Subject::Payer(payment.clone())))
        }
        (None, Some(stripe_id), _) if app.stripe.is_some() => {
            let may_concern_us =
                tx.unknown_buyer_seen_at(&stripe_id.clone().into()).await?.is_some() || {
                    let body = tx.event_body(&event.event_id).await?;
                    body.is_some_and(|body| buyers::may_be_a_purchase(app, &event.kind, &body))
                };
            Ok(may_concern_us.then(|| Subject::Unlinked(stripe_id.clone())))
        }
        _ => Ok(None),
    }
}

/// The ids by which an event names its customer: ours, Stripe's, or that of a payment.
pub(in crate::flows) type About<'e> =
    (&'e Option<CustomerId>, &'e Option<StripeCustomerId>, &'e Option<PaymentIntentId>);

/// Returns the customer that an event is about, by the links in our database. The metadata in the
/// event is never trusted. A payment of a Stripe customer who is not linked may have been claimed.
pub(in crate::flows) async fn customer_of(
    tx: &mut Tx,
    about: About<'_>,
) -> Result<Option<CustomerId>> {
    match about {
        (Some(id), ..) => Ok(Some(id.clone())),
        (None, Some(id), payment) => match (tx.customer_by_stripe_id(id).await?, payment) {
            (None, Some(payment)) => tx.customer_by_payment(payment).await,
            (linked, _) => Ok(linked),
        },
        (None, None, Some(id)) => tx.customer_by_payment(id).await,
        (None, None, None) => Ok(None),
    }
}

/// Processes events of one subject: syncs the customer with Stripe. If only a payment is known, its
/// customer is fetched from Stripe first. When Stripe fails, the events are retried later.
///
/// # Errors
/// A failure of the database.
pub async fn work(app: &App, whose: &Subject, events: &[LeasedEvent]) -> Result<()> {
    let payment = match whose {
        Subject::Customer(id) => {
            if events.iter().any(|event| event.is_task(TaskKind::AddressProven)) {
                // In its own task, as below.
                let (own, proven) = (app.clone(), id.clone());
                let claimed = app
                    .tasks
                    .run(async move { waiting_purchases::claim_waiting(&own, &proven).await });
                let claimed = within(&*app.clock, UNLINKED_TIMEOUT, claimed).await;
                if let Err(error) = claimed.unwrap_or(Err(Error::Busy)) {
                    return retry_later(app, whose, events, &error).await;
                }
            }
            return Box::pin(sync_customer(app, id, events)).await;
        }
        Subject::Payer(payment) => payment,
        Subject::Unlinked(stripe_id) => {
            let (own, id) = (app.clone(), stripe_id.clone());
            let link = async move { buyers::check_buyer(&own, &id).await };
            return link_and_sync(app, whose, events, UNLINKED_TIMEOUT, link).await;
        }
    };
    let payer = within(&*app.clock, PAYER_TIMEOUT, payer(app, payment)).await;
    match payer.unwrap_or(Err(Error::Busy)) {
        Ok(Payer::Customer(id, stripe_id)) => {
            // Stored with the result, so that a retry does not fetch it again.
            let named = |event: &LeasedEvent| {
                let stripe_customer_id = Some(stripe_id.clone());
                LeasedEvent { stripe_customer_id, ..event.clone() }
            };
            let events: Vec<_> = events.iter().map(named).collect();
            Box::pin(sync_customer(app, &id, &events)).await
        }
        Ok(Payer::Guest) => {
            let (own, payment) = (app.clone(), payment.clone());
            let link = async move { buyers::check_guest(&own, &payment).await };
            link_and_sync(app, whose, events, UNLINKED_TIMEOUT - PAYER_TIMEOUT, link).await
        }
        Ok(Payer::Stranger) => finish_foreign(app, events).await,
        Err(error) => retry_later(app, whose, events, &error).await,
    }
}

/// Links a buyer who was not linked, and syncs the customer. The link is made in a task of its own:
/// if it takes longer than `limit`, the customer's lease is still released.
async fn link_and_sync(
    app: &App,
    whose: &Subject,
    events: &[LeasedEvent],
    limit: Duration,
    link: impl Future<Output = Result<BuyerLink>> + Send + 'static,
) -> Result<()> {
    let link = within(&*app.clock, limit, app.tasks.run(link)).await;
    match link.unwrap_or(Err(Error::Busy)) {
        Ok(BuyerLink::Linked(id)) => sync_customer(app, &id, events).await,
        Ok(BuyerLink::Unlinked) => finish_foreign(app, events).await,
        Err(error) => retry_later(app, whose, events, &error).await,
    }
}

/// The payer of a payment at Stripe.
enum Payer {
    /// A customer here, with the Stripe customer.
    Customer(CustomerId, StripeCustomerId),
    /// Nobody is named, and something is sold by single payments.
    Guest,
    /// Nobody who is known here.
    Stranger,
}

/// Fetches the payer of a payment.
async fn payer(app: &App, payment: &PaymentIntentId) -> Result<Payer> {
    let Some(stripe_id) = app.stripe()?.payer(payment).await? else {
        return Ok(if app.plans.sells_once() { Payer::Guest } else { Payer::Stranger });
    };
    let id = app.store.read().await?.customer_by_stripe_id(&stripe_id).await?;
    Ok(id.map_or(Payer::Stranger, |id| Payer::Customer(id, stripe_id)))
}

async fn sync_customer(app: &App, id: &CustomerId, events: &[LeasedEvent]) -> Result<()> {
    match sync::sync(app, id, events).await {
        Ok(()) => {
            count(app, EventResult::Done, events.len());
            Ok(())
        }
        // The customer was deleted in the meantime.
        Err(Error::NotFound(_)) => finish_foreign(app, events).await,
        Err(error) => retry_later(app, &Subject::Customer(id.clone()), events, &error).await,
    }
}

fn count(app: &App, result: EventResult, events: usize) {
    app.metrics.events.of(result).inc_by(events as u64);
}

/// Marks events as done that are not about a customer here.
async fn finish_foreign(app: &App, events: &[LeasedEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    for event in events {
        tx.event_is_foreign(event, app.now()).await?;
    }
    tx.commit(app.fail_points.at(Place::InboxForeign)).await?;
    count(app, EventResult::Foreign, events.len());
    Ok(())
}

/// Schedules the next attempt of failed events, or gives them up.
async fn retry_later(
    app: &App,
    whose: &Subject,
    events: &[LeasedEvent],
    error: &Error,
) -> Result<()> {
    let now = app.now();
    let text = brief(&error.to_string());
    let mut tx = app.store.write().await?;
    for event in events {
        let due = retry::next(event.since(), event.attempts, now, app.random.bits());
        tx.failed(event, &text, due, now).await?;
        let given_up = due.is_none();
        tracing::warn!(event = event.event_id, %whose, error = text, given_up, "event failed");
    }
    tx.commit(app.fail_points.at(Place::InboxFailed)).await?;
    count(app, EventResult::Failed, events.len());
    Ok(())
}
