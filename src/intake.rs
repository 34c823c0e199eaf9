//! Webhook deliveries that wait to be stored in one batch. [`crate::flows::webhook`] stores them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, oneshot};

use crate::domain::webhook::Envelope;
use crate::error::Result;

/// The most events that one statement stores. A larger batch would delay other writers. Both
/// databases allow several times as many parameters.
const MAX_BATCH: usize = 256;

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

    fn queue(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
