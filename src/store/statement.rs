//! Runs statements on either database. Callers pass a text with values and get domain rows back, so
//! that no caller is compiled once for each driver.

use futures_util::future::BoxFuture;
use sqlx::database::HasStatementCache;
use sqlx::postgres::PgRow;
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Postgres, SqlSafeStr, SqlStr, Sqlite,
    Type,
};

use super::failure::of_pool;
use super::{Store, Tx};
use crate::domain::column::{ColumnType, Expected, InvalidColumn, Parameter, Record, Row, Value};
use crate::error::{Error, Result};

/// Runs one statement on a [`Tx`], or on the [`Store`] without a transaction: one statement is
/// atomic by itself.
///
/// `sql!(tx, execute, "…", arguments)` returns the number of changed rows. `sql!(tx, fetch_all:
/// Row, "…", arguments)`, `fetch_optional` and `fetch_one` return rows. `{columns}` in the text
/// stands for the list of the row's columns, and [`RowLocks`] has what stands for row locks.
macro_rules! sql {
    ($on:expr, execute, $text:expr $(, $argument:expr)* $(,)?) => {
        $on.execute($crate::store::statement::Statement::new(
            $text, vec![$($crate::domain::column::Parameter::to_value(&$argument)),*],
        )).await
    };
    ($on:expr, $fetch:ident: $row:ty, $text:expr $(, $argument:expr)* $(,)?) => {
        $on.$fetch::<$row>($crate::store::statement::Statement::new(
            $text, vec![$($crate::domain::column::Parameter::to_value(&$argument)),*],
        )).await
    };
}
pub(super) use sql;

/// The target of the log lines with the text of each statement, at the level `trace`.
const STATEMENTS: &str = "licentia::statements";

/// What differs between the databases: how a `SELECT` within a statement locks its rows. SQLite has
/// one writer at a time and needs no such locks.
trait RowLocks {
    /// Stands for `{for_update}`: waits for the locks, in the order of the rows.
    const FOR_UPDATE: &str;
    /// Stands for `{skip_locked}`: skips the rows that another transaction has locked. Deletions of
    /// old rows of any customer use it: two transactions that wait for each other's rows fail.
    const SKIP_LOCKED: &str;
}

impl RowLocks for Sqlite {
    const FOR_UPDATE: &str = "";
    const SKIP_LOCKED: &str = "";
}

impl RowLocks for Postgres {
    const FOR_UPDATE: &str = "FOR UPDATE";
    const SKIP_LOCKED: &str = "FOR UPDATE SKIP LOCKED";
}

/// A statement and its parameters.
pub(super) struct Statement {
    text: SqlStr,
    values: Vec<Value>,
    /// Whether the driver caches the prepared statement.
    is_cached: bool,
}

impl Statement {
    pub(super) fn new(text: &'static str, values: Vec<Value>) -> Self {
        Self { text: text.into_sql_str(), values, is_cached: true }
    }

    /// Returns a statement whose text was composed at run time. It must not contain any input.
    pub(super) fn composed(text: String, values: Vec<Value>) -> Self {
        Self { text: AssertSqlSafe(text).into_sql_str(), values, is_cached: true }
    }

    /// Replaces `{columns}` by the names of a row's columns. `SELECT *` would also return columns
    /// that a newer server has added.
    fn returning(mut self, columns: &[Expected]) -> Self {
        if let Some((before, after)) = self.text.as_str().split_once("{columns}") {
            let names: Vec<_> = columns.iter().filter_map(|column| column.name).collect();
            // Composed of literals only.
            let text = format!("{before}{}{after}", names.join(", "));
            self.text = AssertSqlSafe(text).into_sql_str();
        }
        self
    }

