//! Reports changes by outgoing webhooks. The transaction of a change also writes the deliveries
//! about it. A worker sends each at least once, with the same id in every attempt, and those about
//! one customer in their order. The webhooks themselves are in
//! [`crate::flows::operator::webhooks`].

use serde_json::json;

use crate::app::App;
use crate::domain::ids::{DeliveryId, MessageId, WebhookId};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::operator::webhook::Webhook;
use crate::domain::operator::webhook_delivery::{
    GONE, LEASED_AT_ONCE, LeasedDelivery, NewDelivery, asked_wait,
};
use crate::domain::operator::webhook_event::Event;
use crate::domain::queue::Leased;
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::{audit, queue};
use crate::metrics::DeliveryResult;
use crate::outgoing::{Delivery, NoReply, Reply};
use crate::store::Tx;

/// The reason of deliveries that are given up with their webhook.
pub(super) const DISABLED: &str = "the webhook was disabled";

/// Writes the deliveries about a change, in its transaction: one for each enabled webhook that gets
/// such events.
pub(in crate::flows) async fn report(
    app: &App,
    tx: &mut Tx,
    entry: &AuditEntry<'_>,
    now: Timestamp,
) -> Result<()> {
    let about = entry.customer_id;
    let event = about.and_then(|about| Event::of(entry.action, about, &entry.detail));
    let Some(event) = event else { return Ok(()) };
    let mut webhooks = tx.subscriptions_to_events().await?;
    webhooks.retain(|(_, events)| events.includes(event.kind));
    if webhooks.is_empty() {
        return Ok(());
    }
    let message_id = MessageId::from_random(app.random.bits());
    tx.insert_webhook_message(&message_id, &event.payload(now), now).await?;
    for (webhook_id, _) in &webhooks {
        let new = NewDelivery {
            delivery_id: DeliveryId::from_random(app.random.bits()),
            webhook_id,
            message_id: &message_id,
            customer_id: event.customer_id,
            kind: event.kind,
        };
        tx.insert_webhook_delivery(&new, now).await?;
    }
    Ok(())
}

/// Leases a few due deliveries, at most `most`. Returns them. The next call may find more.
///
/// # Errors
/// A failure of the database.
pub async fn take_due(app: &App, most: usize) -> Result<Vec<LeasedDelivery>> {
    queue::lease_due(app, most.min(LEASED_AT_ONCE), Place::OutgoingTaken).await
}

/// The result of an attempt.
enum Outcome {
    /// The receiver accepted it, with this status.
    Accepted(u16),
    /// There was no response, or another status.
    Failed { error: String, reply: Option<Reply> },
    /// The webhook is disabled or deleted, so nothing was sent.
    NotSent,
}

/// Sends a leased delivery. One that the receiver does not accept is retried with backoff. A 410
/// disables the webhook.
///
/// # Errors
/// A failure of the database only.
pub async fn deliver(app: &App, delivery: &LeasedDelivery) -> Result<()> {
    let mut tx = app.store.read().await?;
    let webhook = tx.webhook(&delivery.webhook_id).await?;
    let payload = tx.webhook_payload(&delivery.message_id).await?;
    drop(tx);
    let webhook = webhook.filter(|webhook| webhook.disabled_at.is_none());
    let outcome = match webhook.zip(payload) {
        Some((webhook, payload)) => attempt(app, &webhook, delivery, payload).await,
        None => Outcome::NotSent,
    };
    record(app, delivery, outcome).await
}

async fn attempt(
    app: &App,
    webhook: &Webhook,
    delivery: &LeasedDelivery,
    payload: String,
) -> Outcome {
    let (message_id, at) = (&delivery.message_id, app.now());
    let signatures = webhook.signatures(message_id, at, &payload);
    // Checked again: the setting may have changed since the webhook was created.
    let sent = match app.outgoing.allowed(webhook.url.as_str()) {
        Ok(url) => {
            let request = Delivery { url: &url, message_id, at, signatures: &signatures, payload };
            app.outgoing.send(request, app.fail_points.at(Place::OutgoingSent)).await
        }
        Err(refused) => Err(NoReply::Refused(refused)),
    };
    match sent {
        Ok(Reply { status: status @ 200..300, .. }) => Outcome::Accepted(status),
        Ok(reply) => {
            Outcome::Failed { error: format!("HTTP {}", reply.status), reply: Some(reply) }
        }
        Err(error) => Outcome::Failed { error: error.to_string(), reply: None },
    }
}

/// Records the result of an attempt, and when to retry it.
async fn record(app: &App, delivery: &LeasedDelivery, outcome: Outcome) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let result = match outcome {
        Outcome::Accepted(status) => {
            tx.webhook_delivered(delivery, status, now).await?;
            DeliveryResult::Delivered
        }
        Outcome::NotSent => {
            tx.failed(delivery, DISABLED, None, now).await?;
            DeliveryResult::GivenUp
        }
        Outcome::Failed { error, reply } => {
            let status = reply.as_ref().map(|reply| reply.status);
            let status_code = status.map(i64::from);
            let due = if status == Some(GONE) {
                disable(app, &mut tx, &delivery.webhook_id, now).await?;
                None
            } else {
                next_attempt(app, delivery, reply.as_ref(), now)
            };
            let (id, given_up) = (&delivery.delivery_id, due.is_none());
            tracing::warn!(delivery_id = %id, error, given_up, "an outgoing webhook failed");
            let failed = LeasedDelivery { status_code, ..delivery.clone() };
            tx.failed(&failed, &error, due, now).await?;
            if given_up { DeliveryResult::GivenUp } else { DeliveryResult::Failed }
        }
    };
    tx.sweep_webhook_messages(now).await?;
    tx.commit(app.fail_points.at(Place::OutgoingRecorded)).await?;
    app.metrics.webhook_deliveries.of(result).inc();
    Ok(())
}

/// Returns when to retry a delivery, or `None` to give it up. The receiver may ask for a longer
/// wait.
fn next_attempt(
    app: &App,
    delivery: &LeasedDelivery,
    reply: Option<&Reply>,
    now: Timestamp,
) -> Option<Timestamp> {
    let due = retry::next(delivery.since(), delivery.attempts, now, app.random.bits())?;
    let asked = reply.and_then(|reply| asked_wait(reply.retry_after.as_deref()?, now));
    Some(asked.map_or(due, |wait| due.max(now + wait)))
}

/// Disables a webhook whose receiver is gone, and gives up its other deliveries.
async fn disable(app: &App, tx: &mut Tx, id: &WebhookId, now: Timestamp) -> Result<()> {
    let Some(mut webhook) = tx.lock_webhook(id).await? else { return Ok(()) };
    if webhook.disabled_at.is_some() {
        return Ok(());
    }
    webhook.disabled_at = Some(now);
    webhook.updated_at = now;
    tx.put_webhook(&webhook).await?;
    tx.give_up_deliveries(id, DISABLED, now).await?;
    let detail = json!({ "webhook_id": id.as_str(), "status": GONE });
    let entry = AuditEntry::new(Actor::System, AuditAction::WebhookDisabled, None, detail);
    audit(app, tx, entry, now).await
}
