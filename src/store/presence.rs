//! Tells a server whether others use the same SQLite file. Each server holds a lock on `FILE-servers`,
//! which the system releases when its process dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lock of one server, released when the last clone is dropped, or by [`Presence::end`].
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<Mutex<Option<File>>>);

impl Presence {
    /// Begins the presence of this server. Returns whether it is the only one; nobody else begins until
    /// [`Presence::share`] is called. When the lock cannot be had, it counts as not the only one.
    pub fn begin(&self, database: &Path) -> bool {
        let begun = open(database).and_then(|file| {
            let alone = file.try_lock().is_ok();
            if !alone {
                file.lock_shared()?;
            }
            *self.held() = Some(file);
            Ok(alone)
        });
        begun.unwrap_or_else(|error| {
            tracing::debug!(%error, "other servers on this database cannot be detected");
            false
        })
    }

    /// Lets others begin.
    pub fn share(&self) {
        let mut held = self.held();
        let shared = held.as_ref().map(|file| file.unlock().and_then(|()| file.lock_shared()));
        if let Some(Err(_)) = shared {
            *held = None;
        }
    }

    /// Ends the presence of this server.
    pub fn end(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file of its own: closing another handle of the database would end SQLite's locks on it
/// (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
fn open(database: &Path) -> io::Result<File> {
    // Two names of one database are one.
    let mut path = std::fs::canonicalize(database)?.into_os_string();
    path.push("-servers");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
