//! The actions that return money: refunds, disputes, credit notes, and changes of a customer's
//! balance. The parameter `payment` is the id of a payment intent or of a charge.

use super::Double;
use crate::billing::checks::ActionError;
use crate::billing::credit::CreditNote;
use crate::billing::dispute::DisputeKind;
use crate::billing::money_actions;

impl Double {
    /// Refunds the remaining amount of a payment, or a part of it. Returns the refund's id.
    ///
    /// # Errors
    /// When the payment did not succeed, or is refunded in full.
    pub fn refund(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::refund(world, payment, amount, false))
    }

    /// Refunds by a bank that takes days: the refund is pending until [`Double::settle_refund`].
    /// Returns the refund's id.
    ///
    /// # Errors
    /// When the payment did not succeed, or is refunded in full.
    pub fn refund_slowly(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::refund(world, payment, amount, true))
    }

    /// Has the bank decide a pending refund. With `false`, it can also return a refund that had
    /// succeeded.
    ///
    /// # Errors
    /// When it is decided already.
    pub fn settle_refund(&self, refund: &str, succeeds: bool) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::settle_refund(world, refund, succeeds))
    }

    /// Has the bank open a dispute about a whole payment. Returns the dispute's id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_dispute(&self, payment: &str) -> Result<String, ActionError> {
        let chargeback = DisputeKind::Chargeback;
        self.shared.write(|world| money_actions::open_dispute(world, payment, None, chargeback))
    }

    /// Has the bank open a dispute about this amount. It can be a part of the payment, or slightly
    /// more after an exchange. Returns the dispute's id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_dispute_about(&self, payment: &str, amount: i64) -> Result<String, ActionError> {
        let (amount, chargeback) = (Some(amount), DisputeKind::Chargeback);
        self.shared.write(|world| money_actions::open_dispute(world, payment, amount, chargeback))
    }

    /// Has the bank inquire about a payment, without taking money. Returns the dispute's id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_inquiry(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        let inquiry = DisputeKind::Inquiry;
        self.shared.write(|world| money_actions::open_dispute(world, payment, amount, inquiry))
    }

    /// Has the bank turn an inquiry into a dispute and withdraw the money.
    ///
    /// # Errors
    /// When the dispute is not an inquiry.
    pub fn escalate_inquiry(&self, dispute: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::escalate_inquiry(world, dispute))
    }

    /// Has the bank close an inquiry.
    ///
    /// # Errors
    /// When the dispute is not an inquiry.
    pub fn close_inquiry(&self, dispute: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::close_inquiry(world, dispute))
    }

    /// Submits evidence about a dispute or an inquiry, which is then under review.
    ///
    /// # Errors
    /// When it does not wait for evidence.
    pub fn answer_dispute(&self, dispute: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::answer_dispute(world, dispute))
    }

    /// Has the bank decide a dispute.
    ///
    /// # Errors
    /// When it is decided already, or an inquiry.
    pub fn close_dispute(&self, dispute: &str, won: bool) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::close_dispute(world, dispute, won))
    }

    /// Issues a credit note for an invoice. Returns its id. It lowers the amount due first; the
    /// parts of `note` must add up to the rest.
    ///
    /// # Errors
    /// When the invoice is a draft or void, or the amounts do not add up.
    pub fn credit(&self, invoice: &str, note: CreditNote) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::credit(world, invoice, &note))
    }

    /// Voids a credit note.
    ///
    /// # Errors
    /// When it is void already, or its invoice is not open.
    pub fn void_credit_note(&self, credit_note: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::void_credit_note(world, credit_note))
    }

    /// Changes a customer's balance. A negative amount is a credit for the next invoice. Returns
    /// the transaction's id.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn adjust_balance(&self, customer: &str, amount: i64) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::adjust_balance(world, customer, amount))
    }
}
