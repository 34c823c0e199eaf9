//! Collection: invoices are paid, and what a payment means for the invoice, its subscription and the
//! checkout session that it began with.

use serde_json::json;

use super::payment::{self, Outcome, Presence};
use super::{customer, ending, invoice, session, subscription};
use crate::objects::{Kind, integer, text};
use crate::options::AfterRetries;
use crate::world::{Timer, World};

const DAY: i64 = 86_400;

/// A failed payment is tried again after so many days each.
const RETRY_AFTER_DAYS: [i64; 3] = [3, 5, 7];

/// Tries to pay an invoice, finalizing it if it is a draft, with the method that its subscription has.
pub fn pay(world: &mut World, id: &str, presence: Presence) {
    let sub = invoice::subscription_of(world, id);
    if text(world.get(Kind::Invoice, id), "status") == "draft" {
        invoice::finalize(world, id);
        subscription::invoice_paid(world, &sub);
    }
    let Some(intent) = invoice::payment_intent(world, id) else { return };
    let attempts = integer(world.get(Kind::Invoice, id), "attempt_count") + 1;
    world.set(Kind::Invoice, id, json!({ "attempt_count": attempts, "attempted": true }));
    let outcome = match customer::paying_method(world, &sub) {
        Some(method) => payment::attempt(world, &intent, &method, presence),
        None => payment::fail(world, &intent),
    };
    note(world, &intent, outcome);
}

/// The bank or the customer decides a payment that waits for that.
pub fn settle(world: &mut World, intent: &str, succeeds: bool) {
    let delayed = text(world.get(Kind::PaymentIntent, intent), "status") == "processing";
    let outcome =
        if succeeds { payment::succeed(world, intent) } else { payment::fail(world, intent) };
    note(world, intent, outcome);
    if let Some(id) = world.invoice_of(intent).filter(|_| delayed && !succeeds) {
        session::payment_settled(world, &id, false);
    }
}

/// What the outcome of a payment means for the invoice that it pays.
fn note(world: &mut World, intent: &str, outcome: Outcome) {
    let Some(id) = world.invoice_of(intent) else { return };
    let sub = invoice::subscription_of(world, &id);
    match outcome {
        Outcome::Succeeded => {
            invoice::mark_paid(world, &id);
            subscription::invoice_paid(world, &sub);
            session::payment_settled(world, &id, true);
        }
        Outcome::ActionRequired => {
            world.announce(Kind::Invoice, &id, "invoice.payment_action_required");
        }
        Outcome::Processing => subscription::payment_is_processing(world, &sub),
        Outcome::Failed => payment_failed(world, &sub, &id),
    }
}

/// A payment of one of its invoices failed. A first payment is left to the customer, any other
/// is tried again, and in the end the account's setting decides.
fn payment_failed(world: &mut World, sub: &str, invoice: &str) {
    let status = text(world.get(Kind::Subscription, sub), "status").to_owned();
    let attempts = integer(world.get(Kind::Invoice, invoice), "attempt_count");
    let retry = usize::try_from(attempts - 1).ok().and_then(|made| RETRY_AFTER_DAYS.get(made));
    let retries = matches!(status.as_str(), "active" | "past_due" | "trialing");
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
        pay(world, invoice, Presence::OffSession);
    }
}
