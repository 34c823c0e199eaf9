//! Timers in the time of the history. Tasks wake only when the history lets time pass, one after
//! the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

/// The waiting tasks. Clones share them.
#[derive(Clone, Default)]
pub struct Timers(Arc<Mutex<Waiting>>);

/// The time to wake, in milliseconds, and a number that distinguishes tasks with the same time.
pub type Due = (u64, u64);

#[derive(Default)]
struct Waiting {
    now: u64,
    last: u64,
    sleepers: BTreeMap<Due, (usize, oneshot::Sender<()>)>,
}

impl Timers {
    /// Waits on a server, from this call on.
    pub fn sleep(&self, server: usize, time: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.last += 1;
        let due = (waiting.now + millis(time), waiting.last);
        waiting.sleepers.insert(due, (server, wake));
        // The sender stays in the timers until the time has come.
        woken.map(drop).boxed()
    }

    /// Returns the time.
    pub fn now(&self) -> u64 {
        self.lock().now
    }

    /// Returns the next task to wake, on a server other than `frozen`.
    pub fn next(&self, frozen: Option<usize>) -> Option<Due> {
        let mut waiting = self.lock();
        waiting.sleepers.retain(|_, (_, wake)| !wake.is_closed());
        let awake = waiting.sleepers.iter().find(|(_, (server, _))| Some(*server) != frozen);
        awake.map(|(due, _)| *due)
    }

    /// Advances the time to `now`, without waking a task.
    pub fn advance(&self, now: u64) {
        let mut waiting = self.lock();
        waiting.now = waiting.now.max(now);
    }

    /// Wakes a task.
    pub fn wake(&self, due: Due) {
        if let Some((_, wake)) = self.lock().sleepers.remove(&due) {
            // The waiting task may have been dropped.
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
