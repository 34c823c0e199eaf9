//! Orders: one for each payment. A checkout creates it before the payment; otherwise the first sync
//! after the invoice does. How they change is decided in [`crate::domain::sale::settlement`].

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::plan::Interval;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, InvoiceId, PaymentIntentId};
use crate::domain::sale::stripe_page::StripePage;
use crate::domain::time::Timestamp;

impl Order {
    /// Returns an order that is not paid yet, for a plan. Its amount is not known yet.
    #[must_use]
    pub fn pending(
        order_id: OrderId,
        customer_id: &CustomerId,
        plan: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            order_id,
            customer_id: Some(customer_id.clone()),
            plan: plan.to_owned(),
            amount: 0,
            currency: String::new(),
            billing_interval: None,
            quantity: None,
            addons: None,
            tax: None,
            discount: None,
            returned: 0,
            status: OrderStatus::Pending,
            stripe_checkout_session_id: None,
            stripe_invoice_id: None,
            stripe_payment_intent_id: None,
            invoice_url: None,
            receipt_url: None,
            created_at: now,
            purchased_at: None,
            updated_at: now,
        }
    }

    /// Returns whether `self` only adds what `before` did not have recorded yet.
    #[must_use]
    pub fn only_fills_in(&self, before: &Self) -> bool {
        let filled = Self {
            billing_interval: before.billing_interval.or(self.billing_interval),
            quantity: before.quantity.or(self.quantity),
            addons: before.addons.clone().or_else(|| self.addons.clone()),
            tax: before.tax.or(self.tax),
            discount: before.discount.or(self.discount),
            invoice_url: self.invoice_url.clone(),
            receipt_url: self.receipt_url.clone(),
            updated_at: self.updated_at,
            ..before.clone()
        };
        filled == *self
    }
}

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
        /// How often the price is charged. `None` if it is unknown.
        pub billing_interval: Option<Interval>,
        /// The number of units of the plan. `None` in an order from before they were recorded.
        pub quantity: Option<u32>,
        /// The add-ons. `None` in an order from before they were recorded.
        pub addons: Option<AddonIds>,
        /// The part of the amount that is tax. `None` in an order from before it was recorded.
        pub tax: Option<i64>,
        /// The sum of the discounts. `None` in an order from before it was recorded.
        pub discount: Option<i64>,
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
        /// Stripe's page of the receipt, as of the last other change of the order.
        pub receipt_url: Option<StripePage>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the payment.
        pub purchased_at: Option<Timestamp>,
        /// The time of the last change of this row.
        pub updated_at: Timestamp,
    }
}

row! {
    /// What a comparison of plans files reads of an order. It may be unpaid.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OrderedPlan {
        /// The id.
        pub order_id: OrderId,
        /// The customer.
        pub customer_id: CustomerId,
        /// The plan's id at the time of the order.
        pub plan: String,
        /// How often the price is charged. `None` if it is unknown.
        pub billing_interval: Option<Interval>,
        /// The add-ons. `None` in an order from before they were recorded.
        pub addons: Option<AddonIds>,
        /// The part that was returned so far, in the currency's smallest unit.
        pub returned: i64,
        /// The status of the order.
        pub status: OrderStatus,
        /// The invoice; `None` until the checkout is completed.
        pub stripe_invoice_id: Option<InvoiceId>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the payment.
        pub purchased_at: Option<Timestamp>,
    }
}

impl OrderedPlan {
    /// Returns whether it is for a period of a subscription.
    #[must_use]
    pub fn is_recurring(&self) -> bool {
        self.billing_interval.is_some_and(Interval::is_recurring)
    }

    /// Returns whether it is for a period, which has not ended, of a subscription, as far as the
    /// order says so.
    #[must_use]
    pub fn is_running(&self, now: Timestamp) -> bool {
        let months = match self.billing_interval {
            Some(Interval::Month) => 1,
            Some(Interval::Year) => 12,
            Some(Interval::Once | Interval::Updates) | None => return false,
        };
        self.purchased_at.unwrap_or(self.created_at).plus_months(months) > now
    }
}
