//! The database. No other module names sqlx. Each statement is written once, in the SQL subset that
//! `migrations/README.md` describes, and runs on SQLite and on PostgreSQL. Decisions are made in
//! the flows and the domain, not here.
//!
//! A flow begins a transaction, calls the methods that the files here add to [`Tx`], and commits.
//! A transaction that is dropped without a commit is rolled back. No transaction is held across a
//! network call.

mod account;
mod failure;
mod idempotency;
mod license;
pub mod migrate;
pub mod operator;
mod outbox;
mod presence;
mod queue;
mod sale;
mod secrets;
mod server_identity;
mod statement;
mod wal;

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Postgres, Sqlite};

use crate::domain::column::Parameter;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::FailPoint;

use presence::Presence;

use statement::{Statement, sql};

/// How long a request waits for a connection or a lock before it fails with [`Error::Busy`].
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The time limits for PostgreSQL, which by default waits for a lock without limit. Each of our
/// statements reads only one index, so one that runs for 20 seconds is stuck.
const POSTGRES_WAITS: &str = "SET lock_timeout = '5s'; SET statement_timeout = '20s'";

/// Attempts, and the pause between them, for work that another process may be doing at the same
/// time: creating the file, migrating. Five seconds in total, like [`LONGEST_WAIT`].
const MAX_ATTEMPTS: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Concurrent readers of one SQLite file: a few more than the cores of a small machine.
const SQLITE_READERS: u32 = 8;

/// Connections to PostgreSQL: several servers together stay below its default of 100.
const POSTGRES_CONNECTIONS: u32 = 20;

/// The prepared statements that a connection to SQLite keeps. There are about two hundred. The
/// driver keeps a hundred unless told otherwise, and prepares those beyond again and again. (For
/// PostgreSQL, the URL decides: a pooler may need `statement-cache-capacity=0`.)
const CACHED_STATEMENTS: usize = 400;

/// The number of expired rows that each new row of their table deletes: more than one, so that the
/// backlog shrinks, and few, so that the new one does not wait.
const SWEPT_AT_ONCE: i64 = 10;

/// The first version of SQLite without the bug in which a checkpoint during a reset corrupts the
/// write-ahead log
/// (<https://sqlite.org/wal.html#the_wal_reset_bug>).
const OLDEST_SQLITE: &str = "3.51.3";

/// The database.
#[derive(Clone)]
pub enum Store {
    /// One file. SQLite has one writer at a time, so writers queue for one connection, in order,
    /// instead of polling a lock.
    Sqlite {
        /// The connection that writes.
        writer: SqlitePool,
        /// The connections that only read.
        readers: SqlitePool,
        /// The file; `None` for a database in memory.
        file: Option<OpenedFile>,
    },
    /// A server.
    Postgres(PgPool),
}

/// An open database file. It can detect that its path was removed or replaced.
#[derive(Clone, Debug)]
pub struct OpenedFile {
    path: PathBuf,
    inode: u64,
    presence: Presence,
}

impl OpenedFile {
    fn at(path: &Path) -> Result<Self> {
        let inode = std::fs::metadata(path).map_err(|error| Error::setup(error.to_string()))?.ino();
        Ok(Self { path: path.to_owned(), inode, presence: Presence::default() })
    }

    /// Fails if the file was removed or replaced: writes to it would be lost.
    fn check_path(&self) -> Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.ino() == self.inode => Ok(()),
            _ => Err(Error::Database(format!("{} was removed or replaced", self.path.display()))),
        }
    }
}

/// A transaction.
pub enum Tx {
    /// A transaction on SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// A transaction on PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// What to do when the SQLite file does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Create it.
    Create,
    /// Fail.
    Refuse,
}

