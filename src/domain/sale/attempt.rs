//! The calls to Stripe that create something. Each is stored before it is made, with its
//! idempotency key and parameters, so that a call without a response is repeated exactly. The calls
//! themselves are in [`crate::stripe`].

use crate::domain::column::row;
use crate::domain::ids::AttemptId;
use crate::domain::private::Private;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// The object that a call creates.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CreatedObject {
        /// A Stripe customer.
        Customer = "customer",
        /// A Checkout session.
        Checkout = "checkout",
    }
}

row! {
    /// A call that was made or is about to be made.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Attempt {
        /// The idempotency key.
        pub attempt_id: AttemptId,
        /// The parameters, as JSON.
        pub parameters: Private,
        /// The time at which it was stored, before the call.
        pub created_at: Timestamp,
        /// The id of the created object; `None` while there is no response.
        pub result: Option<String>,
    }
}
