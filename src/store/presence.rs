//! Detects other servers on the same SQLite file. Each server holds a lock on `FILE-servers`, which
//! the operating system releases when the process dies. The lock does not protect the data: SQLite
//! has its own locks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The lock of one server, released when the last clone is dropped, or by [`Presence::end`].
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<Mutex<Option<File>>>);

impl Presence {
    /// Registers this server. Returns whether it is the only one; others wait in this call until
    /// [`Presence::share`]. If the file cannot be locked, it returns false.
    pub fn begin(&self, database: &Path) -> bool {
        let begun = open(database).and_then(|file| {
            let is_alone = file.try_lock().is_ok();
            if !is_alone {
                file.lock_shared()?;
            }
            *self.held() = Some(file);
            Ok(is_alone)
        });
        begun.unwrap_or_else(|error| {
            tracing::debug!(%error, "other servers on this database cannot be detected");
            false
        })
    }

    /// Lets other servers register.
    pub fn share(&self) {
        let mut held = self.held();
        let shared = held.as_ref().map(|file| file.unlock().and_then(|()| file.lock_shared()));
        if let Some(Err(_)) = shared {
            *held = None;
        }
    }

    /// Releases the lock of this server.
    pub fn end(&self) {
        *self.held() = None;
    }

    fn held(&self) -> MutexGuard<'_, Option<File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the lock file. It is not the database itself: closing a second handle of the database
/// would release SQLite's locks (<https://sqlite.org/howtocorrupt.html>, section 2.2).
fn open(database: &Path) -> io::Result<File> {
    // Two paths to one database share one lock file.
    let mut path = std::fs::canonicalize(database)?.into_os_string();
    path.push("-servers");
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
