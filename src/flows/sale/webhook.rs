//! Receives webhooks: verifies the signature, and stores the event in the inbox. It does not
//! process events: [`crate::flows::sale::inbox`] does, after the response.
//!
//! Concurrent deliveries are stored in one transaction. A disk confirms a few hundred writes a
//! second, and Stripe sends more events than that on a busy day.

use secrecy::ExposeSecret;
use tokio::sync::oneshot;

use crate::app::App;
use crate::config::StripeMode;
use crate::domain::sale::inbox::IgnoredEvent;
use crate::domain::sale::webhook::{BadWebhook, Envelope, Signature, Unusable};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::intake::Arrival;
use crate::metrics::WebhookResult;

/// Returns the signature of a webhook, not verified yet. It is checked before the body is read: the
/// header must be well-formed, its time must be near, and a webhook secret must be configured.
///
/// # Errors
/// [`Error::BadWebhook`].
pub fn admit<'h>(app: &App, header: &'h str) -> Result<Signature<'h>> {
    let signature = Signature::parse(header)?;
    signature.check_time(app.now())?;
    if app.stripe.as_ref().is_none_or(|stripe| stripe.config().webhook_secrets.is_empty()) {
        return Err(BadWebhook::Signature.into());
    }
    Ok(signature)
}

/// Receives a webhook. When this returns, the event is stored durably, or is ignored because it is
/// of the other mode or of a type that is not used.
///
/// # Errors
/// [`Error::BadWebhook`] when Stripe did not sign it. A failure of the database when it could not
/// be stored: Stripe then sends it again.
pub async fn receive(app: &App, header: &str, body: &[u8]) -> Result<()> {
    let signature = admit(app, header)?;
    let config = app.stripe.as_ref().map(crate::stripe::Stripe::config);
    let secrets = config.iter().flat_map(|config| &config.webhook_secrets);
    signature.verify(body, secrets.map(ExposeSecret::expose_secret))?;
    let body = std::str::from_utf8(body).map_err(|_| BadWebhook::Body)?;
    let event = Envelope::parse(body)?;
    let live = config.is_some_and(|config| config.mode == StripeMode::Live);
    if event.livemode != live {
        count(app, WebhookResult::Ignored, 1);
        tracing::debug!(event = event.id, kind = event.kind, "event of the other mode ignored");
        return Ok(());
    }
    match event.unusable() {
        Some(reason) => ignore(app, &event, reason).await,
        None => store(app, event, body.to_owned()).await,
    }
}

/// Counts an event that is not used. The last event of each type is stored without its body, so
/// that `licentia events list` shows it with the remedy. More events of the type within a day are
/// not written.
async fn ignore(app: &App, event: &Envelope, reason: Unusable) -> Result<()> {
    let result = match reason {
        Unusable::Thin => WebhookResult::Thin,
        Unusable::UnknownType => WebhookResult::Ignored,
    };
    count(app, result, 1);
    let now = app.now();
    if app.intake.noted_lately(&event.kind, now) {
        return Ok(());
    }
    let (id, kind) = (&event.id, &event.kind);
    match reason {
        Unusable::Thin => tracing::warn!(event = id, kind, "{reason}"),
        Unusable::UnknownType => tracing::info!(event = id, kind, "{reason}"),
    }
    let mut tx = app.store.write().await?;
    let ignored = IgnoredEvent {
        kind: kind.clone(),
        event_id: id.clone(),
        reason: reason.to_string(),
        happened_at: event.created,
        received_at: now,
    };
    tx.put_ignored_event(&ignored).await?;
    tx.commit(app.fail_points.at(Place::WebhookIgnored)).await?;
    app.intake.note(&event.kind, now);
    Ok(())
}

fn count(app: &App, result: WebhookResult, events: u64) {
    app.metrics.webhooks.of(result).inc_by(events);
}

/// Stores an event, in one transaction with the others that wait.
async fn store(app: &App, event: Envelope, body: String) -> Result<()> {
    let (stored, mut result) = oneshot::channel();
    app.intake.add(Arrival { event, body, stored });
    let dropped = |_| Err(Error::Busy);
    let turn = tokio::select! {
        // Another delivery's turn stored it.
        stored = &mut result => return stored.unwrap_or_else(dropped),
        turn = app.intake.turn() => turn,
    };
    let batch = app.intake.next_batch();
    if !batch.is_empty() {
        let mut batch = batch;
        // All servers store in the same order, so that two of them never deadlock.
        batch.sort_by(|a, b| a.event.id.cmp(&b.event.id));
        // Runs in its own task: a disconnect of this sender must not interrupt the others.
        let own = app.clone();
        app.tasks.spawn(async move {
            store_all(&own, batch).await;
            drop(turn);
        });
    }
    result.await.unwrap_or_else(dropped)
}

/// Returns an error of the database for one more sender whose event was in the same transaction.
fn same(error: &Error) -> Error {
    match error {
        Error::Busy => Error::Busy,
        Error::DatabaseUnreachable(cause) => Error::DatabaseUnreachable(cause.clone()),
        Error::DatabaseReadOnly => Error::DatabaseReadOnly,
        Error::DatabaseFull => Error::DatabaseFull,
        error => Error::Database(error.to_string()),
    }
}

async fn store_all(app: &App, batch: Vec<Arrival>) {
    let written = write(app, &batch).await;
    for arrival in batch {
        let result = match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(same(error)),
        };
        // After a disconnect nobody receives this. Stripe sends the event again: a duplicate.
        let _ = arrival.stored.send(result);
    }
}

async fn write(app: &App, batch: &[Arrival]) -> Result<()> {
    let events = batch.iter().map(|arrival| (&arrival.event, arrival.body.as_str()));
    let mut tx = app.store.write().await?;
    let new = tx.insert_events(events, app.now()).await?;
    app.fail_points.reach(Place::WebhookWritten);
    tx.commit(app.fail_points.at(Place::WebhookStored)).await?;
    count(app, WebhookResult::Stored, new);
    count(app, WebhookResult::Repeated, (batch.len() as u64).saturating_sub(new));
    app.events_due.notify_one();
    Ok(())
}
