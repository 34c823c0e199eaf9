//! Webhooks that wait to be stored together; [`crate::flows::webhook`] stores them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, oneshot};

use crate::domain::time::{DAY, Timestamp};
use crate::domain::webhook::Envelope;
use crate::error::Result;

/// Events that are stored at once, by one statement; more would keep other writers waiting, and both
/// databases take several times the parameters of so many.
const MAX_BATCH: usize = 256;

/// The most types of unusable events that are noted: Stripe has fewer than four hundred.
const MAX_TYPES: usize = 500;

/// An event, and the delivery that waits until it is stored.
pub struct Arrival {
    /// The event.
    pub event: Envelope,
    /// The event as Stripe sent it.
    pub body: String,
    /// Gets the result.
    pub stored: oneshot::Sender<Result<()>>,
}

/// The deliveries that wait.
#[derive(Default)]
pub struct Intake {
    waiting: Mutex<Vec<Arrival>>,
    turn: Arc<Turn<()>>,
    /// When an event of a type that is of no use was last noted.
    noted: Mutex<HashMap<String, Timestamp>>,
}

impl Intake {
    /// Lets a delivery wait.
    pub fn add(&self, arrival: Arrival) {
        self.queue().push(arrival);
    }

    /// Waits for the turn to store for all that wait.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Takes the first of those that wait, [`MAX_BATCH`] at the most.
    pub fn next_batch(&self) -> Vec<Arrival> {
        let mut queue = self.queue();
        let most = queue.len().min(MAX_BATCH);
        queue.drain(..most).collect()
    }

    /// Whether an event of this type, which is of no use, was noted within a day; or too many types were.
    pub fn noted_lately(&self, kind: &str, now: Timestamp) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get(kind) {
            Some(at) => *at <= now && now < at.plus(DAY),
            None => noted.len() >= MAX_TYPES,
        }
    }

    /// Remembers that an event of this type was noted.
    pub fn note(&self, kind: &str, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(kind.to_owned(), now);
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
