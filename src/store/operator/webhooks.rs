//! The tables of outgoing webhooks, their messages and deliveries. Leases, retries and counts of
//! deliveries are in `store/queue.rs`.

use crate::domain::column::Parameter;
use crate::domain::ids::{DeliveryId, MessageId, WebhookId};
use crate::domain::operator::webhook::{EventFilter, Webhook};
use crate::domain::operator::webhook_delivery::{
    KEPT_FOR, LeasedDelivery, NewDelivery, StoredDelivery,
};
use crate::domain::page::PageRequest;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::queue::SWEPT_AT_ONCE;
use crate::store::statement::{Insert, sql};

/// Webhooks.
impl Tx {
    /// Inserts a new webhook.
    pub async fn insert_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        self.insert(Insert::new("webhooks", webhook)).await?;
        Ok(())
    }

    /// Replaces a locked webhook.
    pub async fn put_webhook(&mut self, webhook: &Webhook) -> Result<()> {
        self.insert(Insert::new("webhooks", webhook).or_replace(&["webhook_id"])).await?;
        Ok(())
    }

    /// Returns the number of webhooks.
    pub async fn count_webhooks(&mut self) -> Result<i64> {
        let (count,) = sql!(self, fetch_one: (i64,), "SELECT COUNT(*) FROM webhooks")?;
        Ok(count)
    }

    /// Returns the webhook with this id.
    pub async fn webhook(&mut self, id: &WebhookId) -> Result<Option<Webhook>> {
        sql!(
            self,
            fetch_optional: Webhook,
            "SELECT {columns} FROM webhooks WHERE webhook_id = $1",
            id,
        )
    }

    /// Returns the webhook with this id and locks it until the transaction ends.
    pub async fn lock_webhook(&mut self, id: &WebhookId) -> Result<Option<Webhook>> {
        sql!(
            self,
            fetch_optional: Webhook,
            "UPDATE webhooks SET webhook_id = webhook_id WHERE webhook_id = $1 RETURNING {columns}",
            id,
        )
    }

    /// Returns the webhooks, newest first, for one page.
    pub async fn webhooks(&mut self, request: &PageRequest) -> Result<Vec<Webhook>> {
        let (at, id) = request.before();
        sql!(
            self,
            fetch_all: Webhook,
            "SELECT {columns} FROM webhooks WHERE (created_at, webhook_id) < ($1, $2)
             ORDER BY created_at DESC, webhook_id DESC LIMIT $3",
            at,
            id,
            request.rows(),
        )
    }

    /// Returns every enabled webhook, with the events that it gets.
    pub async fn subscriptions_to_events(&mut self) -> Result<Vec<(WebhookId, EventFilter)>> {
        sql!(
            self,
            fetch_all: (WebhookId, EventFilter),
            "SELECT webhook_id, events FROM webhooks WHERE disabled_at IS NULL ORDER BY webhook_id",
        )
    }

    /// Deletes a webhook and its deliveries. Returns whether it existed.
    pub async fn delete_webhook(&mut self, id: &WebhookId) -> Result<bool> {
        let deleted = sql!(self, execute, "DELETE FROM webhooks WHERE webhook_id = $1", id)?;
        sql!(self, execute, "DELETE FROM webhook_deliveries WHERE webhook_id = $1", id)?;
        Ok(deleted > 0)
    }
}