impl Store {
    /// Connects to the database. The schema is not changed; see [`migrate`].
    ///
    /// # Errors
    /// [`Error::Setup`] when the URL is wrong or the database cannot be reached.
    pub async fn open(url: &SecretString, if_missing: IfMissing) -> Result<Self> {
        let url = url.expose_secret();
        if url.starts_with("sqlite:") {
            return open_sqlite(url, if_missing).await;
        }
        let options = PgConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
        // A single connection first: its error has the cause, while the pool only times out.
        let first = PgConnection::connect_with(&options).await;
        first.map_err(|error| unreachable(&error))?.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(LONGEST_WAIT)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(POSTGRES_WAITS).await.map(drop) })
            })
            .connect_with(options.application_name("licentia").disable_statement_logging());
        Ok(Self::Postgres(pool.await.map_err(|error| unreachable(&error))?))
    }

    /// Begins a transaction that will write.
    ///
    /// # Errors
    /// [`Error::Busy`] when another writer holds the lock too long, [`Error::Database`] otherwise.
    pub async fn write(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(begin(pool).await?),
        })
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn read(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(begin(pool).await?),
        })
    }

    /// Checks that the database works and has a schema.
    ///
    /// # Errors
    /// When it cannot be read, or its file was removed or replaced.
    pub async fn ping(&self) -> Result<()> {
        if let Self::Sqlite { file: Some(file), .. } = self {
            file.check_path()?;
        }
        // Read from a table: SQLite returns a constant without reading its file.
        sql!(self, fetch_optional: (i64,), "SELECT MAX(version) FROM _sqlx_migrations")?;
        Ok(())
    }

    /// Ends the leases of a dead server, so that a restarted server need not wait for them. On
    /// SQLite it ends all leases, unless another server uses the file. On PostgreSQL, and on a
    /// shared file, leases expire by themselves.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn end_leases_of_stopped_servers(&self, at: FailPoint<'_>) -> Result<()> {
        let Self::Sqlite { file, .. } = self else { return Ok(()) };
        let Some(OpenedFile { path, presence, .. }) = file.clone() else {
            return self.end_all_leases(at).await;
        };
        // Waits while another server does the same.
        let begun = tokio::task::spawn_blocking(move || (presence.begin(&path), presence)).await;
        let (is_alone, presence) = begun.map_err(|error| Error::Internal(error.to_string()))?;
        let ended = if is_alone { self.end_all_leases(at).await } else { Ok(()) };
        presence.share();
        ended
    }

    async fn end_all_leases(&self, at: FailPoint<'_>) -> Result<()> {
        let mut tx = self.write().await?;
        for end in [
            "UPDATE customer_leases SET leased_until = NULL WHERE leased_until IS NOT NULL",
            "UPDATE idempotency_keys SET leased_until = NULL WHERE leased_until IS NOT NULL",
            "UPDATE inbox SET leased_until = NULL WHERE leased_until IS NOT NULL",
            "UPDATE outbox SET leased_until = NULL WHERE leased_until IS NOT NULL",
            "UPDATE webhook_deliveries SET leased_until = NULL WHERE leased_until IS NOT NULL",
        ] {
            sql!(tx, execute, end)?;
        }
        tx.commit(at).await
    }

    /// Closes every connection. A SQLite file is then complete without its write-ahead log.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, file } => {
                readers.close().await;
                // SQLite checkpoints only when the last process closes the file.
                if let Err(error) = self.checkpoint().await {
                    tracing::debug!(%error, "no checkpoint at shutdown; the write-ahead log remains");
                }
                writer.close().await;
                if let Some(file) = file {
                    file.presence.end();
                }
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Deletes the oldest rows of a table, at most `most`: those whose column `time` is not after
    /// `until`. `key` is the list of the columns that identify a row. It skips the rows that
    /// another transaction has locked.
    async fn sweep_table(
        &mut self,
        (table, key, time): (&'static str, &'static str, &'static str),
        until: Timestamp,
        most: i64,
    ) -> Result<()> {
        // Composed of literals only.
        let text = format!(
            "DELETE FROM {table} WHERE ({key}) IN (
                 SELECT {key} FROM {table} WHERE {time} <= $1
                 ORDER BY {time} LIMIT $2 {{skip_locked}})"
        );
        let values = vec![until.to_value(), most.to_value()];
        self.execute(Statement::composed(text, values)).await.map(drop)
    }

    /// Commits, then reaches the fail point `at`.
    ///
    /// # Errors
    /// When the database did not confirm the commit.
    pub async fn commit(self, at: FailPoint<'_>) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        at.reach();
        Ok(())
    }
}

