//! What customers and vendors do with invoices.

use super::Double;
use crate::billing::checks::ActionError;
use crate::billing::{actions, invoice_actions};
use crate::card::Card;
use crate::deliveries::Order;
use crate::options::Pause;

impl Double {
    /// Pays an open invoice or a draft now, with the card that the subscription has.
    ///
    /// # Errors
    /// When it is not open. A declined card is no error; look at the invoice.
    pub fn pay_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| actions::pay_invoice(world, invoice))
    }

    /// Pays what is left of an invoice with this card, as its hosted page does: also after the
    /// subscription has ended, and after the invoice was written off.
    ///
    /// # Errors
    /// When it is neither open nor uncollectible. A declined card is no error; look at the invoice.
    pub fn pay_invoice_with(&self, invoice: &str, card: Card) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pay_with(world, invoice, card))
    }

    /// Pays a part of an invoice by a payment of its own, as the dashboard does; returns the
    /// payment intent.
    ///
    /// # Errors
    /// When it is not open, or owes less than that.
    pub fn pay_part(&self, invoice: &str, amount: i64, card: Card) -> Result<String, ActionError> {
        self.shared.write(|world| invoice_actions::pay_part(world, invoice, amount, card))
    }

    /// Notes that an invoice was paid outside of Stripe: what is left of it, or a part.
    ///
    /// # Errors
    /// When it is not open, or owes less than that.
    pub fn pay_out_of_band(&self, invoice: &str, amount: Option<i64>) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pay_out_of_band(world, invoice, amount))
    }

    /// Charges a customer for no invoice; returns the payment intent, which may pay one later.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn charge(&self, customer: &str, amount: i64, card: Card) -> Result<String, ActionError> {
        self.shared.write(|world| invoice_actions::charge(world, customer, amount, card))
    }

    /// Has a payment pay an invoice. What is too much goes to the customer's balance.
    ///
    /// # Errors
    /// When the invoice is not open, or the payment pays another.
    pub fn attach_payment(&self, invoice: &str, payment_intent: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::attach_payment(world, invoice, payment_intent))
    }

    /// Voids an invoice, which is forgiven by that.
    ///
    /// # Errors
    /// When it is neither open nor uncollectible.
    pub fn void_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::void(world, invoice))
    }

    /// Marks an invoice as uncollectible by hand.
    ///
    /// # Errors
    /// When it is not open.
    pub fn write_off_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::write_off(world, invoice))
    }

    /// Finalizes a draft without charging it.
    ///
    /// # Errors
    /// When it is no draft.
    pub fn finalize_invoice(&self, invoice: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::finalize(world, invoice))
    }

    /// Chooses the order in which the payments of an invoice are listed; Stripe promises none.
    pub fn list_payments(&self, order: Order) {
        self.shared.write(|world| world.payments_listed = order);
    }

    /// Chooses whether an invoice is written off when every retry of its payment has failed. What
    /// becomes of its subscription then is [`crate::Behavior::after_retries`].
    pub fn write_off_after_retries(&self, writes_off: bool) {
        self.shared.write(|world| world.writes_off_after_retries = writes_off);
    }

    /// Chooses what becomes of a subscription that is active while its first bank debit is under
    /// way, once that fails: its invoice is voided and it stays active, or it is past due and
    /// dunning begins. Stripe knows both
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

    /// Collects a subscription's payments again.
    ///
    /// # Errors
    /// When it has ended, or before its first payment.
    pub fn resume(&self, subscription: &str) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::pause(world, subscription, None))
    }

    /// Makes a long history at once: so many paid invoices of a customer, each of nothing, for no
    /// subscription, and without events.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn add_invoices(&self, customer: &str, count: usize) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::add_paid(world, customer, count))
    }

    /// The same of payments for no invoice, which have succeeded.
    ///
    /// # Errors
    /// When there is no such customer.
    pub fn add_payments(&self, customer: &str, count: usize) -> Result<(), ActionError> {
        self.shared.write(|world| invoice_actions::add_payments(world, customer, count))
    }
}
