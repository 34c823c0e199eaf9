//! Maps database errors to ours: a violated constraint, a busy database, or a lost connection.

use sqlx::error::ErrorKind;

use crate::error::Error;

/// SQLite's primary result codes BUSY and LOCKED: another connection has the lock. The low byte of
/// an extended code is the primary code (<https://sqlite.org/rescode.html>).
const SQLITE_LOCKS: [i64; 2] = [5, 6];

/// PostgreSQL's transient errors: serialization failure, deadlock, lock timeout, statement timeout,
/// too many connections, server starting up or shutting down
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const POSTGRES_TRANSIENT: [&str; 8] =
    ["40001", "40P01", "55P03", "57014", "53300", "57P01", "57P02", "57P03"];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            return Self::Busy;
        }
        let sqlx::Error::Database(failure) = &error else {
            // A missing row or column is a bug of ours. All other errors are a lost connection.
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

/// Returns whether a retry may succeed: another writer has the lock, or the server is restarting.
pub fn is_transient(error: &sqlx::Error) -> bool {
    let failure = match error {
        sqlx::Error::PoolTimedOut => return true,
        sqlx::Error::Database(failure) => failure,
        _ => return false,
    };
    let code = failure.code().unwrap_or_default();
    if failure.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return POSTGRES_TRANSIENT.contains(&code.as_ref());
    }
    code.parse::<i64>().is_ok_and(|code| SQLITE_LOCKS.contains(&(code & 0xff)))
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
