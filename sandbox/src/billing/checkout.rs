//! Checkout sessions: an attempt to pay, completion, expiry.

use serde_json::{Value, json};

use super::invoice;
use super::payment::Presence;
use super::subscription::{self, NewSubscription};
use super::{attach_card, customer};
use crate::card::Card;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// What came of an attempt to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paid {
    /// The session is complete; the money is here, or not needed, or (by a bank debit) on its way.
    Completed,
    /// The card was declined; the session is still open.
    Declined,
    /// The payment intent waits for 3-D Secure; the session is still open.
    AuthenticationRequired {
        /// The payment intent.
        payment_intent: String,
    },
}

/// Tries to pay an open session. The email is the customer's, if the session has none yet.
pub fn submit(world: &mut World, session: &str, card: Card, email: &str) -> Paid {
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    if card == Card::Declined && offer.trial_days > 0 {
        return Paid::Declined; // Nothing is due, but a card that is declined cannot be stored.
    }
    let customer = ensure_customer(world, session, email);
    let method = attach_card(world, &customer, card);
    let waiting = offer
        .subscription
        .filter(|sub| world.get(Kind::Subscription, sub)["status"] == "incomplete");
    let sub = match waiting {
        Some(sub) => {
            world.set(Kind::Subscription, &sub, json!({ "default_payment_method": method }));
            sub
        }
        None => {
            let new = NewSubscription {
                customer,
                lines: offer.lines,
                metadata: offer.metadata,
                trial_end: (offer.trial_days > 0).then(|| world.now + offer.trial_days * 86_400),
                method: Some(method),
            };
            begin(world, session, new)
        }
    };
    pay_first_invoice(world, session, &sub)
}

fn begin(world: &mut World, session: &str, new: NewSubscription) -> String {
    let sub = subscription::create(world, new);
    world.sessions.insert(sub.clone(), session.to_owned());
    if let Some(offer) = world.offers.get_mut(session) {
        offer.subscription = Some(sub.clone());
    }
    sub
}

fn pay_first_invoice(world: &mut World, session: &str, sub: &str) -> Paid {
    let invoice = text(world.get(Kind::Subscription, sub), "latest_invoice").to_owned();
    let Some(intent) = invoice::payment_intent(world, &invoice) else {
        complete(world, session, sub, "no_payment_required");
        return Paid::Completed;
    };
    invoice::pay(world, &invoice, Presence::OnSession);
    match text(world.get(Kind::PaymentIntent, &intent), "status") {
        "succeeded" => Paid::Completed,
        "requires_action" => Paid::AuthenticationRequired { payment_intent: intent },
        "processing" => {
            complete(world, session, sub, "unpaid");
            Paid::Completed
        }
        _ => Paid::Declined,
    }
}

fn ensure_customer(world: &mut World, session: &str, email: &str) -> String {
    let object = world.get(Kind::CheckoutSession, session);
    if let Some(customer) = object["customer"].as_str() {
        return customer.to_owned();
    }
    let email = object["customer_email"].as_str().unwrap_or(email).to_owned();
    let id = customer::create(world, json!({ "email": email }));
    world.set(Kind::CheckoutSession, session, json!({ "customer": id }));
    id
}

/// The first invoice of a subscription was paid, or a bank debit for it failed.
pub fn payment_settled(world: &mut World, invoice: &str, paid: bool) {
    let sub = invoice::subscription_of(world, invoice);
    let Some(session) = world.sessions.get(&sub).cloned() else { return };
    let object = world.get(Kind::CheckoutSession, &session);
    match (text(object, "status"), text(object, "payment_status")) {
        ("open", _) if paid => complete(world, &session, &sub, "paid"),
        ("complete", "unpaid") if object["invoice"] == invoice => {
            let (status, event) = if paid {
                ("paid", "checkout.session.async_payment_succeeded")
            } else {
                ("unpaid", "checkout.session.async_payment_failed")
            };
            // It is settled; later attempts are the invoice's own business.
            world.sessions.remove(&sub);
            world.set(Kind::CheckoutSession, &session, json!({ "payment_status": status }));
            world.announce(Kind::CheckoutSession, &session, event);
        }
        _ => {}
    }
}

fn complete(world: &mut World, session: &str, sub: &str, payment_status: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let customer = world.get(Kind::Customer, text(subscription, "customer"));
    let fields = json!({
        "customer": subscription["customer"],
        "customer_details": customer_details(customer),
        "invoice": subscription["latest_invoice"],
        "payment_status": payment_status,
        "status": "complete",
        "subscription": sub,
        "url": null,
    });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.completed");
}

/// What a session says of its customer.
pub fn customer_details(customer: &Value) -> Value {
    json!({
        "address": null,
        "business_name": null,
        "email": customer["email"],
        "individual_name": null,
        "name": customer["name"],
        "phone": null,
        "tax_exempt": "none",
        "tax_ids": [],
    })
}

/// Closes a session that nobody completed.
pub fn expire(world: &mut World, session: &str) {
    let fields = json!({ "expires_at": world.now, "status": "expired", "url": null });
    world.set(Kind::CheckoutSession, session, fields);
    world.announce(Kind::CheckoutSession, session, "checkout.session.expired");
}

/// Closes a session whose time has come.
pub fn expire_if_due(world: &mut World, session: &str) {
    let object = world.get(Kind::CheckoutSession, session);
    if object["status"] == "open" && integer(object, "expires_at") <= world.now {
        expire(world, session);
    }
}
