//! Detects when a history is idle: its thread only waits, and not for the database.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use licentia::store::Store;
use tokio::sync::oneshot;

use crate::database;

/// The longest time to become idle, on the machine's clock. A transaction that is open for longer
/// waits for something other than the database.
const PATIENCE: Duration = Duration::from_secs(60);

/// The detector. Clones share it.
#[derive(Clone, Default)]
pub struct Idle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    store: OnceLock<Store>,
    waiting: Mutex<Option<oneshot::Sender<()>>>,
}

impl Idle {
    /// Sets the database whose responses count as running.
    pub fn watch(&self, store: &Store) {
        // It is set once, for all histories of the thread.
        let _ = self.0.store.set(store.clone());
    }

    /// Must be called when the thread is about to wait.
    pub fn about_to_wait(&self) {
        if self.0.store.get().is_some_and(database::is_busy) {
            // The database's thread is on the same core. It responds sooner if this one lets it run
            // before it waits, and then needs not wake it.
            std::thread::yield_now();
            return;
        }
        if let Some(waiting) = self.lock().take() {
            // The waiting task may have been dropped.
            let _ = waiting.send(());
        }
    }

    /// Waits until the history is idle. Returns whether that happened in time.
    pub async fn reached(&self) -> bool {
        let (tell, told) = oneshot::channel();
        *self.lock() = Some(tell);
        tokio::time::timeout(PATIENCE, told).await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<oneshot::Sender<()>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
