//! Invoices as Stripe describes them: whether one counts as paid under the vendor's policy, and the
//! status of its order.

use crate::domain::sale::policy::{Consequence, Policy};
use crate::domain::sale::stripe_ids::{InvoiceId, PaymentIntentId, StripeSubscriptionId};
use crate::domain::sale::stripe_page::StripePage;
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
    /// A part of it was refunded, credited, or lost in a dispute.
    PartlyReturned,
}

impl Payment {
    /// Returns whether a policy revokes what this payment bought.
    #[must_use]
    pub fn is_revoked(self, policy: &Policy) -> bool {
        let consequence = match self {
            Self::Refunded => policy.refund,
            Self::Disputed => policy.dispute,
            Self::DisputeLost => policy.dispute_lost,
            Self::PartlyReturned => policy.partial_refund,
            Self::Unremarkable | Self::Processing | Self::Failed => Consequence::Keep,
        };
        consequence == Consequence::Revoke
    }
}

/// The largest difference between a payment and a dispute about all of it, in percent. Exchange
/// rates cause it.
const EXCHANGE_PERCENT: i64 = 2;

/// How much of the money for an invoice was returned, in the currency's smallest unit, summed over
/// all of its payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneyBack {
    /// Refunded.
    pub refunded: i64,
    /// Credited after the payment, to the customer's balance or out of band.
    pub credited: i64,
    /// Withheld while the customer's bank decides about a dispute.
    pub disputed: i64,
    /// Taken by disputes that were lost.
    pub dispute_lost: i64,
}

impl MoneyBack {
    /// Returns the outcome for an invoice of which `paid` was paid: `from_balance` by the
    /// customer's balance, and the rest in money. Both are in the currency's smallest unit.
    ///
    /// Everything was returned or is disputed if all of the money is, since a payment cannot return
    /// what the balance paid, or the whole amount together with credits. A lost dispute about a
    /// part counts like a refund of that part.
    #[must_use]
    pub fn outcome(self, paid: i64, from_balance: i64) -> Payment {
        let Self { refunded, credited, disputed, dispute_lost } = self;
        let money = paid.saturating_sub(from_balance);
        let with_credits = refunded.saturating_add(credited);
        let is_refunded =
            (refunded > 0 && refunded >= money) || (with_credits > 0 && with_credits >= paid);
        let is_about = |part: i64, all: i64| {
            part.saturating_mul(100) >= all.saturating_mul(100 - EXCHANGE_PERCENT)
        };
        let is_all = |taken: i64| {
            is_about(refunded.saturating_add(taken), money)
                || is_about(with_credits.saturating_add(taken), paid)
        };
        if is_refunded {
            Payment::Refunded
        } else if dispute_lost > 0 && is_all(dispute_lost) {
            Payment::DisputeLost
        } else if disputed > 0 && is_all(dispute_lost.saturating_add(disputed)) {
            Payment::Disputed
        } else if with_credits.saturating_add(dispute_lost) > 0 {
            Payment::PartlyReturned
        } else {
            Payment::Unremarkable
        }
    }

    /// Returns the part of an amount that was refunded, credited after the payment, or taken or
    /// withheld by disputes. `from_balance` is the part that the customer's balance paid. All are
    /// in the currency's smallest unit.
    ///
    /// A dispute about everything counts as all of the money, because the bank may state it in
    /// another currency.
    #[must_use]
    pub fn returned(self, amount: i64, from_balance: i64, outcome: Payment) -> i64 {
        let Self { refunded, credited, disputed, dispute_lost } = self;
        let parts: &[i64] = match outcome {
            Payment::Disputed | Payment::DisputeLost => {
                &[amount.saturating_sub(from_balance), credited]
            }
            _ => &[refunded, credited, disputed, dispute_lost],
        };
        parts.iter().copied().fold(0, i64::saturating_add).min(amount)
    }
}

