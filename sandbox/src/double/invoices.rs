//! The actions of customers and vendors on invoices, and long histories of them. Refunds and credit
//! notes are in `money`.

use super::Double;
use crate::billing::checks::ActionError;
use crate::billing::{actions, invoice_actions};
use crate::card::Card;
use crate::deliveries::Order;
use crate::options::Pause;

impl Double {
    /// Pays an open invoice or a draft now, with the card of its subscription.
    ///
    /// # Errors
    /// When it is neither open nor a draft. A declined card is no error: the invoice stays unpaid.
    pub fn pay_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::pay_invoice(world, invoice))
    }

    /// Pays the remaining amount of an invoice with this card, as its hosted page does. This is
    /// also possible after the subscription ended or the invoice was written off.
    ///
    /// # Errors
    /// When it is neither open nor uncollectible. A declined card is no error: the invoice stays
    /// unpaid.
    pub fn pay_invoice_with(&self, invoice: &str, card: Card) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pay_with(world, invoice, card))
    }

    /// Pays a part of an invoice by a separate payment, as the dashboard does. Returns the payment
    /// intent.
    ///
    /// # Errors
    /// When it is not open, or less is due.
    pub fn pay_part(&self, invoice: &str, amount: i64, card: Card) -> Result<String, ActionError> {
        self.shared.write(|world| invoice_actions::pay_part(world, invoice, amount, card))
    }

    /// Records that the remaining amount of an invoice, or a part of it, was paid outside of
    /// Stripe.
    ///
    /// # Errors
    /// When it is not open, or less is due.
    pub fn pay_out_of_band(&self, invoice: &str, amount: Option<i64>) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pay_out_of_band(world, invoice, amount))
    }

    /// Charges a customer without an invoice. Returns the payment intent, which can be attached to
    /// one later.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn charge(&self, customer: &str, amount: i64, card: Card) -> Result<String, ActionError> {
        self.shared.write(|world| invoice_actions::charge(world, customer, amount, card))
    }

    /// Attaches a payment to an invoice. An excess is credited to the customer's balance.
    ///
    /// # Errors
    /// When the invoice is not open, or the payment belongs to another.
    pub fn attach_payment(&self, invoice: &str, payment_intent: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::attach_payment(world, invoice, payment_intent))
    }

    /// Voids an invoice, which forgives it.
    ///
    /// # Errors
    /// When it is neither open nor uncollectible.
    pub fn void_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::void(world, invoice))
    }

    /// Marks an invoice as uncollectible, by the vendor's decision.
    ///
    /// # Errors
    /// When it is not open.
    pub fn write_off_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::write_off(world, invoice))
    }

    /// Finalizes a draft without charging it.
    ///
    /// # Errors
    /// When it is not a draft.
    pub fn finalize_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::finalize(world, invoice))
    }

    /// Sets the order in which the payments of an invoice are listed. Stripe documents none.
    pub fn list_payments(&self, order: Order) {
        self.shared.write(|world| world.payment_order = order);
    }

    /// Sets whether an invoice is written off when the last retry of its payment fails. The state
    /// of its subscription is [`crate::Behavior::after_retries`].
    pub fn write_off_after_retries(&self, writes_off: bool) {
        self.shared.write(|world| world.writes_off_after_retries = writes_off);
    }

    /// Sets the effect of a failed first bank debit, while its subscription is active already. With
    /// `true` its invoice is voided and the subscription stays active. Otherwise it is past due and
    /// dunning begins. Stripe documents both
    /// (<https://docs.stripe.com/billing/subscriptions/overview>).
    pub fn void_failed_first_debits(&self, voids: bool) {
        self.shared.write(|world| world.voids_failed_first_debits = voids);
    }

    /// Pauses the collection of a subscription's payments.
    ///
    /// # Errors
    /// When it has ended, or before its first payment.
    pub fn pause(&self, subscription: &str, pause: Pause) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pause(world, subscription, Some(pause)))
    }

    /// Resumes the collection of a subscription's payments.
    ///
    /// # Errors
    /// When it has ended, or before its first payment.
    pub fn resume(&self, subscription: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pause(world, subscription, None))
    }

    /// Creates `count` paid invoices of a customer: over nothing, without a subscription, and
    /// without events.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn add_invoices(&self, customer: &str, count: usize) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::add_paid(world, customer, count))
    }

    /// Creates `count` successful payments of a customer, without invoices and without events.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn add_payments(&self, customer: &str, count: usize) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::add_payments(world, customer, count))
    }
}
