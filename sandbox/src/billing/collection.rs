//! Collection: pays invoices, and applies the result to the invoice, its subscription and its
//! checkout session. A single payment is in `payment`.

use serde_json::json;

use super::payment::{self, PaymentOutcome, Presence};
use super::{
    customer, ending, invoice, invoice_payment, one_time, pending_update, resumption, session,
    subscription,
};
use crate::objects::{Kind, integer, text};
use crate::options::AfterRetries;
use crate::world::{Timer, World};

const DAY_SECONDS: i64 = 86_400;

/// The days until each retry of a failed payment.
const RETRY_AFTER_DAYS: [i64; 3] = [3, 5, 7];

/// The initiator of an attempt to pay. Manual attempts after the first one do not change the
/// schedule of retries
/// (<https://docs.stripe.com/api/invoices/object#invoice_object-attempt_count>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Stripe, at the scheduled time.
    Scheduled,
    /// A customer or a vendor, on a page or by the API.
    Manual,
}

/// Finalizes a draft without charging it.
pub fn finalize(world: &mut World, id: &str) {
    if text(world.get(Kind::Invoice, id), "status") == "draft" && !world.is_preview {
        invoice::finalize(world, id);
        update_subscription(world, id);
    }
}

/// Finalizes an invoice if it is a draft. Charges it, unless it is sent to the customer.
pub fn advance(world: &mut World, id: &str) {
    finalize(world, id);
    let invoice = world.get(Kind::Invoice, id);
    if invoice["status"] == "open" && invoice["collection_method"] != "send_invoice" {
        pay(world, id, Presence::OffSession, Attempt::Scheduled);
    }
}

/// Tries to pay an invoice with the payment method of its subscription. Finalizes a draft first.
pub fn pay(world: &mut World, id: &str, presence: Presence, attempt: Attempt) {
    let method = customer::paying_method(world, id);
    pay_by(world, id, method.as_deref(), presence, attempt);
}

/// Tries to pay the remaining amount of an invoice with this payment method.
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
    // The first attempt always counts.
    let counts = attempts == 0 || attempt == Attempt::Scheduled;
    let attempts = attempts + i64::from(counts);
    world.set(Kind::Invoice, id, json!({ "attempt_count": attempts, "attempted": true }));
    let outcome = match method {
        Some(method) => payment::attempt(world, &intent, method, presence),
        None => payment::fail(world, &intent),
    };
    if outcome == PaymentOutcome::Failed && !counts {
        world.announce(Kind::Invoice, id, "invoice.payment_failed");
        return;
    }
    apply_outcome(world, &intent, outcome);
}

/// Pays a part of an invoice by a separate payment. Returns the payment intent.
pub fn pay_part(world: &mut World, id: &str, amount: i64, method: &str) -> String {
    let object = world.get(Kind::Invoice, id).clone();
    let (customer, currency) = (text(&object, "customer"), text(&object, "currency"));
    let more = json!({ "description": "Part of an invoice" });
    let intent = payment::create(world, Some(customer), (amount, currency), more);
    attach(world, id, &intent);
    let outcome = payment::attempt(world, &intent, method, Presence::OnSession);
    apply_outcome(world, &intent, outcome);
    intent
}

/// Attaches a payment intent to an invoice. If it has succeeded already, the invoice is paid by it.
pub fn attach(world: &mut World, id: &str, intent: &str) {
    let payment = world.get(Kind::PaymentIntent, intent);
    let (amount, is_paid) = (integer(payment, "amount"), payment["status"] == "succeeded");
    let named = json!({ "type": "payment_intent", "payment_intent": intent });
    invoice_payment::attach(world, id, (named, intent), amount, false);
    if is_paid {
        apply_outcome(world, intent, PaymentOutcome::Succeeded);
    }
}

/// Records a payment outside of Stripe, as a payment record
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
    record_payment(world, id, &record);
}

/// Voids an invoice. The first invoice of an incomplete subscription ends it.
pub fn void(world: &mut World, id: &str) {
    invoice::void(world, id);
    if let Some(sub) = invoice::subscription_of(world, id) {
        ending::expire_incomplete(world, &sub);
    }
    update_subscription(world, id);
}

/// Writes an invoice off, by the vendor's decision.
pub fn write_off(world: &mut World, id: &str) {
    invoice::mark_uncollectible(world, id, "user_forgiven");
    update_subscription(world, id);
}

