//! Webhooks: verifies Stripe's signature (<https://docs.stripe.com/webhooks#verify-manually>) and
//! reads the envelope of the event. The rest of an event is not read: a sync fetches the state from
//! Stripe instead ([`crate::flows::sale::sync`]).

use chrono::{DateTime, TimeDelta};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::domain::sale::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::time::Timestamp;

/// The largest accepted difference between the time of a signature and now. Stripe's
/// own libraries accept the same.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(300);

/// The number of signatures that are checked. Stripe sends one for each active secret, which are
/// two while a secret is rolled.
const MAX_SIGNATURES: usize = 16;

/// The length of a signature (HMAC with SHA-256), in bytes.
const SIGNATURE_BYTES: usize = 32;

/// The longest id and type of an event, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The event types that `licentia stripe setup` subscribes to: those that concern sales.
pub const EVENT_TYPES: &[&str] = &[
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
    // From here on, a sent invoice has its due date.
    "invoice.finalized",
    // The vendor forgives a renewal. No event about the subscription may follow.
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "credit_note.voided",
    // A declined payment is tried again by a bank debit. No event about the invoice follows.
    "payment_intent.processing",
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

/// The reason why a webhook is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWebhook {
    /// The header is missing, or not of the form `t=…,v1=…`.
    #[error("the header `Stripe-Signature` is missing or malformed")]
    Header,
    /// It was signed more than [`TOLERANCE`] before or after now.
    #[error("the signature's time is more than {} seconds off; check the server's clock", TOLERANCE.num_seconds())]
    Time,
    /// It was signed with none of our secrets.
    #[error(
        "no signature matches; check that `stripe.webhook_secret` is the secret of this endpoint"
    )]
    Signature,
    /// It is signed, but not an event.
    #[error("the body is not an event")]
    Body,
}

/// The header `Stripe-Signature`, parsed but not yet verified.
#[derive(Debug)]
pub struct Signature<'h> {
    /// The time of signing as in the header, because the signature covers this text.
    time_text: &'h str,
    /// The same time, in seconds since 1970.
    time: i64,
    /// The signatures of the scheme `v1`. There are several while a secret is rolled.
    candidates: Vec<[u8; SIGNATURE_BYTES]>,
}

impl<'h> Signature<'h> {
    /// Parses the header: `t=…,v1=…`, in any order. Other schemes are ignored.
    ///
    /// # Errors
    /// [`BadWebhook::Header`] when there is no time, or no well-formed signature.
    pub fn parse(header: &'h str) -> Result<Self, BadWebhook> {
        let mut time_text = None;
        let mut candidates = Vec::new();
        for part in header.split(',') {
            match part.trim().split_once('=') {
                Some(("t", text)) if time_text.is_none() => time_text = Some(text),
                Some(("v1", text)) if candidates.len() < MAX_SIGNATURES => {
                    let mut bytes = [0; SIGNATURE_BYTES];
                    if hex::decode_to_slice(text, &mut bytes).is_ok() {
                        candidates.push(bytes);
                    }
                }
                _ => {}
            }
        }
        let text = time_text.ok_or(BadWebhook::Header)?;
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let time = text.parse().ok().filter(|_| plain).ok_or(BadWebhook::Header)?;
        if candidates.is_empty() {
            return Err(BadWebhook::Header);
        }
        Ok(Self { time_text: text, time, candidates })
    }

    /// Checks that it was signed within [`TOLERANCE`] of now.
    ///
    /// # Errors
    /// [`BadWebhook::Time`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), BadWebhook> {
        let off = self.time.abs_diff(now.epoch_seconds());
        if off > TOLERANCE.num_seconds().unsigned_abs() { Err(BadWebhook::Time) } else { Ok(()) }
    }

    /// Checks that this body was signed with one of the secrets.
    ///
    /// # Errors
    /// [`BadWebhook::Signature`].
    pub fn verify<'s>(
        &self,
        body: &[u8],
        mut secrets: impl Iterator<Item = &'s str>,
    ) -> Result<(), BadWebhook> {
        let signed = |secret: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
            mac.update(self.time_text.as_bytes());
            mac.update(b".");
            mac.update(body);
            Some(mac)
        };
        let is_signed = secrets.any(|secret| {
            // Anybody can sign with an empty secret.
            let mac = Some(secret).filter(|secret| !secret.is_empty()).and_then(signed);
            // `verify_slice` compares in constant time.
            let matches = |mac: Hmac<Sha256>| {
                self.candidates.iter().any(|bytes| mac.clone().verify_slice(bytes).is_ok())
            };
            mac.is_some_and(matches)
        });
        if is_signed { Ok(()) } else { Err(BadWebhook::Signature) }
    }
}

