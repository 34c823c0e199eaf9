//! What came from Stripe, as an operator sees it: what did not work, why, and what happens next; and
//! working on it anew. Working itself is in [`crate::flows::sale::inbox`].

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

/// Events that are listed at once; who has more has one cause for all of them.
pub const MAX_LISTED: i64 = 1000;

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It came, and was not tried yet.
    Waiting,
    /// It did not work, and is tried again.
    Retrying,
    /// It did not work for days.
    GivenUp,
    /// It took effect, or is about nobody here.
    Done,
    /// It is of no use: a thin event, or one of a type that says nothing about a sale.
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

    /// The name in answers.
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

/// An event, explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// As it is kept.
    pub event: StoredEvent,
    /// Whose it is; none if it is about nobody here.
    pub customer_id: Option<CustomerId>,
    /// Where it stands.
    pub state: State,
}

impl Explained {
    async fn new(tx: &mut Tx, event: StoredEvent) -> Result<Self> {
        let StoredEvent { customer_id, stripe_customer_id, stripe_payment_intent_id, .. } = &event;
        let about = (customer_id, stripe_customer_id, stripe_payment_intent_id);
        let customer_id = customer_of(tx, about).await?;
        let state = State::of(&event);
        Ok(Self { event, customer_id, state })
    }

    /// What happens to it next, in words.
    #[must_use]
    pub fn next(&self) -> String {
        match (self.state, &self.customer_id) {
            (State::Waiting, _) => "it is worked on as soon as a server gets to it".to_owned(),
            (State::Retrying, _) => format!(
                "it is tried again at {}; what does not work for {} days is given up",
                self.event.due_at,
                retry::GIVE_UP_AFTER.num_days()
            ),
            (State::GivenUp, _) => {
                "nothing, until it is replayed; the daily comparison with Stripe \
                 looks at its customer all the same"
                    .to_owned()
            }
            (State::Ignored, _) => {
                let why = self.event.last_error.as_deref().unwrap_or_default();
                format!("nothing: {why}")
            }
            (State::Done, Some(_)) => "nothing: it took effect".to_owned(),
            (State::Done, None) => "nothing: it is about nobody here".to_owned(),
        }
    }
}

/// Events that did not work.
#[derive(Clone, Debug)]
pub struct Troubled {
    /// The oldest first.
    pub events: Vec<Explained>,
    /// Whether there are more.
    pub more: bool,
    /// One event of each type that is of no use, with the remedy.
    pub ignored: Vec<Explained>,
}

/// The events that were given up, and those that did not work yet, the oldest first, `most` at the
/// most.
///
/// # Errors
/// A failure of the database.
pub async fn troubled(app: &App, most: i64) -> Result<Troubled> {
    let mut tx = app.store.read().await?;
    // One more, which says that there are more.
    let mut found = tx.troubled_events(most.saturating_add(1)).await?;
    let more = i64::try_from(found.len()).is_ok_and(|found| found > most);
    if more {
        found.pop();
    }
    let mut events = Vec::with_capacity(found.len());
    for event in found {
        events.push(Explained::new(&mut tx, event).await?);
    }
    let mut ignored = Vec::new();
    for event in tx.ignored_events(MAX_LISTED).await? {
        ignored.push(Explained::new(&mut tx, event.into()).await?);
    }
    Ok(Troubled { events, more, ignored })
}

/// What cannot be the id of an event is not there; a database may not even be asked for it.
fn must_be_id(text: &str) -> Result<()> {
    if is_name(text) { Ok(()) } else { Err(Error::NotFound("event")) }
}

/// An event.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn explain(app: &App, id: &str) -> Result<Explained> {
    must_be_id(id)?;
    let mut tx = app.store.read().await?;
    let event = match tx.event(id).await? {
        Some(event) => event,
        None => tx.ignored_event(id).await?.ok_or(Error::NotFound("event"))?.into(),
    };
    Explained::new(&mut tx, event).await
}

/// Returns an event as Stripe sent it; empty once it is known to be about nobody here, or of no use. It
/// names people.
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

/// Has an event worked on anew by the server, as if it had just come: what it is about is looked up at
/// Stripe, so a replay never does harm. How it stood before is written down. Answers how it stands then.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn replay(app: &App, id: &str, by: Actor<'_>) -> Result<Explained> {
    must_be_id(id)?;
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = tx.replay_event(id, now).await?.ok_or(Error::NotFound("event"))?;
    let event = tx.event(id).await?.ok_or(Error::NotFound("event"))?;
    let explained = Explained::new(&mut tx, event).await?;
    let detail = json!({
        "event_id": id,
        "state": State::of(&before).as_str(),
        "attempts": before.attempts,
        "last_error": before.last_error,
    });
    let entry = AuditEntry {
        actor: by,
        action: AuditAction::EventReplayed,
        customer_id: explained.customer_id.as_ref(),
        detail,
    };
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::EventReplayed)).await?;
    app.events_due.notify_one();
    Ok(explained)
}

/// Has every event worked on anew that did not work, each once: one that fails again meanwhile is left to its
/// next try. `progress` is told how many there were so far. Answers how many there were.
///
/// # Errors
/// A failure of the database.
pub async fn replay_all(app: &App, by: Actor<'_>, progress: impl Fn(usize)) -> Result<usize> {
    let mut seen = HashSet::new();
    let mut replayed = 0;
    loop {
        // Those that failed again may stand before the others.
        let most = MAX_LISTED.saturating_add(i64::try_from(seen.len()).unwrap_or(i64::MAX));
        let mut troubled = app.store.read().await?.troubled_events(most).await?;
        troubled.retain(|event| !seen.contains(&event.event_id));
        if troubled.is_empty() {
            return Ok(replayed);
        }
        for event in troubled {
            match replay(app, &event.event_id, by).await {
                Ok(_) => replayed += 1,
                // Forgotten meanwhile.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            seen.insert(event.event_id);
            progress(replayed);
        }
    }
}
