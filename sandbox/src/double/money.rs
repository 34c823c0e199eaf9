//! What gives money back: refunds, disputes, credit notes, and the customer's balance. A payment is
//! named by its payment intent or its charge.

use super::Double;
use crate::billing::checks::ActionError;
use crate::billing::credit::CreditNote;
use crate::billing::dispute::Opening;
use crate::billing::money_actions;

impl Double {
    /// Gives a payment back, in part or what is left of it; returns the refund's id.
    ///
    /// # Errors
    /// When it did not succeed, or nothing is left of it.
    pub fn refund(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::refund(world, payment, amount, false))
    }

    /// The same by a bank that needs days: the refund is pending until it is settled.
    ///
    /// # Errors
    /// When the payment did not succeed, or nothing is left of it.
    pub fn refund_slowly(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::refund(world, payment, amount, true))
    }

    /// Has the bank decide a pending refund, or (with `false`) return one that had succeeded.
    ///
    /// # Errors
    /// When it is decided already.
    pub fn settle_refund(&self, refund: &str, succeeds: bool) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::settle_refund(world, refund, succeeds))
    }

    /// Has the bank open a dispute about all of a payment; returns its id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_dispute(&self, payment: &str) -> Result<String, ActionError> {
        let chargeback = Opening::Chargeback;
        self.shared.write(|world| money_actions::open_dispute(world, payment, None, chargeback))
    }

    /// Has the bank open a dispute about a part of a payment, or a little more than all of it after
    /// an exchange; returns its id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_dispute_about(&self, payment: &str, amount: i64) -> Result<String, ActionError> {
        let (amount, chargeback) = (Some(amount), Opening::Chargeback);
        self.shared.write(|world| money_actions::open_dispute(world, payment, amount, chargeback))
    }

    /// Has the bank ask about a payment without taking money; returns the dispute's id.
    ///
    /// # Errors
    /// When the payment did not succeed.
    pub fn open_inquiry(&self, payment: &str, amount: Option<i64>) -> Result<String, ActionError> {
        let inquiry = Opening::Inquiry;
        self.shared.write(|world| money_actions::open_dispute(world, payment, amount, inquiry))
    }

    /// Has the bank take the money that it asked about.
    ///
    /// # Errors
    /// When the dispute is no inquiry.
    pub fn escalate_inquiry(&self, dispute: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::escalate_inquiry(world, dispute))
    }

    /// Has the bank ask no more.
    ///
    /// # Errors
    /// When the dispute is no inquiry.
    pub fn close_inquiry(&self, dispute: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::close_inquiry(world, dispute))
    }

    /// Answers a dispute or an inquiry with evidence: it is under review.
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

    /// Issues a credit note for an invoice; returns its id. It lowers what is due first; the parts
    /// of `note` must add up to the rest.
    ///
    /// # Errors
    /// When the invoice is a draft or void, or the amounts do not add up.
    pub fn credit(&self, invoice: &str, note: CreditNote) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::credit(world, invoice, &note))
    }

    /// Takes a credit note back.
    ///
    /// # Errors
    /// When it is void, or its invoice is not open.
    pub fn void_credit_note(&self, credit_note: &str) -> Result<(), ActionError> {
        self.shared.write(|world| money_actions::void_credit_note(world, credit_note))
    }

    /// Changes a customer's balance: a negative amount is a credit for the next invoice. Returns
    /// the transaction's id.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn adjust_balance(&self, customer: &str, amount: i64) -> Result<String, ActionError> {
        self.shared.write(|world| money_actions::adjust_balance(world, customer, amount))
    }
}
