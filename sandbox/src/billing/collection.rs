//! Collection: invoices are paid, and what a payment means for the invoice, its subscription and
//! the checkout session that it began with.

use serde_json::json;

use super::payment::{self, Outcome, Presence};
use super::{customer, ending, invoice, invoice_payment, session, subscription};
use crate::objects::{Kind, integer, text};
use crate::options::AfterRetries;
use crate::world::{Timer, World};

const DAY: i64 = 86_400;

/// A failed payment is tried again after so many days each.
const RETRY_AFTER_DAYS: [i64; 3] = [3, 5, 7];

/// Who tries to pay. What people do after the first attempt leaves the schedule of retries alone
/// (<https://docs.stripe.com/api/invoices/object#invoice_object-attempt_count>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Stripe does, when it is time.
    Scheduled,
    /// Somebody does, on a page or by the API.
    ByHand,
}

/// Finalizes a draft; nothing is charged.
pub fn finalize(world: &mut World, id: &str) {
    if text(world.get(Kind::Invoice, id), "status") == "draft" {
        invoice::finalize(world, id);
        follow(world, id);
    }
}

/// Finalizes an invoice if it is a draft, and charges it unless it is sent to the customer.
pub fn advance(world: &mut World, id: &str) {
    finalize(world, id);
    let invoice = world.get(Kind::Invoice, id);
    if invoice["status"] == "open" && invoice["collection_method"] != "send_invoice" {
        pay(world, id, Presence::OffSession, Attempt::Scheduled);
    }
}

/// Tries to pay an invoice, finalizing it if it is a draft, with the method that its subscription
/// has.
pub fn pay(world: &mut World, id: &str, presence: Presence, attempt: Attempt) {
    let method = customer::paying_method(world, id);
    pay_by(world, id, method.as_deref(), presence, attempt);
}

/// Tries to pay what is left of an invoice with a certain method.
pub fn pay_by(
    world: &mut World,
    id: &str,
    method: Option<&str>,
    presence: Presence,
    attempt: Attempt,
) {
    finalize(world, id);
    if !invoice::is_unpaid(world.get(Kind::Invoice, id)) {
        return;
    }
    let Some(intent) = invoice::payment_intent(world, id) else { return };
    let attempts = integer(world.get(Kind::Invoice, id), "attempt_count");
    // The first attempt counts in any case.
    let counts = attempts == 0 || attempt == Attempt::Scheduled;
    let attempts = attempts + i64::from(counts);
    world.set(Kind::Invoice, id, json!({ "attempt_count": attempts, "attempted": true }));
    let outcome = match method {
        Some(method) => payment::attempt(world, &intent, method, presence),
        None => payment::fail(world, &intent),
    };
    if outcome == Outcome::Failed && !counts {
        world.announce(Kind::Invoice, id, "invoice.payment_failed");
        return;
    }
    note(world, &intent, outcome);
}

/// Pays a part of an invoice by a payment of its own; returns the payment intent.
pub fn pay_part(world: &mut World, id: &str, amount: i64, method: &str) -> String {
    let object = world.get(Kind::Invoice, id).clone();
    let (customer, currency) = (text(&object, "customer"), text(&object, "currency"));
    let intent = payment::create(world, customer, (amount, currency), "Part of an invoice");
    attach(world, id, &intent);
    let outcome = payment::attempt(world, &intent, method, Presence::OnSession);
    note(world, &intent, outcome);
    intent
}

/// Has a payment intent pay an invoice; at once, if its money is here.
pub fn attach(world: &mut World, id: &str, intent: &str) {
    let payment = world.get(Kind::PaymentIntent, intent);
    let (amount, is_paid) = (integer(payment, "amount"), payment["status"] == "succeeded");
    let named = json!({ "type": "payment_intent", "payment_intent": intent });
    invoice_payment::attach(world, id, (named, intent), amount, false);
    if is_paid {
        note(world, intent, Outcome::Succeeded);
    }
}

/// An invoice is paid outside of Stripe, which records that as a payment of its own
/// (<https://docs.stripe.com/changelog/dahlia/2026-05-27/invoice-object-amount-paid-off-stripe-property>).
pub fn pay_out_of_band(world: &mut World, id: &str, amount: i64) {
    let money = json!({ "currency": world.get(Kind::Invoice, id)["currency"], "value": amount });
    let fields = json!({
        "amount": money,
        "amount_guaranteed": money,
        "amount_requested": money,
        "customer_details": {
            "customer": world.get(Kind::Invoice, id)["customer"],
            "email": null,
            "name": null,
            "phone": null,
        },
    });
    let record = world.insert(Kind::PaymentRecord, fields);
    let named = json!({ "type": "payment_record", "payment_record": record });
    invoice_payment::attach(world, id, (named, &record), amount, false);
    received(world, id, &record);
}

/// The vendor forgives an invoice: it is void.
pub fn void(world: &mut World, id: &str) {
    invoice::void(world, id);
    let sub = invoice::subscription_of(world, id);
    if world.get(Kind::Subscription, &sub)["status"] == "incomplete" {
        ending::expire_incomplete(world, &sub);
    }
    follow(world, id);
}

