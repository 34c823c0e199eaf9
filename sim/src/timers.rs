//! Waiting, in the time of the history: nobody wakes by themselves, but one after the other when
//! time is let pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// Who waits until when. Clones share it.
#[derive(Clone, Default)]
pub struct Timers(Arc<Mutex<Waiting>>);

/// When somebody is to be woken, in milliseconds, and a number that tells apart who wait for the
/// same.
pub type Due = (u64, u64);

#[derive(Default)]
struct Waiting {
    now: u64,
    last: u64,
    sleepers: BTreeMap<Due, (usize, oneshot::Sender<()>)>,
}

impl Timers {
    /// Waits, on a server, from this call on.
    pub fn sleep(&self, server: usize, time: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.last += 1;
        let due = (waiting.now + millis(time), waiting.last);
        waiting.sleepers.insert(due, (server, wake));
        // The sender lives here until the time has come.
        woken.map(drop).boxed()
    }

    /// The time.
    pub fn now(&self) -> u64 {
        self.lock().now
    }

    /// Who is to be woken next, on a server that is not `frozen`.
    pub fn next(&self, frozen: Option<usize>) -> Option<Due> {
        let mut waiting = self.lock();
        waiting.sleepers.retain(|_, (_, wake)| !wake.is_closed());
        let awake = waiting.sleepers.iter().find(|(_, (server, _))| Some(*server) != frozen);
        awake.map(|(due, _)| *due)
    }

    /// Lets time pass until `now`, and wakes nobody.
    pub fn advance(&self, now: u64) {
        let mut waiting = self.lock();
        waiting.now = waiting.now.max(now);
    }

    /// Wakes somebody.
    pub fn wake(&self, due: Due) {
        if let Some((_, wake)) = self.lock().sleepers.remove(&due) {
            // Whoever slept may have gone.
            let _ = wake.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