/// Lowers the amount due of an invoice, because of a credit note.
pub fn lower_amount_due(world: &mut World, id: &str, by: i64) {
    invoice::lower_amount_due(world, id, by);
    update_subscription(world, id);
}

/// Applies the decision of the bank or the customer to a payment that waits for it.
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
        _ => apply_outcome(world, intent, outcome),
    }
    if let Some(id) = world.invoice_of(intent).filter(|_| delayed && !succeeds) {
        session::settle_payment(world, &id, false);
    }
}

/// Applies the result of a payment to the invoice that it pays, or to its checkout session.
fn apply_outcome(world: &mut World, intent: &str, outcome: PaymentOutcome) {
    let Some(id) = world.invoice_of(intent) else {
        one_time::apply_outcome(world, intent, outcome);
        return;
    };
    // A payment that the vendor added is not retried.
    let is_default = invoice_payment::is_default(world, &id, intent);
    match outcome {
        PaymentOutcome::Succeeded => record_payment(world, &id, intent),
        PaymentOutcome::ActionRequired if is_default => {
            world.announce(Kind::Invoice, &id, "invoice.payment_action_required");
        }
        PaymentOutcome::Processing if is_default => {
            if let Some(sub) = invoice::subscription_of(world, &id) {
                subscription::activate_while_processing(world, &sub);
            }
        }
        PaymentOutcome::Failed if is_default => payment_failed(world, &id),
        PaymentOutcome::ActionRequired | PaymentOutcome::Processing | PaymentOutcome::Failed => {}
    }
}

fn record_payment(world: &mut World, id: &str, intent: &str) {
    invoice::record_payment(world, id, intent);
    update_subscription(world, id);
    if world.get(Kind::Invoice, id)["status"] == "paid" {
        session::settle_payment(world, id, true);
    }
}

fn update_subscription(world: &mut World, id: &str) {
    if let Some(sub) = invoice::subscription_of(world, id) {
        subscription::update_from_invoices(world, &sub);
        pending_update::settle(world, &sub, id);
    }
}

/// Marks the subscription of a sent invoice as past due, when its due date has passed
/// (<https://docs.stripe.com/api/subscriptions/object#subscription_object-status>).
pub fn mark_overdue(world: &mut World, id: &str) {
    let invoice = world.get(Kind::Invoice, id);
    let Some(sub) = invoice::subscription_of(world, id) else { return };
    let subscription = world.get(Kind::Subscription, &sub);
    let is_latest = subscription["latest_invoice"] == id;
    if invoice["status"] == "open" && is_latest && subscription["status"] == "active" {
        subscription::set_status(world, &sub, "past_due");
    }
}

/// Handles a failed payment of an invoice. The first payment of a subscription is not retried.
/// Other payments are retried, and after the last retry the account's setting applies.
fn payment_failed(world: &mut World, invoice: &str) {
    // Without a subscription nothing is retried.
    let sub = invoice::subscription_of(world, invoice).unwrap_or_default();
    let sub = sub.as_str();
    if pending_update::is_billed_by(world, sub, invoice) {
        world.announce(Kind::Invoice, invoice, "invoice.payment_failed");
        return;
    }
    let status = text(world.get(Kind::Subscription, sub), "status").to_owned();
    let object = world.get(Kind::Invoice, invoice);
    let attempts = integer(object, "attempt_count");
    // Sent, forgiven and unmanaged invoices are not retried.
    let is_collected = object["status"] == "open"
        && object["collection_method"] != "send_invoice"
        && object["auto_advance"] == true;
    let retry = usize::try_from(attempts - 1).ok().and_then(|made| RETRY_AFTER_DAYS.get(made));
    let retries = is_collected && matches!(status.as_str(), "active" | "past_due" | "trialing");
    let next = retry.filter(|_| retries).map(|days| world.now + days * DAY_SECONDS);
    world.set(Kind::Invoice, invoice, json!({ "next_payment_attempt": next }));
    world.announce(Kind::Invoice, invoice, "invoice.payment_failed");
    if resumption::fail(world, sub, invoice) || !retries {
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

/// Retries a payment, unless the invoice has been paid or given up meanwhile.
pub fn retry(world: &mut World, invoice: &str) {
    let object = world.get(Kind::Invoice, invoice);
    let due = object["next_payment_attempt"].as_i64().is_some_and(|at| at <= world.now);
    if object["status"] == "open" && due {
        pay(world, invoice, Presence::OffSession, Attempt::Scheduled);
    }
}
