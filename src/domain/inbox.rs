//! What the inbox keeps: what came from Stripe, and work of our own that needs Stripe.

use crate::domain::column::row;
use crate::domain::ids::CustomerId;
use crate::domain::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::time::Timestamp;

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
