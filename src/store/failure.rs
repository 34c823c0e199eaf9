//! What a failed statement means: the rule that it would have broken, or a database that is busy
//! or gone.

use sqlx::error::ErrorKind;

use crate::error::Error;

/// SQLite's primary result codes BUSY and LOCKED (<https://sqlite.org/rescode.html>): somebody
/// else has the lock. The low byte of an extended code is the primary one.
const SQLITE_LOCKS: [i64; 2] = [5, 6];

/// PostgreSQL's errors that trying again can mend: serialization failure, deadlock, a lock or a
/// statement that took too long, too many connections, starting up or shutting down
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
const POSTGRES_PASSING: [&str; 8] =
    ["40001", "40P01", "55P03", "57014", "53300", "57P01", "57P02", "57P03"];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_passing(&error) {
            return Self::Busy;
        }
        let sqlx::Error::Database(failure) = &error else {
            // A row that must be there is a mistake of ours; the rest is a database that is gone.
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
            // What the row belongs to was deleted meanwhile.
            (ErrorKind::ForeignKeyViolation, _) => Self::Unauthenticated,
            (ErrorKind::Other, _) => Self::Database(error.to_string()),
            (_, rule) => Self::Internal(format!("{rule} does not hold")),
        }
    }
}

/// Whether trying again will help: another writer has the lock, or the server is restarting.
pub fn is_passing(error: &sqlx::Error) -> bool {
    let failure = match error {
        sqlx::Error::PoolTimedOut => return true,
        sqlx::Error::Database(failure) => failure,
        _ => return false,
    };
    let code = failure.code().unwrap_or_default();
    if failure.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return POSTGRES_PASSING.contains(&code.as_ref());
    }
    code.parse::<i64>().is_ok_and(|code| SQLITE_LOCKS.contains(&(code & 0xff)))
}

/// The constraint's name. SQLite names the columns instead (`users.email`); by the naming rule of
/// the migrations that is `users_email_key`.
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
