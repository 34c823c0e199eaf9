//! Works on what came in: finds out whom it is about, and brings them in line with Stripe. Events of
//! one customer are worked on together: one look at Stripe answers them all.

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
use crate::flows::sale::buyers::{self, Met};
use crate::flows::sale::sync;
use crate::flows::{brief, queue};
use crate::store::Tx;

/// How long Stripe has to say who paid: the rest of an event's lease is for the work on it.
const LONGEST_QUESTION: Duration = Duration::from_secs(4);

impl LeasedEvent {
    /// Whether it asks for a counterpart at Stripe, if there is none.
    pub(in crate::flows) fn asks_for_stripe_customer(&self) -> bool {
        self.is_task(TaskKind::CustomerSignedUp)
    }

    /// Whether it says that this customer was deleted at Stripe.
    pub(in crate::flows) fn says_deleted(&self, id: &StripeCustomerId) -> bool {
        self.kind == "customer.deleted" && self.stripe_customer_id.as_ref() == Some(id)
    }
}

/// Has what changed sent to Stripe, within the transaction that changes it.
pub(in crate::flows) async fn tell_of_change(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    due: SyncStatus,
    now: Timestamp,
) -> Result<()> {
    tx.stripe_sync_due(id, due).await?;
    tx.insert_task(&TaskId::from_random(app.random.bits()), TaskKind::CustomerChanged, id, now)
        .await
}

/// Has a counterpart made for a customer, within the transaction of the sign-up.
pub(in crate::flows) async fn ask_for_stripe_customer(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    now: Timestamp,
) -> Result<()> {
    tx.insert_task(&TaskId::from_random(app.random.bits()), TaskKind::CustomerSignedUp, id, now)
        .await
}

/// Queues a sync of a customer, in the transaction that links an existing Stripe customer. Earlier
/// events about that Stripe customer had no effect, because nobody was linked to it.
pub(super) async fn queue_sync(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    now: Timestamp,
) -> Result<()> {
    tx.insert_task(&TaskId::from_random(app.random.bits()), TaskKind::CustomerLinked, id, now).await
}

/// Whom events are about, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A customer.
    Customer(CustomerId),
    /// Whoever made this payment, of which nothing is known here: its order may not be written yet.
    Payer(PaymentIntentId),
    /// A Stripe customer who is linked to nobody here, and may have bought a plan.
    Stranger(StripeCustomerId),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(id) => id.fmt(f),
            Self::Payer(id) => write!(f, "who paid {id}"),
            Self::Stranger(id) => write!(f, "{id}, who is unknown here"),
        }
    }
}

/// Takes what is due, `most` events at the most, each customer's together. What is about nobody here
/// is done with that.
///
/// # Errors
/// A failure of the database.
pub async fn take_due(app: &App, most: usize) -> Result<Vec<(Whose, Vec<LeasedEvent>)>> {
    let leased: Vec<LeasedEvent> = queue::take(app, most, Place::InboxTaken).await?;
    let mut of_somebody: BTreeMap<Whose, Vec<LeasedEvent>> = BTreeMap::new();
    let mut of_nobody = Vec::new();
    let mut tx = app.store.read().await?;
    for event in leased {
        match whose(app, &mut tx, &event).await? {
            Some(whose) => of_somebody.entry(whose).or_default().push(event),
            None => of_nobody.push(event),
        }
    }
    drop(tx);
    finish(app, &of_nobody).await?;
    Ok(of_somebody.into_iter().collect())
}

/// Whom an event is about; nobody here, if that is certain.
async fn whose(app: &App, tx: &mut Tx, event: &LeasedEvent) -> Result<Option<Whose>> {
    let LeasedEvent { customer_id, stripe_customer_id, stripe_payment_intent_id, .. } = event;
    let about = (customer_id, stripe_customer_id, stripe_payment_intent_id);
    if let Some(id) = customer_of(tx, about).await? {
        return Ok(Some(Whose::Customer(id)));
    }
    match about {
        // Where nobody is linked, no payment can be of anybody here.
        (None, None, Some(payment))
            if app.stripe.is_some() && !tx.linked_customers(None, 1).await?.is_empty() =>
        {
            Ok(Some(Whose::Payer(payment.clone())))
        }
        (None, Some(stripe_id), _) if app.stripe.is_some() => {
            let may_concern_us = tx.is_unknown_buyer(stripe_id).await? || {
                let body = tx.event_body(&event.event_id).await?;
                body.is_some_and(|body| buyers::may_be_a_purchase(app, &body))
            };
            Ok(may_concern_us.then(|| Whose::Stranger(stripe_id.clone())))
        }
        _ => Ok(None),
    }
}

