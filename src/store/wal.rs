//! SQLite's write-ahead log. Commits are appended to `FILE-wal`, and a checkpoint writes them into
//! the file itself (<https://sqlite.org/wal.html>). A copy of the file alone has only what was
//! checkpointed. [`crate::worker`] decides when to checkpoint.

use std::path::PathBuf;
use std::time::SystemTime;

use super::Store;
use crate::error::Result;

/// How long a checkpoint waits for other processes. It is short because our own writers wait too.
const CHECKPOINT_WAIT: &str = "PRAGMA busy_timeout = 100";

/// The connection's usual wait, as [`super::LONGEST_WAIT`].
const USUAL_WAIT: &str = "PRAGMA busy_timeout = 5000";

/// The state of the write-ahead log. Two equal states mean that nothing was written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    bytes: u64,
    written_at: SystemTime,
}

impl Store {
    /// Returns whether the database is a file with a write-ahead log.
    #[must_use]
    pub fn has_log(&self) -> bool {
        matches!(self, Self::Sqlite { file: Some(_), .. })
    }

    /// Returns the state of the write-ahead log, of all processes; `None` when it is empty.
    #[must_use]
    pub fn log_state(&self) -> Option<LogState> {
        let Self::Sqlite { file: Some(file), .. } = self else { return None };
        let mut path = file.path.clone().into_os_string();
        path.push("-wal");
        let file = std::fs::metadata(PathBuf::from(path)).ok()?;
        let state = LogState { bytes: file.len(), written_at: file.modified().ok()? };
        Some(state).filter(|state| state.bytes > 0)
    }

    /// Writes the write-ahead log into the file and empties it. Returns false if a writer, or a
    /// reader of an older state, prevented that.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn checkpoint(&self) -> Result<bool> {
        let Self::Sqlite { writer, file: Some(_), .. } = self else { return Ok(true) };
        let mut writer = match writer.acquire().await {
            // On a slow disk, a commit alone may take longer than anybody waits.
            Err(sqlx::Error::PoolTimedOut) => return Ok(false),
            acquired => acquired?,
        };
        sqlx::query(CHECKPOINT_WAIT).execute(&mut *writer).await?;
        // The columns: busy, frames in the log, frames written into the file.
        let done: std::result::Result<(i64, i64, i64), _> =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writer).await;
        sqlx::query(USUAL_WAIT).execute(&mut *writer).await?;
        Ok(done?.0 == 0)
    }
}
