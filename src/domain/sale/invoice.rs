//! Invoices as Stripe describes them: whether one counts as paid under the vendor's policy, and the
//! status of its order.

use crate::domain::sale::policy::{Bought, Policy};
use crate::domain::sale::stripe_ids::{InvoiceId, PaymentIntentId, StripeSubscriptionId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// The status of an invoice (<https://docs.stripe.com/invoicing/overview#invoice-statuses>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceStatus {
    /// Not final yet.
    Draft,
    /// Final, and not paid yet.
    Open,
    /// Paid, or nothing was due.
    Paid,
    /// Voided: it can no longer be paid.
    Void,
    /// Written off; or a status that this version does not know.
    Uncollectible,
}

impl InvoiceStatus {
    /// Returns the status with this name at Stripe.
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

/// The outcome of the payments for an invoice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payment {
    /// Nothing beyond the invoice's own status.
    #[default]
    Unremarkable,
    /// It is being processed. A bank debit takes days.
    Processing,
    /// It failed. Stripe may retry it.
    Failed,
    /// All of it was refunded.
    Refunded,
    /// The customer disputes it with their bank, and the bank has not decided.
    Disputed,
    /// The dispute was lost: the bank took all of it.
    DisputeLost,
}

/// The largest difference between a payment and a dispute about all of it, in percent. Exchange
/// rates cause it.
const EXCHANGE_PERCENT: i64 = 2;

/// How much of the money for an invoice was returned, in the currency's smallest unit, summed over
/// all of its payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneyBack {
    /// Refunded, or credited after the payment: to the customer's balance or out of band.
    pub refunded: i64,
    /// Withheld while the customer's bank decides about a dispute.
    pub disputed: i64,
    /// Taken by disputes that were lost.
    pub dispute_lost: i64,
}

impl MoneyBack {
    /// Returns the outcome for an invoice of which `paid` was paid, in the currency's smallest
    /// unit. It is `Unremarkable` unless all of the money was returned or is disputed. A lost
    /// dispute about a part counts like a refund of that part.
    #[must_use]
    pub fn outcome(self, paid: i64) -> Payment {
        let Self { refunded, disputed, dispute_lost } = self;
        let refunded_all = refunded >= paid;
        let is_all =
            |amount: i64| amount.saturating_mul(100) >= paid.saturating_mul(100 - EXCHANGE_PERCENT);
        let returned = refunded.saturating_add(dispute_lost);
        if refunded > 0 && refunded_all {
            Payment::Refunded
        } else if dispute_lost > 0 && is_all(returned) {
            Payment::DisputeLost
        } else if disputed > 0 && is_all(returned.saturating_add(disputed)) {
            Payment::Disputed
        } else {
            Payment::Unremarkable
        }
    }
}

impl std::ops::AddAssign for MoneyBack {
    fn add_assign(&mut self, other: Self) {
        self.refunded = self.refunded.saturating_add(other.refunded);
        self.disputed = self.disputed.saturating_add(other.disputed);
        self.dispute_lost = self.dispute_lost.saturating_add(other.dispute_lost);
    }
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The price that it bills.
    pub price: Option<String>,
    /// The end of the period that it covers.
    pub period_end: Option<Timestamp>,
    /// In the currency's smallest unit; negative for a credit.
    pub amount: i64,
}