/// How an event names whom it is about: by our id, by Stripe's, by a payment.
pub(in crate::flows) type About<'e> =
    (&'e Option<CustomerId>, &'e Option<StripeCustomerId>, &'e Option<PaymentIntentId>);

/// Whom an event is about, by the links that we have; never by what the event's metadata says.
pub(in crate::flows) async fn customer_of(
    tx: &mut Tx,
    about: About<'_>,
) -> Result<Option<CustomerId>> {
    match about {
        (Some(id), ..) => Ok(Some(id.clone())),
        (None, Some(id), _) => tx.customer_by_stripe_id(id).await,
        (None, None, Some(id)) => tx.customer_by_payment(id).await,
        (None, None, None) => Ok(None),
    }
}

/// Brings a customer in line with Stripe, for the sake of these events. Who paid is asked of Stripe, if
/// it is not known here.
///
/// # Errors
/// A failure of the database. That Stripe does not answer is none: it is tried again later.
pub async fn work(app: &App, whose: &Whose, events: &[LeasedEvent]) -> Result<()> {
    let payment = match whose {
        Whose::Customer(id) => return work_on(app, id, events).await,
        Whose::Payer(payment) => payment,
        Whose::Stranger(stripe_id) => {
            return match buyers::meet(app, stripe_id).await {
                Ok(Met::Customer(id)) => work_on(app, &id, events).await,
                Ok(Met::Nobody) => finish(app, events).await,
                Err(error) => try_again(app, whose, events, &error).await,
            };
        }
    };
    let found = within(&*app.clock, LONGEST_QUESTION, payer(app, payment)).await;
    match found.unwrap_or(Err(Error::Busy)) {
        Ok(Some((id, stripe_id))) => {
            // Written with what becomes of them, so that nobody asks twice.
            let named = |event: &LeasedEvent| {
                let stripe_customer_id = Some(stripe_id.clone());
                LeasedEvent { stripe_customer_id, ..event.clone() }
            };
            let events: Vec<_> = events.iter().map(named).collect();
            work_on(app, &id, &events).await
        }
        Ok(None) => finish(app, events).await,
        Err(error) => try_again(app, whose, events, &error).await,
    }
}

/// Who made a payment, by what Stripe says; nothing, if it is nobody here.
async fn payer(
    app: &App,
    payment: &PaymentIntentId,
) -> Result<Option<(CustomerId, StripeCustomerId)>> {
    let Some(stripe_id) = app.stripe()?.payer(payment).await? else { return Ok(None) };
    let id = app.store.read().await?.customer_by_stripe_id(&stripe_id).await?;
    Ok(id.map(|id| (id, stripe_id)))
}

async fn work_on(app: &App, id: &CustomerId, events: &[LeasedEvent]) -> Result<()> {
    match sync::sync(app, id, events).await {
        Ok(()) => {
            count("done", events.len());
            Ok(())
        }
        // Deleted meanwhile.
        Err(Error::NotFound(_)) => finish(app, events).await,
        Err(error) => try_again(app, &Whose::Customer(id.clone()), events, &error).await,
    }
}

fn count(result: &'static str, events: usize) {
    metrics::counter!("licentia_events_total", "result" => result).increment(events as u64);
}

/// Marks events done that are about nobody here.
async fn finish(app: &App, events: &[LeasedEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    for event in events {
        tx.event_is_foreign(event, app.now()).await?;
    }
    tx.commit(app.fail_points.at(Place::InboxForeign)).await?;
    count("foreign", events.len());
    Ok(())
}

async fn try_again(app: &App, whose: &Whose, events: &[LeasedEvent], error: &Error) -> Result<()> {
    let now = app.now();
    let text = brief(&error.to_string());
    let mut tx = app.store.write().await?;
    for event in events {
        let due = retry::next(event.since(), event.attempts, now, app.random.bits());
        tx.failed(event, &text, due, now).await?;
        let given_up = due.is_none();
        tracing::warn!(event = event.event_id, %whose, error = text, given_up, "not done");
    }
    tx.commit(app.fail_points.at(Place::InboxFailed)).await?;
    count("failed", events.len());
    Ok(())
}
