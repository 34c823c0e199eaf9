//! Outgoing webhooks: operators register them, rotate their secrets, read the log of deliveries and
//! replay them. Deliveries are written and sent in [`crate::flows::operator::outgoing`].

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::ids::{DeliveryId, WebhookId};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::operator::webhook::{EventFilter, MAX_WEBHOOKS, Webhook, WebhookSecret};
use crate::domain::operator::webhook_delivery::StoredDelivery;
use crate::domain::operator::webhook_target::{Targets, WebhookUrl};
use crate::domain::page::{Cursor, Page, PageRequest};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::operator::outgoing::DISABLED;
use crate::flows::{audit, idempotency};
use crate::store::Tx;

/// A new webhook.
#[derive(Debug)]
pub struct NewWebhook {
    /// The URL, not checked yet.
    pub url: String,
    /// The events that it gets.
    pub events: EventFilter,
    /// Whether it gets deliveries from now on.
    pub is_enabled: bool,
}

/// A change of a webhook. `None` keeps a value.
#[derive(Debug, Default)]
pub struct WebhookChange {
    /// The new URL, not checked yet.
    pub url: Option<String>,
    /// The events that it gets.
    pub events: Option<EventFilter>,
    /// Whether it gets deliveries. A disabled webhook also loses the deliveries that wait.
    pub is_enabled: Option<bool>,
    /// Whether it gets a new secret. The former one also signs for a day.
    pub rotates_secret: bool,
}

/// Creates a webhook. Returns it, with its secret.
///
/// # Errors
/// [`Error::InvalidWebhookTarget`], [`Error::TooManyWebhooks`], or a failure of the database.
pub async fn create(app: &App, new: NewWebhook, by: Actor<'_>) -> Result<Webhook> {
    let url = app.outgoing.check(&new.url).await?;
    let now = app.now();
    let webhook = Webhook {
        webhook_id: WebhookId::from_random(app.random.bits()),
        url: url.as_str().to_owned().into(),
        events: new.events,
        secret: WebhookSecret::from_random(app.random.bytes()),
        former_secret: None,
        former_until: None,
        created_at: now,
        updated_at: now,
        disabled_at: (!new.is_enabled).then_some(now),
    };
    let mut tx = app.store.write().await?;
    if tx.count_webhooks().await? >= MAX_WEBHOOKS {
        return Err(Error::TooManyWebhooks);
    }
    tx.insert_webhook(&webhook).await?;
    idempotency::record_created(&mut tx, webhook.webhook_id.as_str()).await?;
    let detail = json!({ "webhook_id": webhook.webhook_id.as_str(), "after": shown(&webhook) });
    write(app, tx, AuditEntry::new(by, AuditAction::WebhookCreated, None, detail)).await?;
    Ok(webhook)
}

/// Returns the webhook with this id, with its secret.
///
/// # Errors
/// [`Error::NotFound`], or a failure of the database.
pub async fn get(app: &App, id: &WebhookId) -> Result<Webhook> {
    app.store.read().await?.webhook(id).await?.ok_or(NOT_FOUND)
}

/// Changes a webhook. Returns it, with its secret.
///
/// # Errors
/// [`Error::NotFound`], [`Error::InvalidWebhookTarget`], or a failure of the database.
pub async fn update(
    app: &App,
    id: &WebhookId,
    change: WebhookChange,
    by: Actor<'_>,
) -> Result<Webhook> {
    let url = match change.url {
        Some(url) => Some(app.outgoing.check(&url).await?),
        None => None,
    };
    let now = app.now();
    let mut tx = app.store.write().await?;
    let mut webhook = tx.lock_webhook(id).await?.ok_or(NOT_FOUND)?;
    let before = shown(&webhook);
    if let Some(url) = url {
        webhook.url = url.as_str().to_owned().into();
    }
    webhook.events = change.events.unwrap_or(webhook.events);
    match change.is_enabled {
        Some(true) => webhook.disabled_at = None,
        Some(false) => {
            webhook.disabled_at = webhook.disabled_at.or(Some(now));
            tx.give_up_deliveries(id, DISABLED, now).await?;
        }
        None => {}
    }
    if change.rotates_secret {
        tx.forget_requests_that_created(id.as_str()).await?;
        webhook.rotate(WebhookSecret::from_random(app.random.bytes()), now);
    }
    webhook.updated_at = now;
    tx.put_webhook(&webhook).await?;
    let detail = json!({ "webhook_id": id.as_str(), "secret_rotated": change.rotates_secret });
    let entry = AuditEntry::new(by, AuditAction::WebhookChanged, None, detail);
    write(app, tx, entry.changed(before, shown(&webhook))).await?;
    Ok(webhook)
}