impl std::ops::AddAssign for MoneyBack {
    fn add_assign(&mut self, other: Self) {
        self.refunded = self.refunded.saturating_add(other.refunded);
        self.credited = self.credited.saturating_add(other.credited);
        self.disputed = self.disputed.saturating_add(other.disputed);
        self.dispute_lost = self.dispute_lost.saturating_add(other.dispute_lost);
    }
}

/// Returns the part of an invoice that the customer's credit balance paid. Before the invoice was
/// finalized the balance was `before`, then `after`; negative is a credit.
#[must_use]
pub fn from_balance(before: i64, after: i64) -> i64 {
    after.min(0).saturating_sub(before).max(0)
}

/// One line of an invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Stripe's id of the line.
    pub id: String,
    /// The price that it bills.
    pub price: Option<String>,
    /// The start of the period that it covers.
    pub period_start: Option<Timestamp>,
    /// The end of the period that it covers; `None` for a one-time purchase.
    pub period_end: Option<Timestamp>,
    /// In the currency's smallest unit, without exclusive tax; negative for a credit.
    pub amount: i64,
    /// The number of units. `None` if Stripe states none.
    pub quantity: Option<u32>,
    /// The ids of the lines that it credits, if Stripe names them: under flexible billing
    /// (<https://docs.stripe.com/billing/subscriptions/billing-mode>).
    pub credits: Vec<String>,
}

impl Line {
    /// Returns the units that it bills. Stripe states none for a line by hand.
    #[must_use]
    pub fn units(&self) -> u32 {
        self.quantity.unwrap_or(1)
    }
}