    fn query<DB: Database + HasStatementCache + RowLocks>(
        mut self,
    ) -> Query<'static, DB, DB::Arguments>
    where
        Option<i64>: Encode<'static, DB> + Type<DB>,
        Option<String>: Encode<'static, DB> + Type<DB>,
    {
        if self.text.as_str().contains('{') {
            let text = self.text.as_str().replace("{for_update}", DB::FOR_UPDATE);
            // Composed of literals only.
            self.text =
                AssertSqlSafe(text.replace("{skip_locked}", DB::SKIP_LOCKED)).into_sql_str();
        }
        // Texts have no input. A test reads the plan of each.
        tracing::trace!(target: STATEMENTS, text = self.text.as_str());
        let query = sqlx::query(self.text).persistent(self.is_cached);
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Integer(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        })
    }
}

/// An `INSERT` statement.
pub(super) struct Insert {
    table: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    conflict: String,
}

impl Insert {
    /// Inserts all columns of a record.
    pub(super) fn new<R: Record>(table: &'static str, record: &R) -> Self {
        let columns = R::columns().iter().filter_map(|column| column.name).collect();
        Self { table, columns, rows: vec![record.to_values()], conflict: String::new() }
    }

    /// Inserts several rows with these columns. A row whose `key` already exists is skipped.
    pub(super) fn missing(
        table: &'static str,
        key: &'static str,
        columns: &[&'static str],
        rows: Vec<Vec<Value>>,
    ) -> Self {
        let conflict = format!(" ON CONFLICT ({key}) DO NOTHING");
        Self { table, columns: columns.to_vec(), rows, conflict }
    }

    /// Adds a column that the record does not have.
    pub(super) fn with(mut self, column: &'static str, value: impl Parameter) -> Self {
        self.columns.push(column);
        for row in &mut self.rows {
            row.push(value.to_value());
        }
        self
    }

    /// Writes nothing if there is a row with the same `key`.
    pub(super) fn or_skip(mut self, key: &'static str) -> Self {
        self.conflict = format!(" ON CONFLICT ({key}) DO NOTHING");
        self
    }

    /// Replaces the row that has the same `key`, if there is one.
    pub(super) fn or_replace(mut self, key: &[&'static str]) -> Self {
        let rest = self.columns.iter().filter(|column| !key.contains(column));
        let set: Vec<_> = rest.map(|column| format!("{column} = excluded.{column}")).collect();
        self.conflict =
            format!(" ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "));
        self
    }

    fn statement(self) -> Statement {
        let Self { table, columns, rows, conflict } = self;
        let mut number = 0;
        let mut placeholder = || {
            number += 1;
            format!("${number}")
        };
        let mut row = |values: &Vec<Value>| {
            let placeholders: Vec<_> = values.iter().map(|_| placeholder()).collect();
            format!("({})", placeholders.join(", "))
        };
        let tuples: Vec<_> = rows.iter().map(&mut row).collect();
        let (columns, tuples) = (columns.join(", "), tuples.join(", "));
        // Composed of literals only.
        let text = format!("INSERT INTO {table} ({columns}) VALUES {tuples}{conflict}");
        // The text depends on the number of rows: only the one-row form is worth caching.
        let is_cached = rows.len() == 1;
        let values = rows.into_iter().flatten().collect();
        Statement { text: AssertSqlSafe(text).into_sql_str(), values, is_cached }
    }
}

impl Tx {
    /// Runs a statement. Returns the number of rows that it changed.
    pub(super) fn execute(&mut self, statement: Statement) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            Ok(match self {
                Self::Sqlite(tx) => {
                    statement.query::<Sqlite>().execute(&mut **tx).await?.rows_affected()
                }
                Self::Postgres(tx) => {
                    statement.query::<Postgres>().execute(&mut **tx).await?.rows_affected()
                }
            })
        })
    }

    /// Inserts rows. Returns the number of rows that were written.
    pub(super) async fn insert(&mut self, insert: Insert) -> Result<u64> {
        self.execute(insert.statement()).await
    }

    fn fetch(
        &mut self,
        statement: Statement,
        columns: Vec<Expected>,
    ) -> BoxFuture<'_, Result<Vec<Vec<Value>>>> {
        let statement = statement.returning(&columns);
        Box::pin(async move {
            match self {
                Self::Sqlite(tx) => {
                    sqlite_values(statement.query().fetch_all(&mut **tx).await?, &columns)
                }
                Self::Postgres(tx) => {
                    postgres_values(statement.query().fetch_all(&mut **tx).await?, &columns)
                }
            }
        })
    }

    /// Returns every row.
    pub(super) async fn fetch_all<R: Row>(&mut self, statement: Statement) -> Result<Vec<R>> {
        rows(self.fetch(statement, R::columns()).await?)
    }

    /// Returns the first row, if there is one.
    pub(super) async fn fetch_optional<R: Row>(
        &mut self,
        statement: Statement,
    ) -> Result<Option<R>> {
        first(self.fetch(statement, R::columns()).await?)
    }

    /// Returns the first row.
    ///
    /// # Errors
    /// [`Error::Internal`] when there is none.
    pub(super) async fn fetch_one<R: Row>(&mut self, statement: Statement) -> Result<R> {
        let row = self.fetch_optional(statement).await?;
        row.ok_or_else(|| Error::Internal("a statement returned no row".to_owned()))
    }
}