/// Deletes a webhook, its deliveries and their log.
///
/// # Errors
/// [`Error::NotFound`], or a failure of the database.
pub async fn delete(app: &App, id: &WebhookId, by: Actor<'_>) -> Result<()> {
    let mut tx = app.store.write().await?;
    if !tx.delete_webhook(id).await? {
        return Err(NOT_FOUND);
    }
    tx.forget_requests_that_created(id.as_str()).await?;
    let detail = json!({ "webhook_id": id.as_str() });
    write(app, tx, AuditEntry::new(by, AuditAction::WebhookDeleted, None, detail)).await
}

/// Returns a page of the webhooks, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, request: &PageRequest) -> Result<Page<Webhook>> {
    let webhooks = app.store.read().await?.webhooks(request).await?;
    let place = |one: &Webhook| Cursor { at: one.created_at, id: one.webhook_id.to_string() };
    Ok(request.page(webhooks, place))
}

/// Returns a page of the deliveries of a webhook, newest first.
///
/// # Errors
/// [`Error::NotFound`], or a failure of the database.
pub async fn deliveries(
    app: &App,
    id: &WebhookId,
    request: &PageRequest,
) -> Result<Page<StoredDelivery>> {
    let mut tx = app.store.read().await?;
    tx.webhook(id).await?.ok_or(NOT_FOUND)?;
    let deliveries = tx.deliveries_of(id, request).await?;
    let place =
        |one: &StoredDelivery| Cursor { at: one.created_at, id: one.delivery_id.to_string() };
    Ok(request.page(deliveries, place))
}

/// Makes a delivery due, whatever its state. It is sent with the same id and payload. Returns the
/// delivery.
///
/// # Errors
/// [`Error::NotFound`], [`Error::WebhookDisabled`], or a failure of the database.
pub async fn replay(
    app: &App,
    webhook_id: &WebhookId,
    id: &DeliveryId,
    by: Actor<'_>,
) -> Result<StoredDelivery> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let webhook = tx.lock_webhook(webhook_id).await?.ok_or(NOT_FOUND)?;
    let before = tx.lock_delivery(webhook_id, id).await?.ok_or(Error::NotFound("delivery"))?;
    if webhook.disabled_at.is_some() {
        return Err(Error::WebhookDisabled);
    }
    let delivery = tx.replay_delivery(id, now).await?;
    let detail = json!({
        "webhook_id": webhook_id.as_str(),
        "delivery_id": id.as_str(),
        "state": before.state().as_str(),
        "attempts": before.attempts,
        "last_error": before.last_error,
    });
    let about = Some(&delivery.customer_id);
    let entry = AuditEntry::new(by, AuditAction::WebhookReplayed, about, detail);
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::OutgoingReplayed)).await?;
    app.deliveries_due.notify_one();
    Ok(delivery)
}

const NOT_FOUND: Error = Error::NotFound("webhook");

/// Writes the audit entry of a change of a webhook, and commits.
async fn write(app: &App, mut tx: Tx, entry: AuditEntry<'_>) -> Result<()> {
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::WebhookEndpointWritten)).await
}

/// Returns the values of a webhook that the audit log keeps. The path of the URL may be a secret.
fn shown(webhook: &Webhook) -> Value {
    let url = WebhookUrl::parse(webhook.url.as_str(), Targets::Any).ok();
    json!({
        "origin": url.map(|url| url.origin()),
        "events": webhook.events.texts(),
        "enabled": webhook.disabled_at.is_none(),
    })
}
