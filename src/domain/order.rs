//! Orders: one for each payment, from the checkout that asks for it on.

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::invoice::OrderStatus;
use crate::domain::stripe_ids::{CheckoutSessionId, InvoiceId, PaymentIntentId};
use crate::domain::time::Timestamp;

row! {
    /// An order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Order {
        /// Its id.
        pub order_id: OrderId,
        /// Whose it is; none once they were deleted.
        pub customer_id: Option<CustomerId>,
        /// The plan's id.
        pub plan: String,
        /// In the currency's smallest unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// Where it stands.
        pub status: OrderStatus,
        /// The checkout that it came from; none for a renewal.
        pub stripe_checkout_session_id: Option<CheckoutSessionId>,
        /// The invoice; none while the checkout is not completed.
        pub stripe_invoice_id: Option<InvoiceId>,
        /// The payment.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was paid.
        pub purchased_at: Option<Timestamp>,
        /// When this record changed last.
        pub updated_at: Timestamp,
    }
}