/// Runs a single statement without a transaction.
impl Store {
    pub(super) fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            Ok(match self {
                Self::Sqlite { writer, .. } => {
                    statement.query::<Sqlite>().execute(writer).await?.rows_affected()
                }
                Self::Postgres(pool) => {
                    let done = statement.query::<Postgres>().execute(pool).await;
                    done.map_err(|error| of_pool(pool, error))?.rows_affected()
                }
            })
        })
    }

    pub(super) async fn fetch_optional<R: Row>(&self, statement: Statement) -> Result<Option<R>> {
        first(self.fetch(statement, R::columns()).await?)
    }

    fn fetch(
        &self,
        statement: Statement,
        columns: Vec<Expected>,
    ) -> BoxFuture<'_, Result<Vec<Vec<Value>>>> {
        let statement = statement.returning(&columns);
        Box::pin(async move {
            match self {
                Self::Sqlite { readers, .. } => {
                    sqlite_values(statement.query().fetch_all(readers).await?, &columns)
                }
                Self::Postgres(pool) => {
                    let rows = statement.query().fetch_all(pool).await;
                    postgres_values(rows.map_err(|error| of_pool(pool, error))?, &columns)
                }
            }
        })
    }
}

fn rows<R: Row>(values: Vec<Vec<Value>>) -> Result<Vec<R>> {
    Ok(values.into_iter().map(R::from_values).collect::<std::result::Result<_, _>>()?)
}

fn first<R: Row>(values: Vec<Vec<Value>>) -> Result<Option<R>> {
    Ok(values.into_iter().next().map(R::from_values).transpose()?)
}

fn sqlite_values(rows: Vec<SqliteRow>, columns: &[Expected]) -> Result<Vec<Vec<Value>>> {
    rows.iter().map(|row| values(row, columns)).collect()
}

fn postgres_values(rows: Vec<PgRow>, columns: &[Expected]) -> Result<Vec<Vec<Value>>> {
    rows.iter().map(|row| values(row, columns)).collect()
}

/// Returns the values of a row's columns, if they have the expected types.
fn values<R: sqlx::Row>(row: &R, columns: &[Expected]) -> Result<Vec<Value>>
where
    Option<i64>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    usize: ColumnIndex<R>,
    &'static str: ColumnIndex<R>,
{
    let value = |(index, column): (usize, &Expected)| match (column.name, column.column_type) {
        (Some(name), ColumnType::Integer) => row.try_get(name).map(Value::Integer),
        (Some(name), ColumnType::Text) => row.try_get(name).map(Value::Text),
        (None, ColumnType::Integer) => row.try_get(index).map(Value::Integer),
        (None, ColumnType::Text) => row.try_get(index).map(Value::Text),
    };
    let values: std::result::Result<_, sqlx::Error> =
        columns.iter().enumerate().map(value).collect();
    Ok(values?)
}

impl From<InvalidColumn> for Error {
    fn from(invalid: InvalidColumn) -> Self {
        Self::Internal(invalid.to_string())
    }
}
