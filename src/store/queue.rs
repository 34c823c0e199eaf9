//! The queues of [`crate::domain::queue`]: due entries, leases, outcomes and counts. The columns of
//! each queue are in [`crate::domain::queue`], the retry times in [`crate::domain::retry`].

use super::Tx;
use super::statement::Statement;
use crate::domain::column::{Parameter, Value};
use crate::domain::queue::{Backlog, Leased, Queue};
use crate::domain::retry::Due;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The number of old entries that one sweep deletes: more than one, so that the backlog shrinks,
/// and few, so that other writers do not wait.
pub(super) const SWEPT_AT_ONCE: i64 = 20;

/// Returns the SQL condition for an entry that may be leased. `$1` to `$5` are the values of
/// [`limits`].
fn is_due(Queue { since, done, waits_for, .. }: Queue) -> String {
    let further = waits_for.map(|condition| format!(" AND {condition}")).unwrap_or_default();
    format!(
        "{done} IS NULL AND given_up_at IS NULL
         AND (due_at <= $1 OR due_at > $2 OR (due_at > $3 AND {since} > $4))
         AND (leased_until IS NULL OR leased_until <= $1 OR leased_until > $5){further}"
    )
}

fn limits(queue: Queue, due: &Due) -> Vec<Value> {
    let Due { now, latest, latest_fresh, fresh_since, latest_lease, .. } = due;
    let latest_fresh = if queue.obeys_retry_after { latest } else { latest_fresh };
    [now, latest, latest_fresh, fresh_since, latest_lease].map(Parameter::to_value).to_vec()
}

impl Tx {
    /// Returns whether an entry is due, without writing.
    pub async fn has_due<L: Leased>(&mut self, now: Timestamp) -> Result<bool> {
        let Queue { table, .. } = L::QUEUE;
        let text = format!("SELECT attempts FROM {table} WHERE {} LIMIT 1", is_due(L::QUEUE));
        let entry = self
            .fetch_optional::<(i64,)>(Statement::composed(text, limits(L::QUEUE, &Due::at(now))));
        Ok(entry.await?.is_some())
    }

    /// Leases due entries, oldest first, at most `most`. Returns them.
    pub async fn lease<L: Leased>(&mut self, now: Timestamp, most: i64) -> Result<Vec<L>> {
        let Queue { table, id, .. } = L::QUEUE;
        let (due, is_due) = (Due::at(now), is_due(L::QUEUE));
        // The condition is repeated: when two workers select the same rows, the second one checks
        // them again after it gets the row lock.
        let text = format!(
            "UPDATE {table} SET leased_until = $6, fence = fence + 1
             WHERE {is_due} AND {id} IN (
                 SELECT {id} FROM {table} WHERE {is_due} ORDER BY due_at LIMIT $7)
             RETURNING {{columns}}"
        );
        let mut values = limits(L::QUEUE, &due);
        values.extend([due.until.to_value(), most.to_value()]);
        self.fetch_all(Statement::composed(text, values)).await
    }

    /// Extends the lease on an entry, unless it was lost or the entry failed in the meantime.
    pub async fn renew<L: Leased>(&mut self, entry: &L, now: Timestamp) -> Result<()> {
        let set = "leased_until = CASE WHEN leased_until IS NOT NULL THEN CAST($3 AS BIGINT) END";
        let values = vec![Due::at(now).until.to_value()];
        self.update(entry, set, values, Vec::new()).await.map(drop)
    }

    /// Marks an entry as done and stores these columns. Returns false, and writes nothing, if the
    /// lease was lost.
    pub(super) async fn done<L: Leased>(
        &mut self,
        entry: &L,
        columns: Vec<(&'static str, Value)>,
        now: Timestamp,
    ) -> Result<bool> {
        let Queue { done, .. } = L::QUEUE;
        let set =
            format!("{done} = $3, given_up_at = NULL, leased_until = NULL, last_error = NULL");
        self.update(entry, &set, vec![now.to_value()], columns).await
    }

    /// Records that an entry failed. It is retried at `due`; with `None` it is given up.
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
        self.update(entry, set, values, entry.determined()).await.map(drop)
    }

    /// Updates a leased entry if the lease still holds. In `set`, the `values` start at `$3`.
    /// Returns whether the entry was updated.
    async fn update<L: Leased>(
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
        Ok(self.execute(Statement::composed(text, all)).await? > 0)
    }

    /// Returns how many entries are waiting and how many were given up.
    pub async fn backlog<L: Leased>(&mut self) -> Result<Backlog> {
        let Queue { table, done, .. } = L::QUEUE;
        let text = format!(
            "SELECT (SELECT COUNT(*) FROM {table}
                     WHERE {done} IS NULL AND given_up_at IS NULL) AS waiting,
                    (SELECT COUNT(*) FROM {table} WHERE given_up_at IS NOT NULL) AS given_up"
        );
        self.fetch_one(Statement::composed(text, Vec::new())).await
    }

    /// Deletes a few entries that were done long ago. Entries that were given up are kept for the
    /// operator.
    pub async fn sweep<L: Leased>(&mut self, now: Timestamp) -> Result<()> {
        let Queue { table, id, done, kept_for, .. } = L::QUEUE;
        let Some(kept) = kept_for else { return Ok(()) };
        self.sweep_table((table, id, done), now - kept, SWEPT_AT_ONCE).await
    }
}
