//! The place where calls to Stripe or to the mail server wait, on their way there and back. The
//! seed decides which continues next. Only one task runs between two waits, so the same seed gives
//! the same history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The waiting calls. Clones share them.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    last: u64,
    calls: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

impl Gate {
    /// Waits until the call of this server may continue.
    pub async fn pass(&self, server: usize) {
        let (go, gone) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.calls.insert(number, (server, go));
        }
        // The sender stays in the gate until the call may continue.
        let _ = gone.await;
    }

    /// Returns the waiting calls whose caller still exists, the oldest first, except those of
    /// `frozen`.
    pub fn waiting(&self, frozen: Option<usize>) -> Vec<u64> {
        let mut waiting = self.lock();
        waiting.calls.retain(|_, (_, go)| !go.is_closed());
        let running = waiting.calls.iter().filter(|(_, (server, _))| Some(*server) != frozen);
        running.map(|(number, _)| *number).collect()
    }

    /// Lets a call continue.
    pub fn open(&self, number: u64) {
        if let Some((_, go)) = self.lock().calls.remove(&number) {
            // The caller may have been dropped.
            let _ = go.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
