//! The rows of the inbox: events from Stripe, and our own tasks that call Stripe. How events are
//! read is in [`crate::domain::sale::webhook`].

use chrono::TimeDelta;

use crate::domain::column::{Parameter, Value, row};
use crate::domain::ids::CustomerId;
use crate::domain::queue::{Leased, Queue};
use crate::domain::sale::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// How long a done event is kept: longer than Stripe's 30 days, so that a repeated
/// event is recognized (<https://docs.stripe.com/api/events>).
const KEPT_FOR: TimeDelta = TimeDelta::days(35);

text_enum! {
    /// The kind of a task. Its text is stored as the event's type.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum TaskKind {
        /// Send a changed name or address to Stripe.
        CustomerChanged = "licentia.customer_changed",
        /// Create the Stripe customer of a customer who signed up.
        CustomerSignedUp = "licentia.customer_signed_up",
        /// Sync a customer who was linked to an existing Stripe customer.
        CustomerLinked = "licentia.customer_linked",
        /// Claim the purchases that wait for a customer, who has proven to own the address.
        AddressProven = "licentia.address_proven",
    }
}

row! {
    /// An event or task that a worker has leased to process it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedEvent {
        /// Stripe's event id, or the id of our task.
        pub event_id: String,
        /// The type.
        pub kind: String,
        /// The Stripe customer that it is about, if known.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// The payment that it is about, if any.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// The customer of a task.
        pub customer_id: Option<CustomerId>,
        /// The time at which it was received or last replayed.
        pub tried_since: Timestamp,
        /// The number of failed attempts.
        pub attempts: i64,
        /// The fencing token of the lease.
        pub fence: i64,
    }
}

impl LeasedEvent {
    /// Returns whether it is a task of this kind.
    #[must_use]
    pub fn is_task(&self, kind: TaskKind) -> bool {
        self.kind == kind.as_str()
    }

    /// Returns whether it is the task that creates the Stripe customer of a new sign-up.
    #[must_use]
    pub fn asks_for_stripe_customer(&self) -> bool {
        self.is_task(TaskKind::CustomerSignedUp)
    }

    /// Returns whether it reports that this Stripe customer was deleted.
    #[must_use]
    pub fn says_deleted(&self, id: &StripeCustomerId) -> bool {
        self.kind == "customer.deleted" && self.stripe_customer_id.as_ref() == Some(id)
    }

    /// Returns whether it may be about a closed invoice: only a refund, a dispute and a credit note
    /// change one.
    #[must_use]
    pub fn may_concern_closed_invoice(&self) -> bool {
        ["charge.", "credit_note.", "refund."].iter().any(|prefix| self.kind.starts_with(prefix))
    }
}

impl Leased for LeasedEvent {
    const QUEUE: Queue = Queue {
        table: "inbox",
        id: "event_id",
        since: "tried_since",
        done: "done_at",
        kept_for: Some(KEPT_FOR),
        waits_for: None,
        obeys_retry_after: false,
    };

    fn id(&self) -> &str {
        &self.event_id
    }

    fn since(&self) -> Timestamp {
        self.tried_since
    }

    fn fence(&self) -> i64 {
        self.fence
    }

    /// Returns the Stripe customer. If an event names only a payment, processing fetches the
    /// customer from Stripe.
    fn determined(&self) -> Vec<(&'static str, Value)> {
        vec![("stripe_customer_id", self.stripe_customer_id.to_value())]
    }
}

row! {
    /// A stored event or task, for operators. The body, which may be long, is read separately.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredEvent {
        /// Stripe's event id, or the id of our task.
        pub event_id: String,
        /// The type.
        pub kind: String,
        /// The Stripe customer that it is about, if known.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// The payment that it is about, if any.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// The customer of a task.
        pub customer_id: Option<CustomerId>,
        /// The time at which it happened.
        pub happened_at: Timestamp,
        /// The time at which it was received.
        pub received_at: Timestamp,
        /// The time of the next attempt, or of the last one.
        pub due_at: Timestamp,
        /// The number of failed attempts.
        pub attempts: i64,
        /// The time at which it was done.
        pub done_at: Option<Timestamp>,
        /// The time at which it was given up.
        pub given_up_at: Option<Timestamp>,
        /// The error of the last attempt.
        pub last_error: Option<String>,
    }
}

row! {
    /// An event that is ignored: a thin event, or one of a type that is not used. The last one of
    /// each type is stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IgnoredEvent {
        /// The type.
        pub kind: String,
        /// Stripe's event id.
        pub event_id: String,
        /// The reason, and how to fix it.
        pub reason: String,
        /// The time at which it happened.
        pub happened_at: Timestamp,
        /// The time at which it was received.
        pub received_at: Timestamp,
    }
}

/// An ignored event is done as soon as it is received.
impl From<IgnoredEvent> for StoredEvent {
    fn from(ignored: IgnoredEvent) -> Self {
        Self {
            event_id: ignored.event_id,
            kind: ignored.kind,
            stripe_customer_id: None,
            stripe_payment_intent_id: None,
            customer_id: None,
            happened_at: ignored.happened_at,
            received_at: ignored.received_at,
            due_at: ignored.received_at,
            attempts: 0,
            done_at: Some(ignored.received_at),
            given_up_at: None,
            last_error: Some(ignored.reason),
        }
    }
}
