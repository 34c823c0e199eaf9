//! What the inbox keeps: what came from Stripe, and work of our own that needs Stripe.

use crate::domain::column::{Parameter, Value, row};
use crate::domain::ids::CustomerId;
use crate::domain::queue::{Leased, Queue};
use crate::domain::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::{DAY, Timestamp};

/// How long a done event is kept, in seconds: longer than Stripe keeps events, so that a repeated one
/// is recognised (<https://docs.stripe.com/api/events>).
const KEPT_SECONDS: i64 = 35 * DAY;

text_enum! {
    /// Work of our own that waits in the inbox. Its text is stored as the event's type.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum TaskKind {
        /// Send a changed name or address to Stripe.
        CustomerChanged = "licentia.customer_changed",
        /// Create the Stripe customer of a customer who signed up.
        CustomerSignedUp = "licentia.customer_signed_up",
    }
}

row! {
    /// An event that this worker may work on until its lease ends.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedEvent {
        /// Stripe's id for it, or that of a task of ours.
        pub event_id: String,
        /// Its type.
        pub kind: String,
        /// Whom it is about, by Stripe's name.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// Which payment it is about.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// Whom it is about, by ours.
        pub customer_id: Option<CustomerId>,
        /// Since when it is tried: it came then, or was replayed.
        pub tried_since: Timestamp,
        /// How often it was tried before.
        pub attempts: i64,
        /// The number of this lease.
        pub fence: i64,
    }
}

impl LeasedEvent {
    /// Returns whether it is this task.
    #[must_use]
    pub fn is_task(&self, kind: TaskKind) -> bool {
        self.kind == kind.as_str()
    }
}

impl Leased for LeasedEvent {
    const QUEUE: Queue = Queue {
        table: "inbox",
        id: "event_id",
        since: "tried_since",
        done: "done_at",
        kept_seconds: Some(KEPT_SECONDS),
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

    /// The Stripe customer, which is asked of Stripe when an event names only a payment.
    fn found_out(&self) -> Vec<(&'static str, Value)> {
        vec![("stripe_customer_id", self.stripe_customer_id.to_value())]
    }
}

row! {
    /// An event as it is kept, for operators; its body is read by itself, since it may be long.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredEvent {
        /// Stripe's id for it, or that of a task of ours.
        pub event_id: String,
        /// Its type.
        pub kind: String,
        /// Whom it is about, by Stripe's name.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// Which payment it is about.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// Whom it is about, by ours; only work of our own says so.
        pub customer_id: Option<CustomerId>,
        /// When it happened.
        pub happened_at: Timestamp,
        /// When it came.
        pub received_at: Timestamp,
        /// When it is tried next, or was tried last.
        pub due_at: Timestamp,
        /// How often it was tried in vain.
        pub attempts: i64,
        /// When it took effect.
        pub done_at: Option<Timestamp>,
        /// When it was given up.
        pub given_up_at: Option<Timestamp>,
        /// Why it did not work the last time.
        pub last_error: Option<String>,
    }
}

row! {
    /// An event that is of no use: a thin event, or one of a type that says nothing about a sale. The last
    /// one of each type is kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IgnoredEvent {
        /// Its type.
        pub kind: String,
        /// Stripe's id for it.
        pub event_id: String,
        /// Why, with the remedy.
        pub reason: String,
        /// When it happened.
        pub happened_at: Timestamp,
        /// When it came.
        pub received_at: Timestamp,
    }
}

/// It is done as soon as it comes.
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
