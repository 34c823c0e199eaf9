//! The inbox: what came from Stripe, and work of our own that needs Stripe. A worker leases what it
//! does; an event is done in the transaction that wrote its effect.

use super::statement::{Insert, sql};
use super::{Tx, due};
use crate::domain::column::Parameter;
use crate::domain::customer::Customer;
use crate::domain::ids::{CustomerId, TaskId};
use crate::domain::inbox::{LeasedEvent, StoredEvent};
use crate::domain::retry::Due;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::webhook::Envelope;
use crate::error::Result;

/// How long what is done is kept, in seconds: longer than Stripe keeps events, so that none comes
/// back that is not recognised (<https://docs.stripe.com/api/events>).
const KEPT_SECONDS: i64 = 35 * DAY;

/// How many old ones are forgotten at once: more than one, so that their number falls, and few, so
/// that nobody waits.
const SWEPT_AT_ONCE: i64 = 20;

impl Tx {
    /// The events that were given up, and those that did not work yet; the oldest first, `most` at the
    /// most. Each half has an index of its own, so that those that are done cost nothing.
    pub async fn troubled_events(&mut self, most: i64) -> Result<Vec<StoredEvent>> {
        sql!(
            self,
            fetch_all: StoredEvent,
            "SELECT {columns} FROM inbox WHERE event_id IN (
                 SELECT event_id FROM inbox
                 WHERE done_at IS NULL AND given_up_at IS NULL AND attempts > 0
                 UNION ALL SELECT event_id FROM inbox WHERE given_up_at IS NOT NULL)
             ORDER BY received_at, event_id LIMIT $1",
            most,
        )
    }

    /// An event.
    pub async fn event(&mut self, id: &str) -> Result<Option<StoredEvent>> {
        sql!(
            self,
            fetch_optional: StoredEvent,
            "SELECT {columns} FROM inbox WHERE event_id = $1",
            id,
        )
    }

    /// How many events wait, those that did not work yet among them, and how many were given up.
    pub async fn count_events(&mut self) -> Result<(i64, i64)> {
        sql!(
            self,
            fetch_one: (i64, i64),
            "SELECT (SELECT COUNT(*) FROM inbox WHERE done_at IS NULL AND given_up_at IS NULL),
                    (SELECT COUNT(*) FROM inbox WHERE given_up_at IS NOT NULL)",
        )
    }

    /// An event as it came; empty once it is known to be about nobody here.
    pub async fn event_body(&mut self, id: &str) -> Result<Option<String>> {
        let body = sql!(
            self,
            fetch_optional: (String,),
            "SELECT body FROM inbox WHERE event_id = $1",
            id,
        )?;
        Ok(body.map(|(body,)| body))
    }

    /// Has an event worked on anew, as if it had just come. Answers how it stood before, if it is there.
    pub async fn replay_event(&mut self, id: &str, now: Timestamp) -> Result<Option<StoredEvent>> {
        // From here on whoever works on it writes nothing into it.
        let taken = "UPDATE inbox SET fence = fence + 1, leased_until = NULL WHERE event_id = $1";
        sql!(self, execute, taken, id)?;
        let before = self.event(id).await?;
        sql!(
            self,
            execute,
            "UPDATE inbox SET done_at = NULL, given_up_at = NULL, last_error = NULL, attempts = 0,
                 due_at = $2, tried_since = $2
             WHERE event_id = $1",
            id,
            now,
        )?;
        Ok(before)
    }

    /// Writes events that came, except those that are there already. Answers how many were new.
    ///
    /// One statement for all: asking the driver for each of them takes longer than writing it.
    pub async fn insert_events<'e>(
        &mut self,
        events: impl Iterator<Item = (&'e Envelope, &'e str)>,
        now: Timestamp,
    ) -> Result<u64> {
        let row = |(event, body): (&Envelope, &str)| {
            vec![
                event.id.to_value(),
                event.kind.to_value(),
                event.customer.to_value(),
                event.payment_intent.to_value(),
                body.to_value(),
                event.created.to_value(),
                now.to_value(),
                now.to_value(),
                now.to_value(),
            ]
        };
        let columns = [
            "event_id",
            "kind",
            "stripe_customer_id",
            "stripe_payment_intent_id",
            "body",
            "happened_at",
            "received_at",
            "tried_since",
            "due_at",
        ];
        let rows = events.map(row).collect();
        self.insert(Insert::missing("inbox", "event_id", &columns, rows)).await
    }

    /// Writes work of our own on a customer.
    pub async fn insert_task(
        &mut self,
        id: &TaskId,
        kind: &'static str,
        customer_id: &CustomerId,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO inbox (event_id, kind, customer_id, body, happened_at, received_at,
                 tried_since, due_at)
             VALUES ($1, $2, $3, '', $4, $4, $4, $4)",
            id,
            kind,
            customer_id,
            now,
        )?;
        Ok(())
    }

    /// Leases what is due, `most` at the most, the oldest first.
    pub async fn lease_events(&mut self, now: Timestamp, most: i64) -> Result<Vec<LeasedEvent>> {
        let due = Due::at(now);
        // The conditions stand twice: of two workers that chose the same rows, the second looks
        // again when it gets the row.
        sql!(
            self,
            fetch_all: LeasedEvent,
            concat!(
                "UPDATE inbox SET leased_until = $6, fence = fence + 1
                 WHERE done_at IS NULL AND given_up_at IS NULL AND ",
                due!("tried_since"),
                " AND event_id IN (
                     SELECT event_id FROM inbox
                     WHERE done_at IS NULL AND given_up_at IS NULL AND ",
                due!("tried_since"),
                " ORDER BY due_at LIMIT $7)
                 RETURNING {columns}"
            ),
            due.now,
            due.latest,
            due.latest_fresh,
            due.fresh_since,
            due.latest_lease,
            due.until,
            most,
        )
    }

    /// Whether anything is due, without writing.
    pub async fn has_due_events(&mut self, now: Timestamp) -> Result<bool> {
        let due = Due::at(now);
        let found = sql!(
            self,
            fetch_optional: (i64,),
            concat!(
                "SELECT attempts FROM inbox
                 WHERE done_at IS NULL AND given_up_at IS NULL AND ",
                due!("tried_since"),
                " LIMIT 1"
            ),
            due.now,
            due.latest,
            due.latest_fresh,
            due.fresh_since,
            due.latest_lease,
        )?;
        Ok(found.is_some())
    }

    /// Notes that an event took effect, in the transaction of that effect; and whom it was about, which may
    /// have been found out. Nothing, if somebody took it since, or it was replayed: then it is done anew.
    pub async fn event_done(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE inbox SET done_at = $3, leased_until = NULL, last_error = NULL,
                 stripe_customer_id = $4
             WHERE event_id = $1 AND fence = $2 AND done_at IS NULL",
            &event.event_id,
            event.fence,
            now,
            &event.stripe_customer_id,
        )?;
        Ok(())
    }

    /// Notes that an event is about nobody here, and forgets what it said: it may name somebody who was
    /// deleted, or a customer of another product.
    pub async fn event_is_foreign(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE inbox SET done_at = $3, leased_until = NULL, last_error = NULL, body = ''
             WHERE event_id = $1 AND fence = $2 AND done_at IS NULL",
            &event.event_id,
            event.fence,
            now,
        )?;
        Ok(())
    }

    /// Forgets what the events about a customer said, who is about to be deleted.
    pub async fn forget_events_of(&mut self, customer: &Customer) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE inbox SET body = '' WHERE stripe_customer_id = $1",
            &customer.stripe_customer_id,
        )?;
        sql!(
            self,
            execute,
            "UPDATE inbox SET body = '' WHERE stripe_payment_intent_id IN (
                 SELECT stripe_payment_intent_id FROM orders WHERE customer_id = $1)",
            &customer.customer_id,
        )?;
        Ok(())
    }

    /// Notes that an event could not be worked on, and when to try again; never, if `due` is `None`.
    pub async fn event_failed(
        &mut self,
        event: &LeasedEvent,
        error: &str,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE inbox SET leased_until = NULL, last_error = $3, attempts = attempts + 1,
                 due_at = COALESCE($4, due_at), stripe_customer_id = $6,
                 given_up_at = CASE WHEN CAST($4 AS BIGINT) IS NULL THEN CAST($5 AS BIGINT) END
             WHERE event_id = $1 AND fence = $2 AND done_at IS NULL",
            &event.event_id,
            event.fence,
            error,
            due,
            now,
            &event.stripe_customer_id,
        )?;
        Ok(())
    }

    /// Forgets a few events that were done long ago. Those that were given up stay, for somebody to look at.
    pub async fn sweep_events(&mut self, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM inbox WHERE event_id IN (
                 SELECT event_id FROM inbox WHERE done_at <= $1 ORDER BY done_at LIMIT $2)",
            now.plus(-KEPT_SECONDS),
            SWEPT_AT_ONCE,
        )?;
        Ok(())
    }
}
