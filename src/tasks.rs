//! Work outside of requests. [`Tasks::run`] finishes work even if its caller disconnects, so that a
//! lease is released; the server waits for it before it stops. [`Tasks::keep`] restarts background
//! work that ends. What the work does is defined by its callers.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::metrics::Background;
use crate::metrics::series::{Counter, Label, Series};
use crate::request_id;

/// The first pause before background work is restarted. It doubles with each restart.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: the work continues within a minute after the cause is gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Restarted work counts as running after this time. Work that always ends at once never counts.
const RUNNING_AFTER: Duration = Duration::from_secs(1);

/// The work outside of requests. Clones share it.
#[derive(Clone, Default)]
pub struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
    /// Background work that ended and does not count as running again.
    down: Arc<Mutex<BTreeSet<Background>>>,
    restarts: Series<Background, Counter>,
}

impl Tasks {
    /// Returns tasks that count their restarts.
    #[must_use]
    pub fn new(restarts: Series<Background, Counter>) -> Self {
        Self { restarts, ..Self::default() }
    }

    /// Starts work and returns its result. The work continues even if this future is dropped.
    ///
    /// # Errors
    /// Those of the work, and [`Error::Internal`] when it was aborted or panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        self.spawn(async move {
            // Sending fails if the caller has disconnected.
            let _ = done.send(work.await);
        });
        let aborted = |_| Err(Error::Internal("a task was aborted".into()));
        result.await.unwrap_or_else(aborted)
    }

    /// Starts work without waiting for its result.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = request_id::scope(request_id::current(), work);
        let mut tasks = lock(&self.running);
        // Panics are logged by the panic hook.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Waits until all started work has finished.
    pub async fn finished(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.running));
        while tasks.join_next().await.is_some() {}
    }

    /// Aborts all started work.
    pub fn abort(&self) {
        lock(&self.running).abort_all();
    }

    /// Runs background work until `stopped` changes; the work must then end too. Work that ends
    /// earlier, even by a panic, is counted, logged, and restarted after a pause.
    pub async fn keep<Work: Future<Output = ()>>(
        &self,
        task: Background,
        mut stopped: watch::Receiver<()>,
        begin: impl Fn() -> Work,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut work = pin!(AssertUnwindSafe(async { begin().await }).catch_unwind());
            let ended_early = tokio::select! {
                ended = &mut work => Some(ended),
                () = sleep(RUNNING_AFTER) => None,
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
            self.restarts.of(task).inc();
            let (panicked, seconds) = (ended.is_err(), pause.as_secs());
            tracing::error!(
                task = task.text(),
                panicked,
                seconds,
                "a background task ended; it will restart"
            );
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.changed() => return,
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Checks that all background work of this process is running.
    ///
    /// # Errors
    /// [`Error::BackgroundTaskDown`] with the tasks that are not.
    pub fn must_all_run(&self) -> Result<()> {
        let down: Vec<_> = lock(&self.down).iter().map(|task| task.text()).collect();
        if down.is_empty() { Ok(()) } else { Err(Error::BackgroundTaskDown(down.join(", "))) }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
