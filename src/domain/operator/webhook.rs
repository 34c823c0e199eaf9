//! Outgoing webhooks: which events go to which URL, and the signature of Standard Webhooks 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::domain::column::{Column, ColumnType, Parameter, Value, row, text_columns};
use crate::domain::ids::{MessageId, WebhookId};
use crate::domain::operator::webhook_event::EventKind;
use crate::domain::private::Private;
use crate::domain::text_enum::UnknownText;
use crate::domain::time::Timestamp;

/// The most webhooks. Each change of a customer writes a delivery for each of them.
pub const MAX_WEBHOOKS: i64 = 20;

/// How long the former secret also signs after a rotation: a receiver has a day to switch.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// The prefix of secrets, which the standard demands.
const PREFIX: &str = "whsec_";

/// The random bytes of a secret. The standard demands 24 to 64.
pub const SECRET_BYTES: usize = 32;

/// The secret that signs the deliveries of a webhook. It is stored readable, because it signs.
#[derive(Clone, Debug)]
pub struct WebhookSecret(SecretString);

impl WebhookSecret {
    /// Returns the secret with these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", STANDARD.encode(bytes)).into())
    }

    /// Returns the whole secret, for its receiver.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the signature of a message, with its version. `at` is in epoch seconds.
    fn sign(&self, message_id: &str, at: i64, payload: &str) -> String {
        let encoded = self.expose().strip_prefix(PREFIX).unwrap_or_default();
        let key = STANDARD.decode(encoded).unwrap_or_default();
        // HMAC accepts keys of any length, so the error never occurs.
        let signature = Hmac::<Sha256>::new_from_slice(&key).map(|mac| {
            let mac = mac.chain_update(format!("{message_id}.{at}.{payload}"));
            STANDARD.encode(mac.finalize().into_bytes())
        });
        format!("v1,{}", signature.unwrap_or_default())
    }
}

impl Parameter for WebhookSecret {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        self.expose().to_value()
    }
}

impl Column for WebhookSecret {
    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(|text| Self(text.into()))
    }
}

/// The text for every event.
pub const ALL_EVENTS: &str = "*";

/// The events that a webhook gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    /// All events, also of kinds that later versions add.
    All,
    /// These kinds.
    Kinds(BTreeSet<EventKind>),
}

impl EventFilter {
    /// Returns whether the webhook gets events of this kind.
    #[must_use]
    pub fn includes(&self, kind: EventKind) -> bool {
        match self {
            Self::All => true,
            Self::Kinds(kinds) => kinds.contains(&kind),
        }
    }

    /// Returns the kinds as texts, or `*`.
    #[must_use]
    pub fn texts(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec![ALL_EVENTS],
            Self::Kinds(kinds) => kinds.iter().map(|kind| kind.as_str()).collect(),
        }
    }
}

/// Joins the kinds by commas.
impl fmt::Display for EventFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.texts().join(","))
    }
}

impl FromStr for EventFilter {
    type Err = UnknownText;

    fn from_str(text: &str) -> Result<Self, UnknownText> {
        if text.split(',').any(|kind| kind == ALL_EVENTS) {
            return Ok(Self::All);
        }
        let kinds: Result<_, _> = text.split(',').map(str::parse).collect();
        kinds.map(Self::Kinds)
    }
}

text_columns!(EventFilter);

row! {
    /// An outgoing webhook.
    #[derive(Clone, Debug)]
    pub struct Webhook {
        /// The id.
        pub webhook_id: WebhookId,
        /// The URL that is called. Its path may be a secret of the receiver.
        pub url: Private,
        /// The events that it gets.
        pub events: EventFilter,
        /// The secret that signs.
        pub secret: WebhookSecret,
        /// The secret before the last rotation.
        pub former_secret: Option<WebhookSecret>,
        /// The time until which the former secret also signs.
        pub former_until: Option<Timestamp>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the last change.
        pub updated_at: Timestamp,
        /// The time at which it was disabled: by an operator, or by the receiver with a 410.
        pub disabled_at: Option<Timestamp>,
    }
}

impl Webhook {
    /// Replaces the secret. The former one also signs for [`OVERLAP`].
    pub fn rotate(&mut self, new: WebhookSecret, now: Timestamp) {
        self.former_secret = Some(std::mem::replace(&mut self.secret, new));
        self.former_until = Some(now + OVERLAP);
    }

    /// Returns the header `webhook-signature` of an attempt at `now`: a signature by each secret
    /// that is valid.
    #[must_use]
    pub fn signatures(&self, message_id: &MessageId, now: Timestamp, payload: &str) -> String {
        let is_valid = self.former_until.is_some_and(|until| until > now);
        let former = self.former_secret.as_ref().filter(|_| is_valid);
        let (id, at) = (message_id.as_str(), now.epoch_seconds());
        let secrets = [Some(&self.secret), former];
        let signatures = secrets.into_iter().flatten().map(|secret| secret.sign(id, at, payload));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let secret = WebhookSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let (id, payload) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#);
        assert_eq!(
            secret.sign(id, 1_614_265_330, payload),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_former_secret_also_signs_for_a_day() {
        let now = Timestamp::saturating(1_795_186_800);
        let secret = |byte| WebhookSecret::from_random([byte; SECRET_BYTES]);
        let mut webhook = Webhook {
            webhook_id: WebhookId::from_random(1),
            url: String::from("https://acme.example/hooks").into(),
            events: EventFilter::All,
            secret: secret(1),
            former_secret: None,
            former_until: None,
            created_at: now,
            updated_at: now,
            disabled_at: None,
        };
        let id = MessageId::from_random(2);
        let count = |webhook: &Webhook, at| webhook.signatures(&id, at, "{}").split(' ').count();
        assert_eq!(count(&webhook, now), 1);
        webhook.rotate(secret(2), now);
        let at = now.epoch_seconds();
        let both = [secret(2), secret(1)].map(|secret| secret.sign(id.as_str(), at, "{}"));
        assert_eq!(webhook.signatures(&id, now, "{}"), both.join(" "));
        assert_eq!(count(&webhook, now + OVERLAP - TimeDelta::seconds(1)), 2);
        assert_eq!(count(&webhook, now + OVERLAP), 1);
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("whsec_") && !shown.contains("hooks"), "{shown}");
    }

    #[test]
    fn a_filter_is_read_as_it_was_written() {
        let both = EventFilter::Kinds([EventKind::OrderPaid, EventKind::CustomerCreated].into());
        assert_eq!(both.to_string(), "customer.created,order.paid");
        assert_eq!(both.to_string().parse(), Ok(both.clone()));
        assert_eq!("*".parse(), Ok(EventFilter::All));
        assert_eq!("order.paid,*".parse(), Ok(EventFilter::All));
        assert!("order.lost".parse::<EventFilter>().is_err() && "".parse::<EventFilter>().is_err());
        assert!(both.includes(EventKind::OrderPaid) && !both.includes(EventKind::LicenseIssued));
    }
}
