//! Webhooks come in: believed only if Stripe signed them, stored, answered. Nothing else happens here:
//! what is not in the inbox does not exist, and what is, is worked on by [`crate::flows::sale::inbox`].
//!
//! Deliveries that come at the same time are stored in one transaction: a disk confirms a few hundred
//! writes a second, and a busy day at Stripe brings more events than that.

use secrecy::ExposeSecret;
use tokio::sync::oneshot;

use crate::app::App;
use crate::config::StripeMode;
use crate::domain::sale::inbox::IgnoredEvent;
use crate::domain::sale::webhook::{BadWebhook, Envelope, Signature, Unusable};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::intake::Arrival;

/// Returns the signature of a webhook, if its body is worth reading: the header is well-formed, its
/// time is right, and there is a secret to check it with.
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

/// Takes a webhook in: when it answers, it is durable, or it is none of ours.
///
/// # Errors
/// [`Error::BadWebhook`] when it is not from Stripe; a failure when it could not be stored, and Stripe
/// is to send it again.
pub async fn receive(app: &App, header: &str, body: &[u8]) -> Result<()> {
    let signature = admit(app, header)?;
    let config = app.stripe.as_ref().map(crate::stripe::Stripe::config);
    let secrets = config.iter().flat_map(|config| &config.webhook_secrets);
    signature.verify(body, secrets.map(ExposeSecret::expose_secret))?;
    let body = std::str::from_utf8(body).map_err(|_| BadWebhook::Body)?;
    let event = Envelope::parse(body)?;
    let live = config.is_some_and(|config| config.mode == StripeMode::Live);
    if event.livemode != live {
        count("ignored", 1);
        tracing::debug!(event = event.id, kind = event.kind, "an event of the other mode");
        return Ok(());
    }
    match event.unusable() {
        Some(why) => ignore(app, &event, why).await,
        None => store(app, event, body.to_owned()).await,
    }
}

/// Counts an event that is of no use. One of its type is kept without its body, so that `licentia events
/// list` shows it with the remedy; those that follow within a day cost no write.
async fn ignore(app: &App, event: &Envelope, why: Unusable) -> Result<()> {
    count(why.as_str(), 1);
    let now = app.now();
    if app.intake.noted_lately(&event.kind, now) {
        return Ok(());
    }
    let (id, kind) = (&event.id, &event.kind);
    match why {
        Unusable::Thin => tracing::warn!(event = id, kind, "{why}"),
        Unusable::UnknownType => tracing::info!(event = id, kind, "{why}"),
    }
    let mut tx = app.store.write().await?;
    let ignored = IgnoredEvent {
        kind: kind.clone(),
        event_id: id.clone(),
        reason: why.to_string(),
        happened_at: event.created,
        received_at: now,
    };
    tx.put_ignored_event(&ignored).await?;
    tx.commit(app.fail_points.at(Place::WebhookIgnored)).await?;
    app.intake.note(&event.kind, now);
    Ok(())
}

fn count(result: &'static str, events: u64) {
    metrics::counter!("licentia_webhooks_total", "result" => result).increment(events);
}

/// Stores an event, together with those that wait at the same time.
async fn store(app: &App, event: Envelope, body: String) -> Result<()> {
    let (stored, mut answer) = oneshot::channel();
    app.intake.add(Arrival { event, body, stored });
    let gone = |_| Err(Error::Busy);
    let turn = tokio::select! {
        // Another one's turn covered it.
        answered = &mut answer => return answered.unwrap_or_else(gone),
        turn = app.intake.turn() => turn,
    };
    let batch = app.intake.next_batch();
    if !batch.is_empty() {
        let mut batch = batch;
        // In one order everywhere, so that two servers that store the same never wait for each other.
        batch.sort_by(|a, b| a.event.id.cmp(&b.event.id));
        // On its own: if this sender hangs up, the others still get their answers.
        let own = app.clone();
        app.tasks.spawn(async move {
            store_all(&own, batch).await;
            drop(turn);
        });
    }
    answer.await.unwrap_or_else(gone)
}

async fn store_all(app: &App, batch: Vec<Arrival>) {
    let written = write(app, &batch).await;
    for arrival in batch {
        let answer = match &written {
            Ok(()) => Ok(()),
            Err(Error::Busy) => Err(Error::Busy),
            Err(error) => Err(Error::Database(error.to_string())),
        };
        // Who hung up gets it again from Stripe, and then it is there already.
        let _ = arrival.stored.send(answer);
    }
}

async fn write(app: &App, batch: &[Arrival]) -> Result<()> {
    let events = batch.iter().map(|arrival| (&arrival.event, arrival.body.as_str()));
    let mut tx = app.store.write().await?;
    let new = tx.insert_events(events, app.now()).await?;
    app.fail_points.reach(Place::WebhookWritten);
    tx.commit(app.fail_points.at(Place::WebhookStored)).await?;
    count("stored", new);
    count("repeated", (batch.len() as u64).saturating_sub(new));
    app.events_due.notify_one();
    Ok(())
}
