//! The inbox and the outbox as queues: what is due, leases, outcomes, counts.

use super::Tx;
use super::statement::Statement;
use crate::domain::column::{Parameter, Value};
use crate::domain::queue::{Backlog, Leased, Queue};
use crate::domain::retry::Due;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// How many old entries are deleted at once: more than one, so that their number falls, and few, so
/// that nobody waits.
const SWEPT_AT_ONCE: i64 = 20;

/// The condition for an entry that may be leased. `$1` to `$5` are those of [`limits`].
fn is_due(Queue { since, done, .. }: Queue) -> String {
    format!(
        "{done} IS NULL AND given_up_at IS NULL
         AND (due_at <= $1 OR due_at > $2 OR (due_at > $3 AND {since} > $4))
         AND (leased_until IS NULL OR leased_until <= $1 OR leased_until > $5)"
    )
}

fn limits(due: &Due) -> Vec<Value> {
    let Due { now, latest, latest_fresh, fresh_since, latest_lease, .. } = due;
    [now, latest, latest_fresh, fresh_since, latest_lease].map(Parameter::to_value).to_vec()
}

impl Tx {
    /// Returns whether an entry is due, without writing.
    pub async fn has_due<L: Leased>(&mut self, now: Timestamp) -> Result<bool> {
        let Queue { table, .. } = L::QUEUE;
        let text = format!("SELECT attempts FROM {table} WHERE {} LIMIT 1", is_due(L::QUEUE));
        let found = self.fetch_optional::<(i64,)>(Statement::made(text, limits(&Due::at(now))));
        Ok(found.await?.is_some())
    }

    /// Leases entries that are due, the oldest first, `most` at the most.
    pub async fn lease<L: Leased>(&mut self, now: Timestamp, most: i64) -> Result<Vec<L>> {
        let Queue { table, id, .. } = L::QUEUE;
        let (due, is_due) = (Due::at(now), is_due(L::QUEUE));
        // The condition stands twice: of two workers that chose the same rows, the second checks
        // again when it gets the row.
        let text = format!(
            "UPDATE {table} SET leased_until = $6, fence = fence + 1
             WHERE {is_due} AND {id} IN (
                 SELECT {id} FROM {table} WHERE {is_due} ORDER BY due_at LIMIT $7)
             RETURNING {{columns}}"
        );
        let mut values = limits(&due);
        values.extend([due.until.to_value(), most.to_value()]);
        self.fetch_all(Statement::made(text, values)).await
    }

    /// Notes that an entry is done, and stores these columns. Returns whether the lease still held:
    /// otherwise nothing is written.
    pub(super) async fn done<L: Leased>(
        &mut self,
        entry: &L,
        columns: Vec<(&'static str, Value)>,
        now: Timestamp,
    ) -> Result<bool> {
        let Queue { done, .. } = L::QUEUE;
        let set = format!("{done} = $3, leased_until = NULL, last_error = NULL");
        self.note(entry, &set, vec![now.to_value()], columns).await
    }

    /// Notes that an entry failed, and when to retry it; never, if `due` is `None`.
    pub async fn failed<L: Leased>(
        &mut self,
        entry: &L,
        error: &str,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        let set = "leased_until = NULL, last_error = $3, attempts = attempts + 1,
             due_at = COALESCE($4, due_at),
             given_up_at = CASE WHEN CAST($4 AS BIGINT) IS NULL THEN CAST($5 AS BIGINT) END";
        let values = vec![error.to_value(), due.to_value(), now.to_value()];
        self.note(entry, set, values, entry.found_out()).await.map(drop)
    }

    /// Writes into a leased entry, if the lease still holds. `set` names the `values` from `$3` on.
    async fn note<L: Leased>(
        &mut self,
        entry: &L,
        set: &str,
        values: Vec<Value>,
        columns: Vec<(&'static str, Value)>,
    ) -> Result<bool> {
        let Queue { table, id, done, .. } = L::QUEUE;
        let mut all = vec![entry.id().to_value(), entry.fence().to_value()];
        all.extend(values);
        let mut set = set.to_owned();
        for (column, value) in columns {
            all.push(value);
            set.push_str(&format!(", {column} = ${}", all.len()));
        }
        let text =
            format!("UPDATE {table} SET {set} WHERE {id} = $1 AND fence = $2 AND {done} IS NULL");
        Ok(self.execute(Statement::made(text, all)).await? > 0)
    }

    /// Returns how many entries wait, and how many were given up.
    pub async fn backlog<L: Leased>(&mut self) -> Result<Backlog> {
        let Queue { table, done, .. } = L::QUEUE;
        let text = format!(
            "SELECT (SELECT COUNT(*) FROM {table}
                     WHERE {done} IS NULL AND given_up_at IS NULL) AS waiting,
                    (SELECT COUNT(*) FROM {table} WHERE given_up_at IS NOT NULL) AS given_up"
        );
        self.fetch_one(Statement::made(text, Vec::new())).await
    }

    /// Deletes a few entries that were done long ago. Those that were given up stay for the operator.
    pub async fn sweep<L: Leased>(&mut self, now: Timestamp) -> Result<()> {
        let Queue { table, id, done, kept_seconds, .. } = L::QUEUE;
        let Some(kept) = kept_seconds else { return Ok(()) };
        let text = format!(
            "DELETE FROM {table} WHERE {id} IN (
                 SELECT {id} FROM {table} WHERE {done} <= $1 ORDER BY {done} LIMIT $2)"
        );
        let values = vec![now.plus(-kept).to_value(), SWEPT_AT_ONCE.to_value()];
        self.execute(Statement::made(text, values)).await.map(drop)
    }
}
