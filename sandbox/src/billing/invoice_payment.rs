//! The payments of an invoice: one by default, for the whole amount due, and any number of others
//! (<https://docs.stripe.com/invoicing/partial-payments>). The invoice itself is in `invoice`.

use serde_json::{Value, json};

use super::payment;
use crate::objects::{Kind, integer, put, text};
use crate::world::{Payment, World};

/// Attaches a payment to an invoice. `payment` is the field of that name, `intent` the payment's
/// id.
pub fn attach(
    world: &mut World,
    invoice: &str,
    (payment, intent): (Value, &str),
    amount: i64,
    is_default: bool,
) {
    let fields = json!({
        "amount_requested": amount,
        "currency": world.get(Kind::Invoice, invoice)["currency"],
        "invoice": invoice,
        "is_default": is_default,
        "payment": payment,
    });
    let invoice_payment = world.insert(Kind::InvoicePayment, fields);
    world.link_payment(invoice, Payment { intent: intent.to_owned(), invoice_payment });
}

/// Whether a payment is the default payment of an invoice.
pub fn is_default(world: &World, invoice: &str, intent: &str) -> bool {
    world.payment_of(invoice).is_some_and(|payment| payment.intent == intent)
}

/// Applies a successful payment to an invoice that needs at most `needed`. Returns the amount that
/// the invoice took, and the excess.
pub fn receive(world: &mut World, invoice: &str, intent: &str, needed: i64) -> (i64, i64) {
    let payments = world.payments_of(invoice);
    let Some(payment) = payments.iter().find(|payment| payment.intent == intent).cloned() else {
        return (0, 0);
    };
    let id = payment.invoice_payment;
    let requested = integer(world.get(Kind::InvoicePayment, &id), "amount_requested");
    let taken = requested.min(needed);
    let now = world.now;
    world.update(Kind::InvoicePayment, &id, |payment| {
        put(&mut payment["status_transitions"], json!({ "paid_at": now }));
        put(payment, json!({ "amount_paid": taken, "status": "paid" }));
    });
    world.announce(Kind::InvoicePayment, &id, "invoice_payment.paid");
    (taken, requested - taken)
}

/// Returns the open payments, and the status of their payment intents.
fn waiting(world: &World, invoice: &str) -> Vec<(Payment, String)> {
    let open = |payment: &&Payment| {
        world.get(Kind::InvoicePayment, &payment.invoice_payment)["status"] == "open"
    };
    let waiting = world.payments_of(invoice).iter().filter(open);
    let status = |payment: &Payment| {
        text(world.get(Kind::PaymentIntent, &payment.intent), "status").to_owned()
    };
    waiting.map(|payment| (payment.clone(), status(payment))).collect()
}

/// Lowers the default payment of an invoice to the remaining amount.
pub fn resize(world: &mut World, invoice: &str, remaining: i64) {
    let Some(default) = world.payment_of(invoice).cloned() else { return };
    for (payment, status) in waiting(world, invoice) {
        if payment.intent == default.intent && status != "processing" && status != "canceled" {
            let requested = json!({ "amount_requested": remaining });
            world.set(Kind::InvoicePayment, &payment.invoice_payment, requested);
            world.set(Kind::PaymentIntent, &payment.intent, json!({ "amount": remaining }));
        }
    }
}

/// Cancels the open payments of an invoice. A debit that the bank is processing continues, unless
/// the invoice is voided.
pub fn cancel(world: &mut World, invoice: &str, reason: &str) {
    let now = world.now;
    for (waiting, status) in waiting(world, invoice) {
        let voided = reason == "void_invoice";
        if status == "succeeded" || (status == "processing" && !voided) {
            continue;
        }
        world.update(Kind::InvoicePayment, &waiting.invoice_payment, |payment| {
            put(&mut payment["status_transitions"], json!({ "canceled_at": now }));
            put(payment, json!({ "status": "canceled" }));
        });
        if status != "canceled" {
            payment::cancel(world, &waiting.intent, reason);
        }
    }
}
