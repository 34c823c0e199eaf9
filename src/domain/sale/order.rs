//! Orders: one for each payment, created with the Checkout session. How they change is decided in
//! [`crate::domain::sale::settlement`].

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::sale::invoice::{StripePage, OrderStatus};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, InvoiceId, PaymentIntentId};
use crate::domain::time::Timestamp;

row! {
    /// An order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Order {
        /// The id.
        pub order_id: OrderId,
        /// The customer; `None` after the customer was deleted.
        pub customer_id: Option<CustomerId>,
        /// The plan's id.
        pub plan: String,
        /// The amount in the currency's smallest unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// The part that was returned so far, in the same unit; see
        /// [`Invoice::returned`](crate::domain::sale::invoice::Invoice::returned).
        pub returned: i64,
        /// The status.
        pub status: OrderStatus,
        /// The Checkout session; `None` for a renewal.
        pub stripe_checkout_session_id: Option<CheckoutSessionId>,
        /// The invoice; `None` until the checkout is completed.
        pub stripe_invoice_id: Option<InvoiceId>,
        /// The payment.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// Stripe's page of the invoice, as of the last other change of the order. A URL expires
        /// after 30 days or more (<https://docs.stripe.com/invoicing/hosted-invoice-page>).
        pub invoice_url: Option<StripePage>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the payment.
        pub purchased_at: Option<Timestamp>,
        /// The time of the last change of this row.
        pub updated_at: Timestamp,
    }
}
