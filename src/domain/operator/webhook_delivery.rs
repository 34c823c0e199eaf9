//! The deliveries of outgoing webhooks: a queue in the database, and afterwards a log. They are
//! sent in [`crate::flows::operator::outgoing`].

use chrono::{DateTime, TimeDelta};

use crate::domain::column::{Parameter, Value, row};
use crate::domain::ids::{CustomerId, DeliveryId, MessageId, WebhookId};
use crate::domain::operator::webhook_event::EventKind;
use crate::domain::queue::{Leased, Queue};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// How long messages and their deliveries are kept, for the log and for replays.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// The longest wait that a receiver may ask for with `Retry-After`.
const LONGEST_ASKED: TimeDelta = TimeDelta::hours(1);

/// The HTTP status by which a receiver says that it wants no more deliveries (Standard Webhooks,
/// "Operational considerations").
pub const GONE: u16 = 410;

/// A new delivery of a message.
#[derive(Debug)]
pub struct NewDelivery<'a> {
    /// The id.
    pub delivery_id: DeliveryId,
    /// The webhook.
    pub webhook_id: &'a WebhookId,
    /// The message.
    pub message_id: &'a MessageId,
    /// The customer.
    pub customer_id: &'a CustomerId,
    /// The kind of the event.
    pub kind: EventKind,
}

row! {
    /// A delivery that a worker has leased to send it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedDelivery {
        /// The id.
        pub delivery_id: DeliveryId,
        /// The webhook.
        pub webhook_id: WebhookId,
        /// The message. Its id is the `webhook-id` of every attempt.
        pub message_id: MessageId,
        /// The time since which it is tried: of the event, or of a replay.
        pub tried_since: Timestamp,
        /// The number of failed attempts.
        pub attempts: i64,
        /// The fencing token of the lease.
        pub fence: i64,
        /// The HTTP status of the last response.
        pub status_code: Option<i64>,
    }
}

/// The most deliveries that are leased in one statement.
pub const LEASED_AT_ONCE: usize = 4;

/// The conditions that no earlier delivery to the same webhook about the same customer is
/// unfinished, and that few deliveries to the webhook are leased: a receiver that does not answer
/// must not hold up the other webhooks. A statement may lease [`LEASED_AT_ONCE`] more.
const WAITS_FOR: &str = "NOT EXISTS (
        SELECT 1 FROM webhook_deliveries AS earlier
        WHERE earlier.webhook_id = webhook_deliveries.webhook_id
            AND earlier.customer_id = webhook_deliveries.customer_id
            AND earlier.position < webhook_deliveries.position
            AND earlier.delivered_at IS NULL AND earlier.given_up_at IS NULL)
    AND (SELECT COUNT(*) FROM webhook_deliveries AS leased
        WHERE leased.webhook_id = webhook_deliveries.webhook_id
            AND leased.leased_until > $1 AND leased.leased_until <= $5) < 4";

impl Leased for LeasedDelivery {
    const QUEUE: Queue = Queue {
        table: "webhook_deliveries",
        id: "delivery_id",
        since: "tried_since",
        done: "delivered_at",
        // They are deleted together with their messages.
        kept_for: None,
        waits_for: Some(WAITS_FOR),
        obeys_retry_after: true,
    };

    fn id(&self) -> &str {
        self.delivery_id.as_str()
    }

    fn since(&self) -> Timestamp {
        self.tried_since
    }

    fn fence(&self) -> i64 {
        self.fence
    }

    fn determined(&self) -> Vec<(&'static str, Value)> {
        vec![("status_code", self.status_code.to_value())]
    }
}

row! {
    /// A delivery in any state, for operators.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredDelivery {
        /// The id.
        pub delivery_id: DeliveryId,
        /// The message, and the `webhook-id` of every attempt.
        pub message_id: MessageId,
        /// The customer, who may be deleted.
        pub customer_id: CustomerId,
        /// The kind of the event, perhaps of a newer version.
        pub kind: String,
        /// The time of the event.
        pub created_at: Timestamp,
        /// The time of the next attempt, or of the last one.
        pub due_at: Timestamp,
        /// The number of attempts.
        pub attempts: i64,
        /// The HTTP status of the last response.
        pub status_code: Option<i64>,
        /// The time at which the receiver accepted it.
        pub delivered_at: Option<Timestamp>,
        /// The time at which it was given up.
        pub given_up_at: Option<Timestamp>,
        /// The reason of the last failure.
        pub last_error: Option<String>,
    }
}

text_enum! {
    /// The state of a delivery.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DeliveryState {
        /// Not tried yet.
        Waiting = "waiting",
        /// It failed and is retried.
        Retrying = "retrying",
        /// The receiver accepted it.
        Delivered = "delivered",
        /// It failed for three days, or the webhook was disabled.
        GivenUp = "given_up",
    }
}

impl StoredDelivery {
    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match (self.delivered_at, self.given_up_at, self.attempts) {
            (Some(_), ..) => DeliveryState::Delivered,
            (None, Some(_), _) => DeliveryState::GivenUp,
            (None, None, 1..) => DeliveryState::Retrying,
            (None, None, _) => DeliveryState::Waiting,
        }
    }
}

/// Returns the wait that the header `Retry-After` asks for, at most an hour: a number of seconds or
/// a date (RFC 9110, section 10.2.3).
#[must_use]
pub fn asked_wait(retry_after: &str, now: Timestamp) -> Option<TimeDelta> {
    let wait = match retry_after.trim().parse::<u32>() {
        Ok(seconds) => TimeDelta::seconds(seconds.into()),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(retry_after.trim()).ok()?;
            Timestamp::saturating(date.timestamp()) - now
        }
    };
    Some(wait.clamp(TimeDelta::zero(), LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_may_ask_for_a_wait_of_at_most_an_hour() {
        let now = Timestamp::saturating(784_111_777);
        let asked = |text| asked_wait(text, now).map(|wait| wait.num_seconds());
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked(" 0 "), Some(0));
        assert_eq!(asked("86400"), Some(3600));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(asked("Sat, 06 Nov 2094 08:00:00 GMT"), Some(3600));
        for wrong in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
    }
}