/// The reason why Stripe created an invoice
/// (<https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingReason {
    /// A subscription began, or any other reason.
    Other,
    /// A subscription was changed.
    Change,
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
    /// The part of the amount that is tax, in the same unit.
    pub tax: i64,
    /// The part of the tax that was added to the amounts of the lines.
    pub added_tax: i64,
    /// The sum of the discounts, in the same unit.
    pub discount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The time of creation.
    pub created: Timestamp,
    /// The due date, if it is sent to the customer instead of charged.
    pub due: Option<Timestamp>,
    /// The time of the payment.
    pub paid_at: Option<Timestamp>,
    /// The time of the charge: for a bank debit the day on which it was started. `None` if no
    /// charge paid it.
    pub charged_at: Option<Timestamp>,
    /// Stripe's page of the invoice, where it can be paid and downloaded.
    pub url: Option<StripePage>,
    /// Stripe's page of the receipt.
    pub receipt_url: Option<StripePage>,
    /// The payment that paid it, or else the latest payment.
    pub payment_intent: Option<PaymentIntentId>,
    /// The outcome of its payments.
    pub payment: Payment,
    /// The part of the amount that was returned, in the currency's smallest unit; see
    /// [`MoneyBack::returned`].
    pub returned: i64,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Invoice {
    /// Returns whether it bills this subscription.
    #[must_use]
    pub fn is_of(&self, subscription: &StripeSubscriptionId) -> bool {
        self.subscription.as_ref() == Some(subscription)
    }

    /// Returns whether it is final and no payment has settled it. A written-off one can still be
    /// paid.
    #[must_use]
    pub fn is_unpaid(&self) -> bool {
        matches!(self.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible)
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

    /// Returns the amount without the tax that was added to the lines, so that it can be compared
    /// with them.
    #[must_use]
    pub fn amount_of_lines(&self) -> i64 {
        self.amount.saturating_sub(self.added_tax)
    }

    /// Returns the part that the customer's credit balance paid, in the currency's smallest unit.
    #[must_use]
    pub fn from_balance(&self) -> i64 {
        from_balance(self.balance_before, self.balance_after)
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
        let is_forgiven = self.is_forgiven() && policy.forgiven == Consequence::Revoke;
        is_forgiven || self.is_returned(policy)
    }

    /// Returns whether the policy revokes what it bought because the money was returned.
    #[must_use]
    pub fn is_returned(&self, policy: &Policy) -> bool {
        self.status == InvoiceStatus::Paid && self.payment.is_revoked(policy)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_returned_is_money_and_credit_but_not_the_part_that_a_balance_paid() {
        let none = MoneyBack::default();
        let returned =
            |back: MoneyBack, from_balance, outcome| back.returned(49, from_balance, outcome);
        for (refunded, credited, from_balance, expected) in [
            (0, 0, 0, 0),
            (20, 0, 0, 20),
            (0, 20, 0, 20),
            (49, 0, 0, 49),
            (29, 0, 20, 29),
            (29, 40, 0, 49),
        ] {
            let back = MoneyBack { refunded, credited, ..none };
            let outcome = back.outcome(49, from_balance);
            assert_eq!(returned(back, from_balance, outcome), expected, "{back:?}");
        }
        let taken = MoneyBack { disputed: 29, ..none };
        assert_eq!(returned(taken, 20, Payment::Disputed), 29);
        let lost = MoneyBack { dispute_lost: 48, ..none };
        assert_eq!(returned(lost, 0, Payment::DisputeLost), 49, "the whole payment is gone");
    }

    #[test]
    fn what_goes_back_in_part_is_only_a_part_and_in_full_counts_whatever_its_parts_stripe_24() {
        for ((refunded, disputed, dispute_lost), expected) in [
            ((0, 0, 0), Payment::Unremarkable),
            ((4899, 0, 0), Payment::PartlyReturned),
            ((4900, 0, 0), Payment::Refunded),
            ((0, 2000, 0), Payment::Unremarkable),
            ((0, 4802, 0), Payment::Disputed),
            ((0, 4801, 0), Payment::Unremarkable),
            ((0, 0, 2000), Payment::PartlyReturned),
            ((0, 0, 4998), Payment::DisputeLost),
            ((2900, 0, 2000), Payment::DisputeLost),
            ((2900, 2000, 0), Payment::Disputed),
            ((4900, 0, 2000), Payment::Refunded),
        ] {
            let back = MoneyBack { refunded, credited: 0, disputed, dispute_lost };
            assert_eq!(back.outcome(4900, 0), expected, "{back:?}");
        }
    }

    #[test]
    fn a_refund_is_full_if_it_returns_all_the_money_stripe_26_36() {
        let none = MoneyBack::default();
        let refunded = |refunded| MoneyBack { refunded, ..none };
        let credited = |refunded, credited| MoneyBack { refunded, credited, ..none };
        let lost = |refunded, dispute_lost| MoneyBack { refunded, dispute_lost, ..none };
        let disputed = |disputed| MoneyBack { disputed, ..none };
        // Of 4900, the balance paid this part.
        for (back, from_balance, expected) in [
            (none, 0, Payment::Unremarkable),
            (none, 4900, Payment::Unremarkable),
            (refunded(4900), 0, Payment::Refunded),
            (refunded(3000), 0, Payment::PartlyReturned),
            (refunded(3000), 1900, Payment::Refunded),
            (refunded(2999), 1900, Payment::PartlyReturned),
            // A credit returns what the balance paid first.
            (credited(0, 3000), 1900, Payment::PartlyReturned),
            (credited(0, 4900), 1900, Payment::Refunded),
            (credited(0, 4900), 4900, Payment::Refunded),
            (credited(0, 100), 4900, Payment::PartlyReturned),
            (credited(2000, 2900), 1900, Payment::Refunded),
            (credited(2000, 2000), 1900, Payment::PartlyReturned),
            (lost(0, 3000), 1900, Payment::DisputeLost),
            (lost(1000, 1940), 1900, Payment::DisputeLost),
            (lost(0, 2000), 1900, Payment::PartlyReturned),
            (disputed(2940), 1900, Payment::Disputed),
            (disputed(3000), 0, Payment::Unremarkable),
        ] {
            assert_eq!(back.outcome(4900, from_balance), expected, "{back:?} {from_balance}");
        }
    }
}
