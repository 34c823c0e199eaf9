//! A database for each test: a SQLite file, or a database in a throwaway PostgreSQL cluster. The
//! cluster is in `postgres.rs`.

use std::path::Path;

use licentia::store::{IfMissing, Store};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::postgres;

/// A database of one test.
pub struct TestDatabase {
    pub url: String,
}

/// The database that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Returns the database that the tests run on: PostgreSQL with `TEST_DATABASE=postgres`, otherwise
/// SQLite.
pub fn kind() -> Kind {
    match std::env::var("TEST_DATABASE").as_deref() {
        Ok("postgres") => Kind::Postgres,
        Ok("sqlite") | Err(_) => Kind::Sqlite,
        Ok(other) => panic!("TEST_DATABASE={other}: use sqlite or postgres"),
    }
}

impl TestDatabase {
    /// Returns a database as a service finds it: no file yet for SQLite, and this version's schema
    /// on PostgreSQL. The schema is created once and copied, for speed.
    pub async fn new(directory: &Path) -> Self {
        match kind() {
            Kind::Sqlite => Self::empty(directory).await,
            Kind::Postgres => Self { url: postgres::database(true).await },
        }
    }

    /// Returns a database without a schema.
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

    /// Ends the leases of requests with an idempotency key, as the time does. On SQLite, a restart
    /// does it too.
    pub async fn end_requests(&self) {
        let store = self.open().await;
        execute(&store, "UPDATE idempotency_keys SET leased_until = NULL").await.unwrap();
        store.close().await;
    }

    pub async fn open(&self) -> Store {
        Store::open(&self.secret(), IfMissing::Create).await.unwrap()
    }
}

/// Returns the number of rows of a table.
pub async fn count(store: &Store, table: &str) -> i64 {
    number(store, &format!("SELECT COUNT(*) FROM {table}")).await
}

/// Returns the number that a query selects.
pub async fn number(store: &Store, query: &str) -> i64 {
    // The query is a literal of a test.
    let sql = AssertSqlSafe(query.to_owned());
    let (number,) = match store {
        Store::Sqlite { readers, .. } => sqlx::query_as(sql).fetch_one(readers).await.unwrap(),
        Store::Postgres(pool) => sqlx::query_as(sql).fetch_one(pool).await.unwrap(),
    };
    number
}

/// Returns the texts that a query selects.
pub async fn texts(store: &Store, query: &str) -> Vec<String> {
    // The query is a literal of a test.
    let sql = AssertSqlSafe(query.to_owned());
    let rows: Vec<(String,)> = match store {
        Store::Sqlite { readers, .. } => sqlx::query_as(sql).fetch_all(readers).await.unwrap(),
        Store::Postgres(pool) => sqlx::query_as(sql).fetch_all(pool).await.unwrap(),
    };
    rows.into_iter().map(|(text,)| text).collect()
}

/// A lock that prevents every write until it is released, as another program could hold it:
/// SQLite's write lock, or PostgreSQL's locks on these tables. Reading works.
pub struct HeldLock {
    release: oneshot::Sender<()>,
    holder: JoinHandle<()>,
}

impl HeldLock {
    /// Takes the lock on a connection of its own.
    pub async fn take(url: &SecretString, tables: &str) -> Self {
        // The tables are a literal of a test.
        let postgres = format!("LOCK TABLE {tables} IN EXCLUSIVE MODE");
        Self::hold(url, "BEGIN IMMEDIATE", postgres).await
    }

    /// Locks the rows of these tables, which PostgreSQL can do. SQLite locks nothing.
    pub async fn take_rows(url: &SecretString, tables: &[&str]) -> Self {
        let lock = |table: &&str| format!("SELECT 1 FROM {table} FOR UPDATE;");
        Self::hold(url, "BEGIN", tables.iter().map(lock).collect()).await
    }

    async fn hold(url: &SecretString, sqlite: &'static str, postgres: String) -> Self {
        let url = url.expose_secret().to_owned();
        let (held, is_held) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let holder = tokio::spawn(async move {
            if url.starts_with("sqlite:") {
                let mut other = SqliteConnection::connect(&url).await.unwrap();
                other.execute(sqlite).await.unwrap();
                held.send(()).unwrap();
                let _ = released.await;
                other.execute("ROLLBACK").await.unwrap();
            } else {
                let mut other = PgConnection::connect(&url).await.unwrap();
                let lock = format!("BEGIN; {postgres}");
                other.execute(AssertSqlSafe(lock)).await.unwrap();
                held.send(()).unwrap();
                let _ = released.await;
                other.execute("ROLLBACK").await.unwrap();
            }
        });
        is_held.await.unwrap();
        Self { release, holder }
    }

    /// Releases the lock.
    pub async fn release(self) {
        self.release.send(()).unwrap();
        self.holder.await.unwrap();
    }
}

/// Makes a PostgreSQL database read-only like a standby, or writable again. Ends every connection
/// to it, because the setting applies only to later ones.
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

/// The number of the first customer that [`insert_customers`] inserts.
pub const FIRST_INSERTED: i64 = 1_000_000;

/// Inserts many customers without the service: a row of each for each pair of a table with columns
/// and their values. These can use the number `i` from [`FIRST_INSERTED`] on, the customer's `id`,
/// the `login` and the `email`.
pub async fn insert_customers(store: &Store, count: i64, tables: &[(&str, &str)]) {
    let last = FIRST_INSERTED + count - 1;
    for (columns, values) in tables {
        let insert = format!(
            "INSERT INTO {columns}
             WITH RECURSIVE numbers(i) AS
                 (SELECT {FIRST_INSERTED} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last}),
             others AS (SELECT i, 'cust_0000000000000000000000000' || i AS id,
                 'user_' || i AS login, i || '@x.example' AS email FROM numbers)
             SELECT {values} FROM others"
        );
        execute(store, &insert).await.unwrap();
    }
}

/// The users and customers for [`insert_customers`].
pub const CUSTOMERS: [(&str, &str); 2] = [
    ("users (user_id, email, password_hash, created_at, updated_at)", "login, email, '', 0, 0"),
    (
        "customers (customer_id, user_id, email, created_at, updated_at, terms_at)",
        "id, login, email, 0, 0, 0",
    ),
];

/// Runs a statement without the service.
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
