//! The inbox: what came from Stripe, and work of our own that needs Stripe. A worker leases what it
//! does; an event is done in the transaction that wrote its effect.

use super::Tx;
use super::statement::{Insert, sql};
use crate::domain::column::Parameter;
use crate::domain::customer::Customer;
use crate::domain::ids::{CustomerId, TaskId};
use crate::domain::inbox::{IgnoredEvent, LeasedEvent, StoredEvent, TaskKind};
use crate::domain::queue::Leased;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::webhook::Envelope;
use crate::error::Result;

/// How long an event that is of no use is kept, in seconds.
const IGNORED_SECONDS: i64 = 35 * DAY;

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

    /// Writes an event that is of no use, in place of an earlier one of its type; and forgets types that
    /// did not come for a long time.
    pub async fn put_ignored_event(&mut self, event: &IgnoredEvent) -> Result<()> {
        let insert = Insert::new("ignored_events", event).or_replace(&["kind"]);
        self.insert(insert).await?;
        let forgotten = event.received_at.plus(-IGNORED_SECONDS);
        sql!(self, execute, "DELETE FROM ignored_events WHERE received_at < $1", forgotten)?;
        Ok(())
    }

    /// Returns the events that are of no use, by their type, `most` at the most.
    pub async fn ignored_events(&mut self, most: i64) -> Result<Vec<IgnoredEvent>> {
        sql!(
            self,
            fetch_all: IgnoredEvent,
            "SELECT {columns} FROM ignored_events ORDER BY kind LIMIT $1",
            most,
        )
    }

    /// Returns an event that is of no use.
    pub async fn ignored_event(&mut self, id: &str) -> Result<Option<IgnoredEvent>> {
        sql!(
            self,
            fetch_optional: IgnoredEvent,
            "SELECT {columns} FROM ignored_events WHERE event_id = $1 LIMIT 1",
            id,
        )
    }

    /// Writes work of our own on a customer.
    pub async fn insert_task(
        &mut self,
        id: &TaskId,
        kind: TaskKind,
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

    /// Notes that an event took effect, in the transaction of that effect; and whom it was about, which may
    /// have been found out. Nothing, if somebody took it since, or it was replayed: then it is done anew.
    pub async fn event_done(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        self.done(event, event.found_out(), now).await.map(drop)
    }

    /// Notes that an event is about nobody here, and forgets what it said: it may name somebody who was
    /// deleted, or a customer of another product.
    pub async fn event_is_foreign(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        self.done(event, vec![("body", "".to_value())], now).await.map(drop)
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
}
