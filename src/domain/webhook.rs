//! What Stripe sends: whether it is from Stripe, and what it is about. Pure; an event is a hint, so
//! only its envelope is read (<https://docs.stripe.com/webhooks#verify-manually>).

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::domain::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::time::Timestamp;

/// How far the time of a signature may be from ours, in seconds: what Stripe's own libraries allow.
pub const TOLERANCE: i64 = 300;

/// Signatures that are looked at: one for each secret while one is rolled, and room to spare.
const MAX_SIGNATURES: usize = 16;

/// The longest id and type of an event, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The types of event that say something about a sale: what `licentia stripe setup` subscribes to.
pub const EVENT_TYPES: [&str; 27] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.trial_will_end",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "payment_intent.succeeded",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "customer.updated",
    "customer.deleted",
];

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWebhook {
    /// No header, or one that is not `t=…,v1=…`.
    #[error("the header `Stripe-Signature` is missing or malformed")]
    Header,
    /// Signed more than [`TOLERANCE`] before or after now.
    #[error("the signature's time is more than {TOLERANCE} seconds off; check the server's clock")]
    Time,
    /// By no secret of ours.
    #[error("no signature fits; check that `stripe.webhook_secret` is this endpoint's secret")]
    Signature,
    /// Signed, and no event.
    #[error("the body is not an event")]
    Body,
}

/// Whether Stripe signed this body, by any of the secrets; while one is rolled there are two, and
/// either may come first.
///
/// # Errors
/// Why not.
pub fn authenticate<'s>(
    header: &str,
    body: &[u8],
    mut secrets: impl Iterator<Item = &'s str>,
    now: Timestamp,
) -> Result<(), BadWebhook> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) if time.is_none() => time = Some(text),
            Some(("v1", text)) if signatures.len() < MAX_SIGNATURES => signatures.push(text),
            _ => {}
        }
    }
    let text = time.ok_or(BadWebhook::Header)?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time: i64 = text.parse().ok().filter(|_| plain).ok_or(BadWebhook::Header)?;
    if signatures.is_empty() {
        return Err(BadWebhook::Header);
    }
    let signed = |secret: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(text.as_bytes());
        mac.update(b".");
        mac.update(body);
        Some(mac)
    };
    let signatures: Vec<_> = signatures.iter().filter_map(|text| hex::decode(text).ok()).collect();
    let fits = secrets.any(|secret| {
        // An empty secret is everybody's.
        let mac = Some(secret).filter(|secret| !secret.is_empty()).and_then(signed);
        // `verify_slice` compares in constant time.
        mac.is_some_and(|mac| signatures.iter().any(|s| mac.clone().verify_slice(s).is_ok()))
    });
    if !fits {
        return Err(BadWebhook::Signature);
    }
    if time.abs_diff(now.epoch_seconds()) > TOLERANCE.unsigned_abs() {
        return Err(BadWebhook::Time);
    }
    Ok(())
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its id, by which a repeat is recognised.
    pub id: String,
    /// Its type, for example `invoice.paid`.
    pub kind: String,
    /// When it happened at Stripe.
    pub created: Timestamp,
    /// Whether it is about real money.
    pub livemode: bool,
    /// The customer that its object names.
    pub customer: Option<StripeCustomerId>,
    /// The payment that its object names, for those that name no customer.
    pub payment_intent: Option<PaymentIntentId>,
}

impl Envelope {
    /// Reads the envelope and nothing else: what is inside follows the account's API version, not
    /// ours.
    ///
    /// # Errors
    /// [`BadWebhook::Body`].
    pub fn parse(body: &str) -> Result<Self, BadWebhook> {
        let event: Value = serde_json::from_str(body).map_err(|_| BadWebhook::Body)?;
        let named = |name: &str| {
            let text = event[name].as_str()?;
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
            let short = (1..=MAX_NAME_BYTES).contains(&text.len());
            (plain && short).then(|| text.to_owned())
        };
        let object = &event["data"]["object"];
        let kind = named("type").ok_or(BadWebhook::Body)?;
        // An object is named by its id, or is there in full.
        let id_of = |value: &Value| {
            let id = value.as_str().or_else(|| value["id"].as_str());
            id.map(str::to_owned)
        };
        let is = |what: &str| object["object"] == what;
        let customer = if is("customer") { id_of(object) } else { id_of(&object["customer"]) };
        let intent =
            if is("payment_intent") { id_of(object) } else { id_of(&object["payment_intent"]) };
        Ok(Self {
            id: named("id").ok_or(BadWebhook::Body)?,
            kind,
            created: Timestamp::saturating(event["created"].as_i64().unwrap_or(0)),
            livemode: event["livemode"].as_bool().unwrap_or(false),
            customer: customer.and_then(|id| id.parse().ok()),
            payment_intent: intent.and_then(|id| id.parse().ok()),
        })
    }

    /// Whether its type says something about a sale.
    #[must_use]
    pub fn is_of_interest(&self) -> bool {
        EVENT_TYPES.contains(&self.kind.as_str())
            || ["customer.subscription.", "charge.dispute.", "refund."]
                .iter()
                .any(|family| self.kind.starts_with(family))
    }
}