/// The reason why a signed event is ignored. It is shown with the fix, and never retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has a type and the id of an object, but not the object
    /// (<https://docs.stripe.com/event-destinations#thin-events>).
    #[error(
        "a thin event, which does not name its customer. Run `licentia stripe setup`, which \
         creates a webhook endpoint that sends snapshot events, and delete the other event \
         destination at Stripe; or choose the payload style \"snapshot\" there"
    )]
    Thin,
    /// Its type does not concern sales, or is newer than this version.
    #[error(
        "events of this type are not used. Run `licentia stripe setup`: it subscribes the webhook \
         endpoint to exactly the needed events"
    )]
    UnknownType,
}

/// The part of an event that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The id. It identifies repeated deliveries of the same event.
    pub id: String,
    /// The type, for example `invoice.paid`.
    pub kind: String,
    /// The time at which it happened at Stripe.
    pub created: Timestamp,
    /// Whether it is from Stripe's live mode.
    pub livemode: bool,
    /// Whether it is a thin event, which carries no object.
    pub is_thin: bool,
    /// The Stripe customer that its object names.
    pub customer: Option<StripeCustomerId>,
    /// The payment that its object names. Some objects name no customer.
    pub payment_intent: Option<PaymentIntentId>,
}

/// Returns whether a text may be the id or the type of an event.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain && (1..=MAX_NAME_BYTES).contains(&text.len())
}

impl Envelope {
    /// Parses the envelope only: the object inside has the format of the account's API version, not
    /// of ours.
    ///
    /// # Errors
    /// [`BadWebhook::Body`].
    pub fn parse(body: &str) -> Result<Self, BadWebhook> {
        let event: Value = serde_json::from_str(body).map_err(|_| BadWebhook::Body)?;
        let named =
            |name: &str| event[name].as_str().filter(|text| is_name(text)).map(str::to_owned);
        let object = &event["data"]["object"];
        let kind = named("type").ok_or(BadWebhook::Body)?;
        // A reference is an id, or the whole object.
        let id_of = |value: &Value| {
            let id = value.as_str().or_else(|| value["id"].as_str());
            id.map(str::to_owned)
        };
        let is = |kind: &str| object["object"] == kind;
        let customer = if is("customer") { id_of(object) } else { id_of(&object["customer"]) };
        let intent =
            if is("payment_intent") { id_of(object) } else { id_of(&object["payment_intent"]) };
        // Thin events have RFC 3339 times (<https://docs.stripe.com/api/v2/core/events/object>).
        let text = event["created"].as_str();
        let written = text.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let created = written.map(|time| time.timestamp()).or(event["created"].as_i64());
        Ok(Self {
            id: named("id").ok_or(BadWebhook::Body)?,
            is_thin: event["object"] == "v2.core.event",
            kind,
            created: Timestamp::saturating(created.unwrap_or(0)),
            livemode: event["livemode"].as_bool().unwrap_or(false),
            customer: customer.and_then(|id| id.parse().ok()),
            payment_intent: intent.and_then(|id| id.parse().ok()),
        })
    }

    /// Returns whether it concerns a sale.
    #[must_use]
    pub fn is_of_interest(&self) -> bool {
        self.unusable().is_none()
    }

    /// Returns the reason to ignore it, if there is one.
    #[must_use]
    pub fn unusable(&self) -> Option<Unusable> {
        if self.is_thin {
            return Some(Unusable::Thin);
        }
        (!self.has_known_type()).then_some(Unusable::UnknownType)
    }

