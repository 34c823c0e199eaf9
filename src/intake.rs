//! Webhooks that wait to be stored together; [`crate::flows::webhook`] stores them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, oneshot};

use crate::domain::webhook::Envelope;
use crate::error::Result;

/// Events that are stored at once, by one statement; more would keep other writers waiting, and both
/// databases take several times the parameters of so many.
const MAX_BATCH: usize = 256;

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

    fn queue(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
