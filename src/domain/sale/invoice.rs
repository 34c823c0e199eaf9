//! Invoices as Stripe describes them, and the status of an order because of its invoice.

use crate::domain::sale::policy::{Bought, Policy};
use crate::domain::sale::stripe_ids::{InvoiceId, PaymentIntentId, StripeSubscriptionId};
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

/// What became of the payments for an invoice.
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

/// The most that exchange rates make a dispute about everything differ from the payment, in
/// percent.
const EXCHANGE_PERCENT: i64 = 2;

/// How much of the money that paid an invoice went back, in the currency's smallest unit, summed
/// over all of its payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneyBack {
    /// Refunded, or credited after the payment: to the customer's balance or out of band.
    pub refunded: i64,
    /// Held back while the customer's bank decides about a dispute.
    pub disputed: i64,
    /// Taken by a dispute that was lost.
    pub dispute_lost: i64,
}

impl MoneyBack {
    /// Returns the outcome of an invoice that a payment of `paid` paid: what happened to all of the
    /// money. A part that went back changes nothing. A lost dispute about a part counts as a refund of
    /// that part.
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

/// Why an invoice exists
/// (<https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingReason {
    /// A subscription began, was changed, or anything else that is not named here.
    Other,
    /// A new period of a subscription began.
    Renewal,
    /// The vendor made it by hand.
    Manual,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// The subscription that it bills.
    pub subscription: Option<StripeSubscriptionId>,
    /// Why it exists.
    pub reason: BillingReason,
    /// Its status.
    pub status: InvoiceStatus,
    /// Whether the vendor wrote it off by hand, or while collection was paused. Dunning does so
    /// too, when it gives up.
    pub is_written_off_by_hand: bool,
    /// What it asks for, less what was credited before it was paid, in the currency's smallest
    /// unit. Money and a customer balance pay it alike.
    pub amount: i64,
    /// What was credited before it was paid.
    pub credited: i64,
    /// The customer's balance before the invoice was finalized, in the currency's smallest unit.
    /// Negative is a credit.
    pub balance_before: i64,
    /// The customer's balance after that.
    pub balance_after: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// When it was created.
    pub created: Timestamp,
    /// The due date, if it is sent to the customer instead of charged.
    pub due: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// The payment that paid it, or else the latest.
    pub payment_intent: Option<PaymentIntentId>,
    /// What became of its payments.
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

    /// Whether the vendor forgave it: a renewal that was voided or written off by hand, or an
    /// invoice that was credited in full before it was paid, which Stripe then reports as paid.
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

    /// Returns what it asked for before the vendor forgave it, in the currency's smallest unit.
    #[must_use]
    pub fn asked(&self) -> i64 {
        let forgiven = if self.is_forgiven() { self.credited } else { 0 };
        self.amount.saturating_add(forgiven)
    }

    /// Returns what of it the customer's credit balance paid, in the currency's smallest unit.
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

    /// Whether it was paid, or forgiven, and what it bought is the customer's by the policy.
    #[must_use]
    pub fn is_paid(&self, policy: &Policy) -> bool {
        (self.status == InvoiceStatus::Paid || self.is_forgiven()) && !self.is_revoked(policy)
    }

    /// Whether what it bought is revoked by the policy: the money went back, or the vendor forgave
    /// it.
    #[must_use]
    pub fn is_revoked(&self, policy: &Policy) -> bool {
        let is_not_kept = self.is_forgiven() && policy.forgiven == Bought::Revoke;
        is_not_kept || self.is_returned(policy)
    }

    /// Whether what it bought is revoked by the policy because the money went back.
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

    /// Whether the customer can still pay it, or Stripe still collects it.
    #[must_use]
    pub fn is_collectible(&self) -> bool {
        matches!(self.status, InvoiceStatus::Draft | InvoiceStatus::Open)
    }

    /// What an order says about it; `None` for a draft, which is no order yet.
    #[must_use]
    pub fn order_status(&self) -> Option<OrderStatus> {
        Some(match (self.status, self.payment) {
            (InvoiceStatus::Draft, _) => return None,
            // Nobody paid it, whether the license is kept or not.
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
