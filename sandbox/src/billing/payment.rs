//! Payments: attempts on a payment intent, and their results. Their effect on an invoice is in
//! `collection`.

use serde_json::{Value, json};

use crate::card::Card;
use crate::objects::{Kind, integer, list, text, with};
use crate::world::{Timer, World};

/// The time that a bank debit takes, in seconds.
pub const DELAYED_SETTLES_AFTER_SECONDS: i64 = 3 * 86_400;

/// Whether the customer is there to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The customer is on the page.
    OnSession,
    /// The customer is absent, as at a renewal.
    OffSession,
}

/// Creates a payment intent. A guest's has no customer. `more` are further fields. Returns its id.
pub fn create(
    world: &mut World,
    customer: Option<&str>,
    (amount, currency): (i64, &str),
    more: Value,
) -> String {
    let intent = world.id(Kind::PaymentIntent.prefix());
    let secret = world.id(&format!("{intent}_secret_"));
    let fields = json!({
        "amount": amount,
        "client_secret": secret,
        "currency": currency,
        "customer": customer,
    });
    world.insert_as(Kind::PaymentIntent, &intent, with(fields, more));
    world.announce(Kind::PaymentIntent, &intent, "payment_intent.created");
    intent
}

/// Cancels a payment that has not succeeded, for one of Stripe's reasons
/// (<https://docs.stripe.com/api/payment_intents/object#payment_intent_object-cancellation_reason>).
pub fn cancel(world: &mut World, intent: &str, reason: &str) {
    let fields = json!({
        "canceled_at": world.now,
        "cancellation_reason": reason,
        "next_action": null,
        "status": "canceled",
    });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.canceled");
}

/// The result of an attempt to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The payment succeeded.
    Succeeded,
    /// The customer must authenticate.
    ActionRequired,
    /// The bank decides in some days.
    Processing,
    /// The payment was declined, not authenticated, or returned by the bank.
    Failed,
}

/// Tries a payment with a payment method.
pub fn attempt(
    world: &mut World,
    intent: &str,
    method: &str,
    presence: Presence,
) -> PaymentOutcome {
    let card = world.cards.get(method).copied().unwrap_or(Card::Declined);
    let fields = json!({ "payment_method": method, "payment_method_types": [card.method_type()] });
    world.set(Kind::PaymentIntent, intent, fields);
    match card {
        Card::Authenticate if presence == Presence::OnSession => {
            ask_for_authentication(world, intent);
            PaymentOutcome::ActionRequired
        }
        Card::Paid | Card::PaidMastercard | Card::PaidAmex | Card::Authenticate => {
            succeed(world, intent)
        }
        Card::Declined | Card::DeclinedLater => fail(world, intent),
        Card::DelayedPaid | Card::DelayedFailed => {
            start_processing(world, intent);
            PaymentOutcome::Processing
        }
    }
}

fn ask_for_authentication(world: &mut World, intent: &str) {
    let page = format!("{}/authenticate/{intent}", world.url);
    let next_action = json!({
        "type": "redirect_to_url",
        "redirect_to_url": { "return_url": null, "url": page },
    });
    let fields = json!({ "next_action": next_action, "status": "requires_action" });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.requires_action");
}

fn start_processing(world: &mut World, intent: &str) {
    let fields = json!({ "status": "processing", "next_action": null });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.processing");
    let settles = world.now + DELAYED_SETTLES_AFTER_SECONDS;
    world.schedule(settles, Timer::PaymentSettles(intent.to_owned()));
}

/// Lets a payment succeed.
pub fn succeed(world: &mut World, intent: &str) -> PaymentOutcome {
    let charge = charge(world, intent, None);
    let fields = json!({
        "amount_received": world.get(Kind::PaymentIntent, intent)["amount"],
        "last_payment_error": null,
        "latest_charge": charge,
        "next_action": null,
        "status": "succeeded",
    });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.succeeded");
    PaymentOutcome::Succeeded
}

/// Lets a payment fail: declined, not authenticated, or returned by the bank.
pub fn fail(world: &mut World, intent: &str) -> PaymentOutcome {
    let charge = charge(world, intent, Some("card_declined"));
    let error = json!({
        "charge": charge,
        "code": "card_declined",
        "decline_code": "generic_decline",
        "doc_url": "https://docs.stripe.com/error-codes/card-declined",
        "message": "Your card was declined.",
        "type": "card_error",
    });
    let fields = json!({
        "last_payment_error": error,
        "latest_charge": charge,
        "next_action": null,
        "payment_method": null,
        "status": "requires_payment_method",
    });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.payment_failed");
    PaymentOutcome::Failed
}

fn charge(world: &mut World, intent: &str, failure: Option<&str>) -> String {
    let payment = world.get(Kind::PaymentIntent, intent).clone();
    let method = text(&payment, "payment_method");
    let card = world.cards.get(method).copied().unwrap_or(Card::Declined);
    let paid = failure.is_none();
    let mut fields = json!({
        "amount": payment["amount"],
        "amount_captured": if paid { integer(&payment, "amount") } else { 0 },
        "captured": paid,
        "currency": payment["currency"],
        "customer": payment["customer"],
        "description": payment["description"],
        "failure_code": failure,
        "failure_message": failure.map(|_| "Your card was declined."),
        "paid": paid,
        "payment_intent": intent,
        "payment_method": payment["payment_method"],
        "payment_method_details": card.charge_details(),
        "status": if paid { "succeeded" } else { "failed" },
    });
    if !paid {
        fields["outcome"] = declined_outcome();
    }
    let event = if paid { "charge.succeeded" } else { "charge.failed" };
    let id = world.id(Kind::Charge.prefix());
    fields["receipt_url"] = Value::from(format!("{}/receipt/{id}", world.documents_url));
    fields["refunds"] = list(Vec::new(), false, &format!("/v1/charges/{id}/refunds"));
    if paid {
        fields["balance_transaction"] = Value::from(world.id("txn_"));
    }
    world.insert_as(Kind::Charge, &id, fields);
    world.announce(Kind::Charge, &id, event);
    id
}

fn declined_outcome() -> Value {
    json!({
        "advice_code": null,
        "network_advice_code": null,
        "network_decline_code": null,
        "network_status": "declined_by_network",
        "reason": "generic_decline",
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    })
}