async fn begin(pool: &PgPool) -> Result<sqlx::Transaction<'static, Postgres>> {
    pool.begin().await.map_err(|error| failure::of_pool(pool, error))
}

async fn open_sqlite(url: &str, if_missing: IfMissing) -> Result<Store> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| unreachable(&error))?
        .journal_mode(SqliteJournalMode::Wal)
        // A 2xx response means durable: every commit reaches the disk first.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(LONGEST_WAIT)
        .statement_cache_capacity(CACHED_STATEMENTS)
        .disable_statement_logging();
    let path = options.get_filename().to_owned();
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !in_memory && !path.exists() {
        if if_missing == IfMissing::Refuse {
            let file = path.display();
            return Err(Error::setup(format!(
                "there is no database {file}; `licentia migrate up` or `licentia serve` creates it"
            )));
        }
        create_private(&path)?;
    }
    let pool = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(LONGEST_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            // Unlike a connection to a server, an open file does not break.
            .test_before_acquire(false)
            // When the disk is full, SQLite rolls back by itself. The driver's own rollback then
            // fails, and it considers the transaction open forever. Discard such a connection.
            .before_acquire(|connection, _| {
                let is_usable = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_usable) })
            })
    };
    let writer = connect_writer(|| pool(1).connect_with(options.clone())).await?;
    check_sqlite_version(&writer).await?;
    // An in-memory database exists only in its one connection.
    let readers =
        if in_memory { writer.clone() } else { pool(SQLITE_READERS).connect_lazy_with(options) };
    let file = if in_memory { None } else { Some(OpenedFile::at(&path)?) };
    Ok(Store::Sqlite { writer, readers, file })
}

/// Connects with retries. When several processes open a new file at the same time, one switches it
/// to the write-ahead log. The others get "locked" immediately, because SQLite does not wait here.
async fn connect_writer<F>(connect: impl Fn() -> F) -> Result<SqlitePool>
where
    F: Future<Output = std::result::Result<SqlitePool, sqlx::Error>>,
{
    let mut attempts = 1;
    loop {
        match connect().await {
            Ok(pool) => return Ok(pool),
            Err(error) if attempts < MAX_ATTEMPTS && failure::is_transient(&error) => {
                tokio::time::sleep(RETRY_PAUSE).await;
                attempts += 1;
            }
            Err(error) => return Err(unreachable(&error)),
        }
    }
}

/// Creates the file, readable by its owner only: it contains password hashes and licenses.
fn create_private(path: &Path) -> Result<()> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            let file = path.display();
            Err(Error::setup(format!("the database {file} cannot be created: {error}")))
        }
        _ => Ok(()),
    }
}

async fn check_sqlite_version(pool: &SqlitePool) -> Result<()> {
    let (version,): (String,) = sqlx::query_as("SELECT sqlite_version()").fetch_one(pool).await?;
    let numbers = |text: &str| -> Vec<u32> { text.split('.').flat_map(str::parse).collect() };
    if numbers(&version) < numbers(OLDEST_SQLITE) {
        return Err(Error::setup(format!(
            "this binary was built with SQLite {version}, whose write-ahead log can be corrupted; \
             build it with {OLDEST_SQLITE} or newer"
        )));
    }
    Ok(())
}

/// Returns the error for a database that cannot be opened. It omits the URL, which may contain a
/// password.
fn unreachable(error: &sqlx::Error) -> Error {
    Error::setup(format!(
        "the database cannot be opened: {error}\n  \
         check `database_url` (LICENTIA_DATABASE_URL), and that the file or the server exists"
    ))
}
