//! Work outside of requests. [`Tasks::run`] finishes work whose caller hangs up: what is begun under a
//! lease is finished, and the lease given back; the server waits for it before it stops.
//! [`Tasks::keep`] keeps background work running for as long as the server runs.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::{Error, Result};

/// The pause before background work that ended is restarted; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: when the cause is gone, the work goes on within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Background work that was restarted counts as running after this time: work that ends at once, each
/// time it is restarted, never does.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Work that runs for as long as the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Background {
    /// Works on events from Stripe.
    Inbox,
    /// Sends mails.
    Outbox,
    /// Compares everybody with Stripe daily.
    Reconcile,
    /// Counts what alarms watch.
    Counts,
    /// Folds samples into the buckets of the metrics.
    Metrics,
    /// Writes SQLite's write-ahead log into the database file.
    Checkpoint,
}

impl fmt::Display for Background {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Inbox => "inbox",
            Self::Outbox => "outbox",
            Self::Reconcile => "reconcile",
            Self::Counts => "counts",
            Self::Metrics => "metrics",
            Self::Checkpoint => "checkpoint",
        })
    }
}

/// What runs outside of requests. Clones share it.
#[derive(Clone, Default)]
pub struct Tasks {
    begun: Arc<Mutex<JoinSet<()>>>,
    /// Background work that ended and has not settled again.
    down: Arc<Mutex<BTreeSet<Background>>>,
}

impl Tasks {
    /// Begins something. Answers what came of it, to who still waits.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Internal`] when it was cut short.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = oneshot::channel();
        self.spawn(async move {
            // Who hung up is not waiting.
            let _ = done.send(work.await);
        });
        let cut_short = |_| Err(Error::Internal("work that was begun was cut short".into()));
        answer.await.unwrap_or_else(cut_short)
    }

    /// Begins something that nobody waits for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.begun);
        // A panic is in the log already.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Waits until everything is done that was begun.
    pub async fn finished(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.begun));
        while tasks.join_next().await.is_some() {}
    }

    /// Ends everything where it stands.
    pub fn abort(&self) {
        lock(&self.begun).abort_all();
    }

    /// Runs background work until `stopped` changes, which ends the work as well. Work that ends before
    /// that, by a panic too, is counted, logged, and restarted after a pause.
    pub async fn keep<Work: Future<Output = ()>>(
        &self,
        task: Background,
        mut stopped: watch::Receiver<()>,
        begin: impl Fn() -> Work,
    ) {
        let restarts = metrics::counter!(
            "licentia_background_restarts_total", "task" => task.to_string()
        );
        restarts.increment(0);
        let mut pause = FIRST_PAUSE;
        loop {
            let mut work = pin!(AssertUnwindSafe(async { begin().await }).catch_unwind());
            let ended_early = tokio::select! {
                ended = &mut work => Some(ended),
                () = sleep(SETTLED_AFTER) => None,
            };
            let ended = match ended_early {
                Some(ended) => ended,
                None => {
                    pause = FIRST_PAUSE;
                    lock(&self.down).remove(&task);
                    work.await
                }
            };
            if stopped.has_changed().unwrap_or(true) {
                return;
            }
            lock(&self.down).insert(task);
            restarts.increment(1);
            let (panicked, seconds) = (ended.is_err(), pause.as_secs());
            tracing::error!(%task, panicked, seconds, "a background task ended; it restarts");
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.changed() => return,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Whether all background work runs that this process keeps running.
    ///
    /// # Errors
    /// [`Error::BackgroundTaskDown`] with what does not.
    pub fn must_all_run(&self) -> Result<()> {
        let down: Vec<String> = lock(&self.down).iter().map(ToString::to_string).collect();
        if down.is_empty() { Ok(()) } else { Err(Error::BackgroundTaskDown(down.join(", "))) }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
