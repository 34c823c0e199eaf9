//! Payments: an attempt on a payment intent, and what becomes of it.

use serde_json::{Value, json};

use crate::card::Card;
use crate::objects::{Kind, integer, list, text};
use crate::world::{Timer, World};

/// How long a bank debit takes.
pub const DELAYED_SETTLES_AFTER: i64 = 3 * 86_400;

/// Whether the customer is there to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The customer sits in front of the page.
    OnSession,
    /// The clock does it.
    OffSession,
}

/// Makes a payment intent; returns its id.
pub fn create(
    world: &mut World,
    customer: &str,
    (amount, currency): (i64, &str),
    description: &str,
) -> String {
    let intent = world.id(Kind::PaymentIntent.prefix());
    let secret = world.id(&format!("{intent}_secret_"));
    let fields = json!({
        "amount": amount,
        "client_secret": secret,
        "currency": currency,
        "customer": customer,
        "description": description,
    });
    world.insert_as(Kind::PaymentIntent, &intent, fields);
    world.announce(Kind::PaymentIntent, &intent, "payment_intent.created");
    intent
}

/// What came of an attempt to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The money came in.
    Succeeded,
    /// The customer must authenticate.
    ActionRequired,
    /// The bank decides in a few days.
    Processing,
    /// It was declined, not authenticated, or returned by the bank.
    Failed,
}

/// Tries a payment with a method.
pub fn attempt(world: &mut World, intent: &str, method: &str, presence: Presence) -> Outcome {
    let card = world.cards.get(method).copied().unwrap_or(Card::Declined);
    let fields = json!({ "payment_method": method, "payment_method_types": [card.method_type()] });
    world.set(Kind::PaymentIntent, intent, fields);
    match card {
        Card::Authenticate if presence == Presence::OnSession => {
            ask_for_authentication(world, intent);
            Outcome::ActionRequired
        }
        Card::Paid | Card::Authenticate => succeed(world, intent),
        Card::Declined | Card::DeclinedLater => fail(world, intent),
        Card::DelayedPaid | Card::DelayedFailed => {
            start_processing(world, intent);
            Outcome::Processing
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
    let settles = world.now + DELAYED_SETTLES_AFTER;
    world.schedule(settles, Timer::PaymentSettles(intent.to_owned()));
}

/// The money came in.
pub fn succeed(world: &mut World, intent: &str) -> Outcome {
    let charge = charge(world, intent, None);
    let fields = json!({
        "amount_received": world.get(Kind::PaymentIntent, intent)["amount"],
        "last_payment_error": null,
        "latest_charge": charge,
        "next_action": null,
        "status": "succeeded",
    });
    world.change(Kind::PaymentIntent, intent, fields, "payment_intent.succeeded");
    Outcome::Succeeded
}

/// The payment failed: declined, not authenticated, or returned by the bank.
pub fn fail(world: &mut World, intent: &str) -> Outcome {
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
    Outcome::Failed
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
    fields["receipt_url"] = Value::from(format!("{}/receipt/{id}", world.url));
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
