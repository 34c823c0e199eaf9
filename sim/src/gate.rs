//! Where calls wait on their way to Stripe or to the mail server, and back: the seed decides whose
//! goes on next. Between two waits only one thing runs, so the same seed gives the same history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The calls that wait. Clones share them.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    last: u64,
    calls: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

impl Gate {
    /// Waits until the call of this server is let through.
    pub async fn pass(&self, server: usize) {
        let (go, gone) = oneshot::channel();
        {
            let mut waiting = self.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.calls.insert(number, (server, go));
        }
        // The sender lives in the gate until the call is let through.
        let _ = gone.await;
    }

    /// The calls that somebody still waits for, the oldest first; not those of `frozen`.
    pub fn waiting(&self, frozen: Option<usize>) -> Vec<u64> {
        let mut waiting = self.lock();
        waiting.calls.retain(|_, (_, go)| !go.is_closed());
        let running = waiting.calls.iter().filter(|(_, (server, _))| Some(*server) != frozen);
        running.map(|(number, _)| *number).collect()
    }

    /// Lets a call through.
    pub fn open(&self, number: u64) {
        if let Some((_, go)) = self.lock().calls.remove(&number) {
            // Whoever waited may have gone.
            let _ = go.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
