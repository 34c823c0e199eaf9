//! The keys that apps get: those in memory, which are compared with the database when somebody asks
//! for them, so that a license from the command line verifies at once.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::app::keys::StoredKeys;
use crate::clock::within;
use crate::error::Result;
use crate::keys::Snapshot;

/// How long a request for the keys waits until they are compared with the database.
const LONGEST_COMPARISON: Duration = Duration::from_secs(1);

impl App {
    /// Returns the keys to publish: what a command or another server changed more than
    /// [`COMPARED_EVERY`](crate::keys::COMPARED_EVERY) ago is in them. If the database fails or is
    /// slow, they are the last known ones.
    pub async fn published_keys(&self) -> Arc<Snapshot> {
        if !self.keys.are_fresh(self.now()) {
            let compared = Box::pin(self.compare_keys());
            match within(&*self.clock, LONGEST_COMPARISON, compared).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "the published keys may be outdated"),
                None => {
                    tracing::debug!("the published keys may be outdated: the database is slow");
                    // Otherwise each request would wait as long.
                    self.keys.compared(self.now());
                }
            }
        }
        self.keys.current()
    }

    /// Compares the keys with the database, and reads them again if they differ. It continues if
    /// the request that caused it is gone.
    async fn compare_keys(&self) -> Result<()> {
        let turn = Arc::clone(&self.keys.turn).lock_owned().await;
        // Another request may have compared them meanwhile.
        if self.keys.are_fresh(self.now()) {
            return Ok(());
        }
        let app = self.clone();
        let compare = async move {
            let (_turn, now) = (turn, app.now());
            let stored = async { StoredKeys::read(&mut app.store.read().await?).await };
            let result = match stored.await {
                Ok(stored) if app.keys.current().has(&stored.records, stored.bundle.as_ref()) => {
                    Ok(())
                }
                Ok(_) => app.read_keys_again().await,
                Err(error) => Err(error),
            };
            // A database that fails is asked again later. `now` was before the reading.
            app.keys.compared(if result.is_ok() { now } else { app.now() });
            result
        };
        self.tasks.run(compare).await
    }
}