/// The reason why Stripe created an invoice
/// (<https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingReason {
    /// A subscription began or was changed, or any other reason.
    Other,
    /// A new period of a subscription began.
    Renewal,
    /// The vendor created it by hand.
    Manual,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The id.
    pub id: InvoiceId,
    /// The subscription that it bills.
    pub subscription: Option<StripeSubscriptionId>,
    /// The reason why Stripe created it.
    pub reason: BillingReason,
    /// The status.
    pub status: InvoiceStatus,
    /// Whether it was written off by the vendor, or while collection was paused. `false` if dunning
    /// wrote it off after the last retry.
    pub is_written_off_by_hand: bool,
    /// The amount due, less what was credited before it was paid, in the currency's smallest unit.
    /// Money and the customer's balance can pay it.
    pub amount: i64,
    /// The amount that was credited before it was paid.
    pub credited: i64,
    /// The customer's balance before the invoice was finalized, in the currency's smallest unit.
    /// Negative is a credit.
    pub balance_before: i64,
    /// The customer's balance after that.
    pub balance_after: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The time of creation.
    pub created: Timestamp,
    /// The due date, if it is sent to the customer instead of charged.
    pub due: Option<Timestamp>,
    /// The time of the payment.
    pub paid_at: Option<Timestamp>,
    /// The payment that paid it, or else the latest payment.
    pub payment_intent: Option<PaymentIntentId>,
    /// The outcome of its payments.
    pub payment: Payment,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Invoice {
    /// Returns whether it bills this subscription.
    #[must_use]
    pub fn is_of(&self, subscription: &StripeSubscriptionId) -> bool {
        self.subscription.as_ref() == Some(subscription)
    }

    /// Returns whether the vendor forgave it: a renewal that was voided or written off by hand, or
    /// an invoice that was credited in full before it was paid. Stripe reports the latter as paid.
    #[must_use]
    pub fn is_forgiven(&self) -> bool {
        match self.status {
            InvoiceStatus::Void => self.reason == BillingReason::Renewal,
            InvoiceStatus::Uncollectible => {
                self.reason == BillingReason::Renewal && self.is_written_off_by_hand
            }
            InvoiceStatus::Paid => self.credited > 0 && self.amount == 0,
            InvoiceStatus::Draft | InvoiceStatus::Open => false,
        }
    }

    /// Returns the amount due before the vendor forgave it, in the currency's smallest unit.
    #[must_use]
    pub fn amount_billed(&self) -> i64 {
        let forgiven = if self.is_forgiven() { self.credited } else { 0 };
        self.amount.saturating_add(forgiven)
    }

    /// Returns the part that the customer's credit balance paid, in the currency's smallest unit.
    #[must_use]
    pub fn from_balance(&self) -> i64 {
        self.balance_after.min(0).saturating_sub(self.balance_before).max(0)
    }

    /// Returns what it added to the customer's credit balance because it credits more than it
    /// bills, in the currency's smallest unit
    /// (<https://docs.stripe.com/billing/customer/balance>).
    #[must_use]
    pub fn to_balance(&self) -> i64 {
        self.balance_before.min(0).saturating_sub(self.balance_after).max(0)
    }

    /// Returns whether it was paid or forgiven, and the policy does not revoke what it bought.
    #[must_use]
    pub fn is_paid(&self, policy: &Policy) -> bool {
        (self.status == InvoiceStatus::Paid || self.is_forgiven()) && !self.is_revoked(policy)
    }

    /// Returns whether the policy revokes what it bought: the money was returned, or the vendor
    /// forgave it.
    #[must_use]
    pub fn is_revoked(&self, policy: &Policy) -> bool {
        let is_forgiven = self.is_forgiven() && policy.forgiven == Bought::Revoke;
        is_forgiven || self.is_returned(policy)
    }

    /// Returns whether the policy revokes what it bought because the money was returned.
    #[must_use]
    pub fn is_returned(&self, policy: &Policy) -> bool {
        let bought = match self.payment {
            Payment::Refunded => policy.refund,
            Payment::Disputed => policy.dispute,
            Payment::DisputeLost => policy.dispute_lost,
            Payment::Unremarkable | Payment::Processing | Payment::Failed => Bought::Keep,
        };
        self.status == InvoiceStatus::Paid && bought == Bought::Revoke
    }

    /// Returns whether the customer can still pay it, or Stripe still collects it.
    #[must_use]
    pub fn is_collectible(&self) -> bool {
        matches!(self.status, InvoiceStatus::Draft | InvoiceStatus::Open)
    }

    /// Returns the status of its order; `None` for a draft, which has no order yet.
    #[must_use]
    pub fn order_status(&self) -> Option<OrderStatus> {
        Some(match (self.status, self.payment) {
            (InvoiceStatus::Draft, _) => return None,
            // A forgiven invoice was not paid, even if the policy keeps the license.
            _ if self.is_forgiven() => OrderStatus::Failed,
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
    /// The status of an order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum OrderStatus {
        /// Not paid yet.
        Pending = "pending",
        /// Paid.
        Succeeded = "succeeded",
        /// Not paid: the payment failed, or the checkout expired.
        Failed = "failed",
        /// Paid, and refunded in full.
        Refunded = "refunded",
        /// Paid, and disputed by the customer's bank.
        Disputed = "disputed",
    }
}
