//! The inbox: events from Stripe, and our own tasks that call Stripe. A worker leases an event
//! before it processes it. An event is marked as done in the transaction that wrote its effect.
//! Leases, retries and counts are in `queue.rs`.

use chrono::TimeDelta;

use crate::domain::account::customer::Customer;
use crate::domain::column::Parameter;
use crate::domain::ids::{CustomerId, TaskId};
use crate::domain::page::PageRequest;
use crate::domain::queue::Leased;
use crate::domain::sale::inbox::{IgnoredEvent, LeasedEvent, StoredEvent, TaskKind};
use crate::domain::sale::webhook::Envelope;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, Statement, sql};

/// How long an ignored event is kept.
const IGNORED_KEPT_FOR: TimeDelta = TimeDelta::days(35);

impl Tx {
    /// Returns the events that were given up or have failed so far, oldest first, at most `most`.
    /// Each half of the query has its own index, so that done events are not read.
    pub async fn failed_events(&mut self, most: i64) -> Result<Vec<StoredEvent>> {
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

    /// Returns a page of the events and tasks about a customer, by time of receipt, newest first.
    /// Events that name only a payment are not included.
    pub async fn event_page(
        &mut self,
        customer: &Customer,
        request: &PageRequest,
    ) -> Result<Vec<StoredEvent>> {
        let (at, event_id) = request.before();
        sql!(
            self,
            fetch_all: StoredEvent,
            // Each half reads only its part of the page, from its own index.
            "SELECT {columns} FROM inbox WHERE event_id IN (
                 SELECT event_id FROM (SELECT event_id FROM inbox
                     WHERE customer_id = $1 AND (received_at, event_id) < ($3, $4)
                     ORDER BY received_at DESC, event_id DESC LIMIT $5) AS tasks
                 UNION ALL
                 SELECT event_id FROM (SELECT event_id FROM inbox
                     WHERE stripe_customer_id = $2 AND (received_at, event_id) < ($3, $4)
                     ORDER BY received_at DESC, event_id DESC LIMIT $5) AS events)
             ORDER BY received_at DESC, event_id DESC LIMIT $5",
            &customer.customer_id,
            &customer.stripe_customer_id,
            at,
            event_id,
            request.rows(),
        )
    }

    /// Returns the event with this id.
    pub async fn event(&mut self, id: &str) -> Result<Option<StoredEvent>> {
        sql!(
            self,
            fetch_optional: StoredEvent,
            "SELECT {columns} FROM inbox WHERE event_id = $1",
            id,
        )
    }

    /// Returns the body of an event as received. It is empty after the event was found to be about
    /// none of our customers.
    pub async fn event_body(&mut self, id: &str) -> Result<Option<String>> {
        let body = sql!(
            self,
            fetch_optional: (String,),
            "SELECT body FROM inbox WHERE event_id = $1",
            id,
        )?;
        Ok(body.map(|(body,)| body))
    }

    /// Resets an event, as if it had just been received. Returns its previous state, if it exists.
    pub async fn replay_event(&mut self, id: &str, now: Timestamp) -> Result<Option<StoredEvent>> {
        // A new fencing token, so that a worker that is processing the event cannot write.
        let fence = "UPDATE inbox SET fence = fence + 1, leased_until = NULL WHERE event_id = $1";
        sql!(self, execute, fence, id)?;
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

    /// Returns how many of these events are not stored.
    pub async fn count_unknown_events<'e>(
        &mut self,
        ids: impl Iterator<Item = &'e str>,
    ) -> Result<u64> {
        let ids: Vec<_> = ids.map(|id| id.to_value()).collect();
        let (count, places) = (ids.len(), (1..=ids.len()).map(|n| format!("${n}")));
        let places = places.collect::<Vec<_>>().join(", ");
        let text = format!("SELECT COUNT(*) FROM inbox WHERE event_id IN ({places})");
        let (known,): (i64,) = self.fetch_one(Statement::composed(text, ids)).await?;
        Ok((count as u64).saturating_sub(known.unsigned_abs()))
    }

    /// Inserts received events, except known ones. Returns the number of new events.
    ///
    /// One statement inserts them all: a call to the driver costs more than the insert itself.
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

    /// Inserts an ignored event, or replaces the last one of its type. Deletes types that were not
    /// received for [`IGNORED_KEPT_FOR`].
    pub async fn put_ignored_event(&mut self, event: &IgnoredEvent) -> Result<()> {
        let insert = Insert::new("ignored_events", event).or_replace(&["kind"]);
        self.insert(insert).await?;
        let oldest = event.received_at - IGNORED_KEPT_FOR;
        sql!(self, execute, "DELETE FROM ignored_events WHERE received_at < $1", oldest)?;
        Ok(())
    }

    /// Returns the ignored events, ordered by type, at most `most`.
    pub async fn ignored_events(&mut self, most: i64) -> Result<Vec<IgnoredEvent>> {
        sql!(
            self,
            fetch_all: IgnoredEvent,
            "SELECT {columns} FROM ignored_events ORDER BY kind LIMIT $1",
            most,
        )
    }

    /// Returns the ignored event with this id.
    pub async fn ignored_event(&mut self, id: &str) -> Result<Option<IgnoredEvent>> {
        sql!(
            self,
            fetch_optional: IgnoredEvent,
            "SELECT {columns} FROM ignored_events WHERE event_id = $1 LIMIT 1",
            id,
        )
    }

    /// Inserts a task for a customer.
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

    /// Marks an event as done, in the transaction of its effect, and stores the customer that it
    /// was found to be about. Does nothing if the lease was lost: the event is then processed
    /// again.
    pub async fn event_done(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        self.done(event, event.determined(), now).await.map(drop)
    }

    /// Marks an event that is about none of our customers as done, and erases its body: it may
    /// contain data of a deleted customer, or of a customer of another product.
    pub async fn event_is_foreign(&mut self, event: &LeasedEvent, now: Timestamp) -> Result<()> {
        self.done(event, vec![("body", "".to_value())], now).await.map(drop)
    }

    /// Erases the bodies of all events about a customer that is being deleted.
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
                 SELECT stripe_payment_intent_id FROM orders WHERE customer_id = $1
                 UNION ALL SELECT stripe_payment_intent_id FROM guest_purchases
                 WHERE customer_id = $1)",
            &customer.customer_id,
        )?;
        Ok(())
    }
}