    fn has_known_type(&self) -> bool {
        EVENT_TYPES.contains(&self.kind.as_str())
            || ["customer.subscription.", "charge.dispute.", "refund.", "credit_note.", "invoice."]
                .iter()
                .any(|family| self.kind.starts_with(family))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Signed with openssl for the time 1700000000:
    /// `printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test`.
    const BODY: &str = r#"{"id":"evt_1"}"#;
    const SIGNATURE: &str = "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";

    fn verdict(header: &str, now: i64) -> Result<(), BadWebhook> {
        let secrets = ["", "whsec_other", "whsec_test"].into_iter();
        let signature = Signature::parse(header)?;
        signature.check_time(Timestamp::saturating(now))?;
        signature.verify(BODY.as_bytes(), secrets)
    }

    #[test]
    fn a_signature_made_by_another_tool_is_accepted_and_its_time_is_checked() {
        let header = format!("t=1700000000,v1={SIGNATURE}");
        for now in [1_700_000_000, 1_700_000_300, 1_699_999_700] {
            assert_eq!(verdict(&header, now), Ok(()));
        }
        for now in [1_700_000_301, 1_699_999_699] {
            assert_eq!(verdict(&header, now), Err(BadWebhook::Time));
        }
        let spaced = format!("v0=00, v1={}, t=1700000000, v1={SIGNATURE}", "0".repeat(64));
        assert_eq!(verdict(&spaced, 1_700_000_000), Ok(()));
        let well_formed = |time: &str| format!("t={time},v1={SIGNATURE}");
        let mut malformed = ["-1", "1e9", "+1", ""].map(well_formed).to_vec();
        let unsigned = ["", "t=1700000000", "t=1700000000,v1=00", "t=1700000000,v1=zz"];
        malformed.extend(unsigned.map(str::to_owned));
        malformed.push(format!("v1={SIGNATURE}"));
        for header in malformed {
            assert_eq!(verdict(&header, 1_700_000_000), Err(BadWebhook::Header), "{header}");
        }
    }

    #[test]
    fn the_envelope_has_the_customer_and_the_payment() {
        let parse = |object: &str| {
            let body = format!(
                r#"{{"id":"evt_1","type":"invoice.paid","created":7,"data":{{"object":{object}}}}}"#
            );
            let envelope = Envelope::parse(&body).unwrap();
            let customer = envelope.customer.map(|id| id.to_string());
            (customer, envelope.payment_intent.map(|id| id.to_string()))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            parse(r#"{"customer":"cus_1","payment_intent":"pi_1"}"#),
            (text("cus_1"), text("pi_1"))
        );
        assert_eq!(parse(r#"{"customer":{"id":"cus_2"}}"#), (text("cus_2"), None));
        assert_eq!(parse(r#"{"object":"customer","id":"cus_3"}"#), (text("cus_3"), None));
        assert_eq!(parse(r#"{"object":"payment_intent","id":"pi_3"}"#), (None, text("pi_3")));
        assert_eq!(parse(r#"{"customer":null,"metadata":{"customer_id":"cust_1"}}"#), (None, None));
        assert_eq!(parse("[]"), (None, None));
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(header in ".{0,200}", body in ".{0,200}") {
            if let Ok(signature) = Signature::parse(&header) {
                let _ = signature.check_time(Timestamp::MAX);
                let _ = signature.verify(body.as_bytes(), ["whsec"].into_iter());
            }
            let _ = Envelope::parse(&body);
        }

        #[test]
        fn a_changed_byte_is_never_accepted(place in 0..BODY.len(), bit in 0..8_u8) {
            let mut body = BODY.as_bytes().to_vec();
            body[place] ^= 1 << bit;
            let header = format!("t=1700000000,v1={SIGNATURE}");
            let signature = Signature::parse(&header).unwrap();
            let refused = signature.verify(&body, ["whsec_test"].into_iter());
            prop_assert_eq!(refused, Err(BadWebhook::Signature));
        }
    }
}
