//! Maps database errors to ours: a violated constraint, a busy database, or a lost connection.

use sqlx::PgPool;
use sqlx::error::ErrorKind;

use crate::error::Error;

/// SQLite's primary result codes BUSY and LOCKED: another connection has the lock. The low byte of
/// an extended code is the primary code (<https://sqlite.org/rescode.html>).
const SQLITE_LOCKS: [i64; 2] = [5, 6];

/// SQLite's primary result codes READONLY and FULL.
const SQLITE_READ_ONLY: i64 = 8;
const SQLITE_FULL: i64 = 13;

/// PostgreSQL's transient errors: serialization failure, deadlock, lock timeout, statement timeout
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const POSTGRES_TRANSIENT: [&str; 4] = ["40001", "40P01", "55P03", "57014"];

/// PostgreSQL accepts no connection: too many, starting up, shutting down.
const POSTGRES_UNREACHABLE: [&str; 4] = ["53300", "57P01", "57P02", "57P03"];

/// PostgreSQL accepts no writes: a read-only transaction, as on a standby.
const POSTGRES_READ_ONLY: &str = "25006";

/// PostgreSQL's disk is full.
const POSTGRES_FULL: &str = "53100";

/// The state of a database that cannot do what a statement asks, besides a constraint.
enum State {
    Busy,
    Unreachable,
    ReadOnly,
    Full,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match state(&error) {
            Some(State::Busy) => return Self::Busy,
            Some(State::Unreachable) => return Self::DatabaseUnreachable(error.to_string()),
            Some(State::ReadOnly) => return Self::DatabaseReadOnly,
            Some(State::Full) => return Self::DatabaseFull,
            None => {}
        }
        let sqlx::Error::Database(failure) = &error else {
            // A missing row or column is a bug of ours.
            return match error {
                sqlx::Error::RowNotFound
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::Decode(_) => Self::Internal(error.to_string()),
                _ => Self::Database(error.to_string()),
            };
        };
        match (failure.kind(), constraint(failure.as_ref()).as_str()) {
            (ErrorKind::UniqueViolation, "users_email_key") => Self::EmailTaken,
            // The customer or user of the row was deleted in the meantime.
            (ErrorKind::ForeignKeyViolation, _) => Self::Unauthenticated,
            (ErrorKind::Other, _) => Self::Database(error.to_string()),
            (_, name) => Self::Internal(format!("the constraint {name} was violated")),
        }
    }
}

/// Returns the error of a statement that waited for a connection of this pool. The pool reports
/// only that the wait took too long. If it has fewer connections than it may have, then it can open
/// none.
pub fn of_pool(pool: &PgPool, error: sqlx::Error) -> Error {
    let may_open_more = pool.size() < pool.options().get_max_connections();
    if matches!(error, sqlx::Error::PoolTimedOut) && may_open_more {
        return Error::DatabaseUnreachable("no connection was opened in time".to_owned());
    }
    error.into()
}

/// Returns whether a retry may succeed: another writer has the lock, or the server is restarting.
pub fn is_transient(error: &sqlx::Error) -> bool {
    matches!(state(error), Some(State::Busy | State::Unreachable))
}

fn state(error: &sqlx::Error) -> Option<State> {
    let failure = match error {
        sqlx::Error::PoolTimedOut => return Some(State::Busy),
        sqlx::Error::Io(_) => return Some(State::Unreachable),
        sqlx::Error::Database(failure) => failure,
        _ => return None,
    };
    let code = failure.code().unwrap_or_default();
    if failure.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return match code.as_ref() {
            code if POSTGRES_TRANSIENT.contains(&code) => Some(State::Busy),
            code if POSTGRES_UNREACHABLE.contains(&code) => Some(State::Unreachable),
            POSTGRES_READ_ONLY => Some(State::ReadOnly),
            POSTGRES_FULL => Some(State::Full),
            _ => None,
        };
    }
    match code.parse::<i64>().ok()? & 0xff {
        code if SQLITE_LOCKS.contains(&code) => Some(State::Busy),
        SQLITE_READ_ONLY => Some(State::ReadOnly),
        SQLITE_FULL => Some(State::Full),
        _ => None,
    }
}

/// Returns the constraint's name. SQLite reports the columns instead (`users.email`). They are
/// converted to the name in the migrations (`users_email_key`).
fn constraint(failure: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = failure.constraint() {
        return name.to_owned();
    }
    let columns = failure.message().rsplit(": ").next().unwrap_or_default();
    let mut names = columns.split(", ").filter_map(|column| column.split_once('.'));
    let Some((table, first)) = names.next() else { return failure.message().to_owned() };
    let rest = names.map(|(_, column)| format!("_{column}"));
    format!("{table}_{first}{}_key", rest.collect::<String>())
}
