//! Webhook deliveries that wait to be stored in one batch, and the types of unused events that were
//! recorded lately. [`crate::flows::sale::webhook`] stores them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, oneshot};

use crate::domain::sale::webhook::Envelope;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The most events that one statement stores. A larger batch would delay other writers. Both
/// databases allow several times as many parameters.
const MAX_BATCH: usize = 256;

/// The most types of unused events that are remembered. Stripe has fewer than four hundred types.
const MAX_TYPES: usize = 500;

/// An event whose delivery waits until it is stored.
pub struct Arrival {
    /// The event.
    pub event: Envelope,
    /// The event as Stripe sent it.
    pub body: String,
    /// Receives the result.
    pub stored: oneshot::Sender<Result<()>>,
}

/// The waiting deliveries.
#[derive(Default)]
pub struct Intake {
    waiting: Mutex<Vec<Arrival>>,
    turn: Arc<Turn<()>>,
    /// The time at which an unused event of each type was last recorded.
    noted: Mutex<HashMap<String, Timestamp>>,
}

impl Intake {
    /// Adds a delivery.
    pub fn add(&self, arrival: Arrival) {
        self.queue().push(arrival);
    }

    /// Waits until the caller may store the waiting deliveries. Only one caller does so at a time.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Takes the first waiting deliveries, at most [`MAX_BATCH`].
    pub fn next_batch(&self) -> Vec<Arrival> {
        let mut queue = self.queue();
        let most = queue.len().min(MAX_BATCH);
        queue.drain(..most).collect()
    }

    /// Returns whether an unused event of this type was recorded within the last day, or the limit
    /// of types is reached.
    pub fn noted_lately(&self, kind: &str, now: Timestamp) -> bool {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get(kind) {
            Some(at) => *at <= now && now < *at + TimeDelta::days(1),
            None => noted.len() >= MAX_TYPES,
        }
    }

    /// Remembers that an unused event of this type was recorded.
    pub fn note(&self, kind: &str, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(kind.to_owned(), now);
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
