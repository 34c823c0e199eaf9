//! Lets operators inspect the inbox: lists failed events with their errors, explains what happens
//! next, and replays events. Processing is in [`crate::flows::sale::inbox`].

use std::collections::HashSet;

use serde_json::json;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::retry;
use crate::domain::sale::inbox::StoredEvent;
use crate::domain::sale::webhook::is_name;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::audit;
use crate::flows::sale::inbox::customer_of;
use crate::store::Tx;

/// The most events that are listed at once. More than these have a common cause.
pub const MAX_LISTED: i64 = 1000;

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is stored, and was not processed yet.
    Waiting,
    /// Processing failed, and is retried.
    Retrying,
    /// Processing failed for days, and is no longer retried.
    GivenUp,
    /// It was processed, or is not about a customer here.
    Done,
    /// It is not used: a thin event, or one of a type that is not about sales.
    Ignored,
}

impl State {
    fn of(event: &StoredEvent) -> Self {
        match (event.done_at, event.given_up_at, event.attempts) {
            (Some(_), ..) if event.last_error.is_some() => Self::Ignored,
            (Some(_), ..) => Self::Done,
            (None, Some(_), _) => Self::GivenUp,
            (None, None, 1..) => Self::Retrying,
            (None, None, _) => Self::Waiting,
        }
    }

    /// Returns the name in API responses and command output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::GivenUp => "given_up",
            Self::Done => "done",
            Self::Ignored => "ignored",
        }
    }
}

/// An event with its customer and state.
#[derive(Clone, Debug)]
pub struct EventDetails {
    /// The stored event.
    pub event: StoredEvent,
    /// The customer that it is about, if there is one here.
    pub customer_id: Option<CustomerId>,
    /// Its state.
    pub state: State,
}

impl EventDetails {
    async fn new(tx: &mut Tx, event: StoredEvent) -> Result<Self> {
        let StoredEvent { customer_id, stripe_customer_id, stripe_payment_intent_id, .. } = &event;
        let about = (customer_id, stripe_customer_id, stripe_payment_intent_id);
        let customer_id = customer_of(tx, about).await?;
        let state = State::of(&event);
        Ok(Self { event, customer_id, state })
    }

    /// Returns the details of an event that is known to be about this customer.
    pub(super) fn about(id: &CustomerId, event: StoredEvent) -> Self {
        let state = State::of(&event);
        Self { event, customer_id: Some(id.clone()), state }
    }

    /// Returns a sentence about what happens to the event next.
    #[must_use]
    pub fn next(&self) -> String {
        match (self.state, &self.customer_id) {
            (State::Waiting, _) => "a server processes it soon".to_owned(),
            (State::Retrying, _) => format!(
                "it is retried at {}, and given up after {} days of failures",
                self.event.due_at,
                retry::GIVE_UP_AFTER.num_days()
            ),
            (State::GivenUp, _) => {
                "nothing until it is replayed; the daily reconciliation with Stripe syncs its \
                 customer anyway"
                    .to_owned()
            }
            (State::Ignored, _) => {
                let reason = self.event.last_error.as_deref().unwrap_or_default();
                format!("nothing: {reason}")
            }
            (State::Done, Some(_)) => "nothing: it was processed".to_owned(),
            (State::Done, None) => "nothing: it is not about a customer here".to_owned(),
        }
    }
}

/// A list of failed events.
#[derive(Clone, Debug)]
pub struct FailedEvents {
    /// The failed events, oldest first.
    pub events: Vec<EventDetails>,
    /// Whether there are more failed events.
    pub more: bool,
    /// The last event of each type that is not used, with the remedy.
    pub ignored: Vec<EventDetails>,
}

/// Returns the events that were given up or are retried, oldest first, at most `most`.
///
/// # Errors
/// A failure of the database.
pub async fn failed(app: &App, most: i64) -> Result<FailedEvents> {
    let mut tx = app.store.read().await?;
    // One more than asked for, to see whether there are more.
    let mut failed = tx.failed_events(most.saturating_add(1)).await?;
    let more = i64::try_from(failed.len()).is_ok_and(|count| count > most);
    if more {
        failed.pop();
    }
    let mut events = Vec::with_capacity(failed.len());
    for event in failed {
        events.push(EventDetails::new(&mut tx, event).await?);
    }
    let mut ignored = Vec::new();
    for event in tx.ignored_events(MAX_LISTED).await? {
        ignored.push(EventDetails::new(&mut tx, event.into()).await?);
    }
    Ok(FailedEvents { events, more, ignored })
}

/// Refuses a text that cannot be an event id. A database query could fail on it.
fn must_be_id(text: &str) -> Result<()> {
    if is_name(text) { Ok(()) } else { Err(Error::NotFound("event")) }
}

/// Returns an event with its customer and state.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn explain(app: &App, id: &str) -> Result<EventDetails> {
    must_be_id(id)?;
    let mut tx = app.store.read().await?;
    let event = match tx.event(id).await? {
        Some(event) => event,
        None => tx.ignored_event(id).await?.ok_or(Error::NotFound("event"))?.into(),
    };
    EventDetails::new(&mut tx, event).await
}

/// Returns the body of an event as Stripe sent it. It contains personal data. It is empty if the
/// event is not about a customer here, or is not used.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn body(app: &App, id: &str) -> Result<String> {
    must_be_id(id)?;
    let mut tx = app.store.read().await?;
    match tx.event_body(id).await? {
        Some(body) => Ok(body),
        None if tx.ignored_event(id).await?.is_some() => Ok(String::new()),
        None => Err(Error::NotFound("event")),
    }
}

/// Makes an event due as if it had just arrived, and audits its earlier state. A replay is always
/// safe, because processing fetches Stripe's current state. Returns the event after the change.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn replay(app: &App, id: &str, by: Actor<'_>) -> Result<EventDetails> {
    must_be_id(id)?;
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = tx.replay_event(id, now).await?.ok_or(Error::NotFound("event"))?;
    let event = tx.event(id).await?.ok_or(Error::NotFound("event"))?;
    let explained = EventDetails::new(&mut tx, event).await?;
    let detail = json!({
        "event_id": id,
        "state": State::of(&before).as_str(),
        "attempts": before.attempts,
        "last_error": before.last_error,
    });
    let customer_id = explained.customer_id.as_ref();
    let entry = AuditEntry::new(by, AuditAction::EventReplayed, customer_id, detail);
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::EventReplayed)).await?;
    app.events_due.notify_one();
    Ok(explained)
}

/// Replays every failed event once. An event that fails again in the meantime is not replayed a
/// second time. Calls `progress` with the number of replayed events so far, and returns their
/// total.
///
/// # Errors
/// A failure of the database.
pub async fn replay_all(app: &App, by: Actor<'_>, progress: impl Fn(usize)) -> Result<usize> {
    let mut processed = HashSet::new();
    let mut replayed = 0;
    loop {
        // Events that failed again may be listed before the others.
        let most = MAX_LISTED.saturating_add(i64::try_from(processed.len()).unwrap_or(i64::MAX));
        let mut troubled = app.store.read().await?.failed_events(most).await?;
        troubled.retain(|event| !processed.contains(&event.event_id));
        if troubled.is_empty() {
            return Ok(replayed);
        }
        for event in troubled {
            match replay(app, &event.event_id, by).await {
                Ok(_) => replayed += 1,
                // Deleted in the meantime.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            processed.insert(event.event_id);
            progress(replayed);
        }
    }
}
