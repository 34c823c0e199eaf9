//! Invoices as Stripe has them, and what an order of ours says about one. Pure.

use crate::domain::policy::{Bought, Policy};
use crate::domain::stripe_ids::{InvoiceId, PaymentIntentId, StripeSubscriptionId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// Where an invoice stands (<https://docs.stripe.com/invoicing/overview#invoice-statuses>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceStatus {
    /// Not final yet.
    Draft,
    /// Waits for its payment.
    Open,
    /// Paid, or nothing was due.
    Paid,
    /// Not to be paid any more, as the vendor or Stripe decided.
    Void,
    /// Given up; or a state that this version does not know.
    Uncollectible,
}

impl InvoiceStatus {
    /// From Stripe's name for it.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "draft" => Self::Draft,
            "open" => Self::Open,
            "paid" => Self::Paid,
            "void" => Self::Void,
            _ => Self::Uncollectible,
        }
    }
}

/// What became of the payment for an invoice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payment {
    /// Nothing is known beyond the invoice's own state.
    #[default]
    Unremarkable,
    /// It is on its way, as a bank debit is for days.
    Processing,
    /// It was tried, and failed; it may be tried again.
    Failed,
    /// All of it was given back.
    Refunded,
    /// The customer's bank asks for it back.
    Disputed,
    /// The customer's bank took it back for good.
    DisputeLost,
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The price that it bills.
    pub price: Option<String>,
    /// The end of the time that it covers.
    pub period_end: Option<Timestamp>,
    /// In the currency's smallest unit; negative for what is given back.
    pub amount: i64,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// The subscription that it bills.
    pub subscription: Option<StripeSubscriptionId>,
    /// Whether the vendor made it, rather than the course of the subscription.
    pub by_hand: bool,
    /// Where it stands.
    pub status: InvoiceStatus,
    /// What it asks for, in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is to be paid, if it is sent to the customer instead of collected.
    pub due: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// The payment behind it.
    pub payment_intent: Option<PaymentIntentId>,
    /// What became of that.
    pub payment: Payment,
    /// What it bills.
    pub lines: Vec<Line>,
}

impl Invoice {
    /// Whether it bills this subscription.
    #[must_use]
    pub fn is_of(&self, subscription: &StripeSubscriptionId) -> bool {
        self.subscription.as_ref() == Some(subscription)
    }

    /// Whether it was paid, and what it bought is the customer's.
    #[must_use]
    pub fn is_paid(&self, policy: &Policy) -> bool {
        self.status == InvoiceStatus::Paid && !self.is_revoked(policy)
    }

    /// Whether it was paid, and what it bought is taken back since the money went back.
    #[must_use]
    pub fn is_revoked(&self, policy: &Policy) -> bool {
        let bought = match self.payment {
            Payment::Refunded => policy.refund,
            Payment::Disputed => policy.dispute,
            Payment::DisputeLost => policy.dispute_lost,
            Payment::Unremarkable | Payment::Processing | Payment::Failed => Bought::Keep,
        };
        self.status == InvoiceStatus::Paid && bought == Bought::Revoke
    }

    /// What an order says about it; `None` for a draft, which is no order yet.
    #[must_use]
    pub fn order_status(&self) -> Option<OrderStatus> {
        Some(match (self.status, self.payment) {
            (InvoiceStatus::Draft, _) => return None,
            (InvoiceStatus::Paid, Payment::Refunded) => OrderStatus::Refunded,
            (InvoiceStatus::Paid, Payment::Disputed | Payment::DisputeLost) => {
                OrderStatus::Disputed
            }
            (InvoiceStatus::Paid, _) => OrderStatus::Succeeded,
            (InvoiceStatus::Open, Payment::Failed)
            | (InvoiceStatus::Void | InvoiceStatus::Uncollectible, _) => OrderStatus::Failed,
            (InvoiceStatus::Open, _) => OrderStatus::Pending,
        })
    }
}

text_enum! {
    /// Where an order stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum OrderStatus {
        /// Not paid yet.
        Pending = "pending",
        /// Paid.
        Succeeded = "succeeded",
        /// Not paid: the payment failed, or the checkout was left.
        Failed = "failed",
        /// Paid, and all of it given back.
        Refunded = "refunded",
        /// Paid, and disputed by the customer's bank.
        Disputed = "disputed",
    }
}
