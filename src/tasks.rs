//! Work that goes on when whoever asked for it hangs up: what is begun under a lease is finished, and the
//! lease given back. The server waits for it before it stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// What is under way. Clones share it.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

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
        let mut tasks = self.lock();
        // A panic has been told on standard error.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Waits until everything is done that was begun.
    pub async fn finished(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        while tasks.join_next().await.is_some() {}
    }

    /// Ends everything where it stands.
    pub fn abort(&self) {
        self.lock().abort_all();
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
