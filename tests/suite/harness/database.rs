//! A database of its own for each test: a SQLite file, or a database in a throwaway PostgreSQL
//! cluster.

use std::path::Path;

use licentia::store::{IfMissing, Store};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::postgres;

/// A database that nobody else uses.
pub struct TestDatabase {
    pub url: String,
}

/// Which database the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Which database the tests run on: `TEST_DATABASE=postgres`, or SQLite.
pub fn kind() -> Kind {
    match std::env::var("TEST_DATABASE").as_deref() {
        Ok("postgres") => Kind::Postgres,
        Ok("sqlite") | Err(_) => Kind::Sqlite,
        Ok(other) => panic!("TEST_DATABASE={other}: use sqlite or postgres"),
    }
}

impl TestDatabase {
    /// As a service meets it: an empty place for SQLite, this version's schema on PostgreSQL (made
    /// once and copied, for speed).
    pub async fn new(directory: &Path) -> Self {
        match kind() {
            Kind::Sqlite => Self::empty(directory).await,
            Kind::Postgres => Self { url: postgres::database(true).await },
        }
    }

    /// With nothing in it.
    pub async fn empty(directory: &Path) -> Self {
        match kind() {
            Kind::Sqlite => {
                Self { url: format!("sqlite://{}", directory.join("licentia.db").display()) }
            }
            Kind::Postgres => Self { url: postgres::database(false).await },
        }
    }

    pub fn secret(&self) -> SecretString {
        self.url.clone().into()
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.secret(), IfMissing::Create).await.unwrap()
    }
}

/// How many rows a table has.
pub async fn count(store: &Store, table: &str) -> i64 {
    number(store, &format!("SELECT COUNT(*) FROM {table}")).await
}

/// The one number that a query answers.
pub async fn number(store: &Store, query: &str) -> i64 {
    // The query is a literal of a test.
    let sql = AssertSqlSafe(query.to_owned());
    let (number,) = match store {
        Store::Sqlite { readers, .. } => sqlx::query_as(sql).fetch_one(readers).await.unwrap(),
        Store::Postgres(pool) => sqlx::query_as(sql).fetch_one(pool).await.unwrap(),
    };
    number
}

/// The texts that a query answers.
pub async fn texts(store: &Store, query: &str) -> Vec<String> {
    // The query is a literal of a test.
    let sql = AssertSqlSafe(query.to_owned());
    let rows: Vec<(String,)> = match store {
        Store::Sqlite { readers, .. } => sqlx::query_as(sql).fetch_all(readers).await.unwrap(),
        Store::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
    };
    rows.into_iter().map(|(text,)| text).collect()
}

/// Keeps everybody from writing, until it is released, as another program that has the database open does:
/// with SQLite's one write lock, or with PostgreSQL's locks on these tables. Reading goes on.
pub struct HeldLock {
    release: oneshot::Sender<()>,
    holder: JoinHandle<()>,
}

impl HeldLock {
    /// Takes the lock, in a connection of its own.
    pub async fn take(url: &SecretString, tables: &str) -> Self {
        let (url, tables) = (url.expose_secret().to_owned(), tables.to_owned());
        let (held, is_held) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let holder = tokio::spawn(async move {
            if url.starts_with("sqlite:") {
                let mut other = SqliteConnection::connect(&url).await.unwrap();
                other.execute("BEGIN IMMEDIATE").await.unwrap();
                held.send(()).unwrap();
                let _ = released.await;
                other.execute("ROLLBACK").await.unwrap();
            } else {
                let mut other = PgConnection::connect(&url).await.unwrap();
                // The tables are a literal of a test.
                let lock = format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE");
                other.execute(AssertSqlSafe(lock)).await.unwrap();
                held.send(()).unwrap();
                let _ = released.await;
                other.execute("ROLLBACK").await.unwrap();
            }
        });
        is_held.await.unwrap();
        Self { release, holder }
    }

    /// Lets go.
    pub async fn release(self) {
        self.release.send(()).unwrap();
        self.holder.await.unwrap();
    }
}

/// Lets a database on PostgreSQL take no writes, as a standby does, or take them again; and ends every
/// connection to it, since the switch counts for those that begin later.
pub async fn read_only_database(url: &SecretString, on: bool) {
    let mut own = PgConnection::connect(url.expose_secret()).await.unwrap();
    own.execute("SET default_transaction_read_only = off").await.unwrap();
    let switch = format!(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {on}',
             current_database()); END $$"
    );
    own.execute(AssertSqlSafe(switch)).await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    own.execute(end).await.unwrap();
}

/// Runs a statement behind the service's back.
pub async fn execute(store: &Store, statement: &str) -> Result<u64, sqlx::Error> {
    // The statement is a literal of a test.
    let sql = AssertSqlSafe(statement.to_owned());
    match store {
        Store::Sqlite { writer, .. } => {
            Ok(sqlx::raw_sql(sql).execute(writer).await?.rows_affected())
        }
        Store::Postgres(pool) => Ok(sqlx::raw_sql(sql).execute(pool).await?.rows_affected()),
    }
}