/// The vendor writes an invoice off.
pub fn write_off(world: &mut World, id: &str) {
    invoice::mark_uncollectible(world, id, "user_forgiven");
    follow(world, id);
}

/// A credit note lowers an invoice.
pub fn lower(world: &mut World, id: &str, by: i64) {
    invoice::lower(world, id, by);
    follow(world, id);
}

/// The bank or the customer decides a payment that waits for that.
pub fn settle(world: &mut World, intent: &str, succeeds: bool) {
    let delayed = text(world.get(Kind::PaymentIntent, intent), "status") == "processing";
    let outcome =
        if succeeds { payment::succeed(world, intent) } else { payment::fail(world, intent) };
    let first = world
        .invoice_of(intent)
        .filter(|id| world.get(Kind::Invoice, id)["billing_reason"] == "subscription_create");
    match first {
        Some(id) if delayed && !succeeds && world.voids_failed_first_debits => {
            world.announce(Kind::Invoice, &id, "invoice.payment_failed");
            invoice::void(world, &id);
        }
        _ => note(world, intent, outcome),
    }
    if let Some(id) = world.invoice_of(intent).filter(|_| delayed && !succeeds) {
        session::payment_settled(world, &id, false);
    }
}

/// What the outcome of a payment means for the invoice that it pays.
fn note(world: &mut World, intent: &str, outcome: Outcome) {
    let Some(id) = world.invoice_of(intent) else { return };
    let sub = invoice::subscription_of(world, &id);
    // A payment that was added is the vendor's own business: nothing is retried.
    let is_default = invoice_payment::is_default(world, &id, intent);
    match outcome {
        Outcome::Succeeded => received(world, &id, intent),
        Outcome::ActionRequired if is_default => {
            world.announce(Kind::Invoice, &id, "invoice.payment_action_required");
        }
        Outcome::Processing if is_default => subscription::payment_is_processing(world, &sub),
        Outcome::Failed if is_default => payment_failed(world, &sub, &id),
        Outcome::ActionRequired | Outcome::Processing | Outcome::Failed => {}
    }
}

fn received(world: &mut World, id: &str, intent: &str) {
    invoice::received(world, id, intent);
    follow(world, id);
    if world.get(Kind::Invoice, id)["status"] == "paid" {
        session::payment_settled(world, id, true);
    }
}

fn follow(world: &mut World, id: &str) {
    let sub = invoice::subscription_of(world, id);
    subscription::follow_invoices(world, &sub);
}

/// A sent invoice was not paid when it was due
/// (<https://docs.stripe.com/api/subscriptions/object#subscription_object-status>).
pub fn overdue(world: &mut World, id: &str) {
    let invoice = world.get(Kind::Invoice, id);
    let sub = invoice::subscription_of(world, id);
    let subscription = world.get(Kind::Subscription, &sub);
    let is_latest = subscription["latest_invoice"] == id;
    if invoice["status"] == "open" && is_latest && subscription["status"] == "active" {
        subscription::set_status(world, &sub, "past_due");
    }
}

/// A payment of one of its invoices failed. A first payment is left to the customer, any other
/// is tried again, and in the end the account's setting decides.
fn payment_failed(world: &mut World, sub: &str, invoice: &str) {
    let status = text(world.get(Kind::Subscription, sub), "status").to_owned();
    let object = world.get(Kind::Invoice, invoice);
    let attempts = integer(object, "attempt_count");
    // What is sent, forgiven or left to the vendor is not retried.
    let is_collected = object["status"] == "open"
        && object["collection_method"] != "send_invoice"
        && object["auto_advance"] == true;
    let retry = usize::try_from(attempts - 1).ok().and_then(|made| RETRY_AFTER_DAYS.get(made));
    let retries = is_collected && matches!(status.as_str(), "active" | "past_due" | "trialing");
    let next = retry.filter(|_| retries).map(|days| world.now + days * DAY);
    world.set(Kind::Invoice, invoice, json!({ "next_payment_attempt": next }));
    world.announce(Kind::Invoice, invoice, "invoice.payment_failed");
    if !retries {
        return;
    }
    if let Some(at) = next {
        world.schedule(at, Timer::RetryPayment(invoice.to_owned()));
        subscription::set_status(world, sub, "past_due");
        return;
    }
    if world.writes_off_after_retries {
        invoice::mark_uncollectible(world, invoice, "max_payment_attempts");
    }
    match world.behavior.after_retries {
        AfterRetries::PastDue => subscription::set_status(world, sub, "past_due"),
        AfterRetries::Unpaid => subscription::set_status(world, sub, "unpaid"),
        AfterRetries::Cancel => ending::end(world, sub, "payment_failed"),
    }
}

/// A retry is due, unless the invoice was paid or given up meanwhile.
pub fn retry(world: &mut World, invoice: &str) {
    let object = world.get(Kind::Invoice, invoice);
    let due = object["next_payment_attempt"].as_i64().is_some_and(|at| at <= world.now);
    if object["status"] == "open" && due {
        pay(world, invoice, Presence::OffSession, Attempt::Scheduled);
    }
}