/// Messages and deliveries.
impl Tx {
    /// Inserts a message, in the transaction of the change that it reports.
    pub async fn insert_webhook_message(
        &mut self,
        id: &MessageId,
        payload: &str,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO webhook_messages (message_id, payload, created_at) VALUES ($1, $2, $3)",
            id,
            payload,
            now,
        )?;
        Ok(())
    }

    /// Inserts a delivery that is due now. It comes after the unfinished ones to the same webhook
    /// about the same customer, who is locked.
    pub async fn insert_webhook_delivery(
        &mut self,
        new: &NewDelivery<'_>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO webhook_deliveries
                 (delivery_id, webhook_id, message_id, customer_id, kind, position,
                  created_at, tried_since, due_at)
             VALUES ($1, $2, $3, $4, $5,
                 (SELECT COALESCE(MAX(position), 0) + 1 FROM webhook_deliveries
                  WHERE webhook_id = $2 AND customer_id = $4
                      AND delivered_at IS NULL AND given_up_at IS NULL),
                 $6, $6, $6)",
            new.delivery_id,
            new.webhook_id,
            new.message_id,
            new.customer_id,
            new.kind,
            now,
        )?;
        Ok(())
    }

    /// Returns the payload of a message.
    pub async fn webhook_payload(&mut self, id: &MessageId) -> Result<Option<String>> {
        let payload = sql!(
            self,
            fetch_optional: (String,),
            "SELECT payload FROM webhook_messages WHERE message_id = $1",
            id,
        )?;
        Ok(payload.map(|(payload,)| payload))
    }

    /// Records that the receiver accepted a delivery. Returns whether the lease still held.
    pub async fn webhook_delivered(
        &mut self,
        delivery: &LeasedDelivery,
        status: u16,
        now: Timestamp,
    ) -> Result<bool> {
        let columns = vec![
            ("attempts", (delivery.attempts + 1).to_value()),
            ("status_code", i64::from(status).to_value()),
        ];
        self.done(delivery, columns, now).await
    }

    /// Gives up every unfinished delivery of a webhook.
    pub async fn give_up_deliveries(
        &mut self,
        id: &WebhookId,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE webhook_deliveries SET given_up_at = $2, last_error = $3, leased_until = NULL
             WHERE webhook_id = $1 AND delivered_at IS NULL AND given_up_at IS NULL",
            id,
            now,
            reason,
        )?;
        Ok(())
    }

    /// Returns the deliveries of a webhook, newest first, for one page.
    pub async fn deliveries_of(
        &mut self,
        id: &WebhookId,
        request: &PageRequest,
    ) -> Result<Vec<StoredDelivery>> {
        let (at, delivery_id) = request.before();
        sql!(
            self,
            fetch_all: StoredDelivery,
            "SELECT {columns} FROM webhook_deliveries
             WHERE webhook_id = $1 AND (created_at, delivery_id) < ($2, $3)
             ORDER BY created_at DESC, delivery_id DESC LIMIT $4",
            id,
            at,
            delivery_id,
            request.rows(),
        )
    }

    /// Returns a delivery of a webhook, and locks it until the transaction ends.
    pub async fn lock_delivery(
        &mut self,
        webhook_id: &WebhookId,
        id: &DeliveryId,
    ) -> Result<Option<StoredDelivery>> {
        sql!(
            self,
            fetch_optional: StoredDelivery,
            "UPDATE webhook_deliveries SET delivery_id = delivery_id
             WHERE delivery_id = $2 AND webhook_id = $1 RETURNING {columns}",
            webhook_id,
            id,
        )
    }

    /// Makes a delivery due, whatever its state, after the unfinished ones about the same customer.
    /// Returns the delivery.
    pub async fn replay_delivery(
        &mut self,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<StoredDelivery> {
        sql!(
            self,
            fetch_one: StoredDelivery,
            "UPDATE webhook_deliveries SET
                 position = (SELECT COALESCE(MAX(other.position), 0) + 1
                     FROM webhook_deliveries AS other
                     WHERE other.webhook_id = webhook_deliveries.webhook_id
                         AND other.customer_id = webhook_deliveries.customer_id
                         AND other.delivered_at IS NULL AND other.given_up_at IS NULL),
                 tried_since = $2, due_at = $2, attempts = 0, fence = fence + 1,
                 leased_until = NULL, delivered_at = NULL, given_up_at = NULL, status_code = NULL,
                 last_error = NULL
             WHERE delivery_id = $1 RETURNING {columns}",
            id,
            now,
        )
    }

    /// Deletes a few messages that are old and have no unfinished delivery, with their deliveries.
    pub async fn sweep_webhook_messages(&mut self, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM webhook_messages WHERE message_id IN (
                 SELECT message_id FROM webhook_messages AS old
                 WHERE old.created_at <= $1 AND NOT EXISTS (
                     SELECT 1 FROM webhook_deliveries AS unfinished
                     WHERE unfinished.message_id = old.message_id
                         AND unfinished.delivered_at IS NULL AND unfinished.given_up_at IS NULL)
                 ORDER BY old.created_at LIMIT $2 {skip_locked})",
            now - KEPT_FOR,
            SWEPT_AT_ONCE,
        )?;
        Ok(())
    }
}
