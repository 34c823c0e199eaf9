//! Calls to Stripe that make something: written down before they are made, with the idempotency key
//! and the parameters, so that whoever finds one unanswered repeats exactly it.

use crate::domain::column::row;
use crate::domain::ids::AttemptId;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// What a call makes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Purpose {
        /// The customer at Stripe.
        Customer = "customer",
        /// A checkout session.
        Checkout = "checkout",
    }
}

row! {
    /// A call that was made, or was about to be.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Attempt {
        /// Its idempotency key.
        pub attempt_id: AttemptId,
        /// Its parameters, JSON.
        pub parameters: String,
        /// When it was written down.
        pub created_at: Timestamp,
        /// The id of what Stripe made; none while the answer is not known.
        pub result: Option<String>,
    }
}
