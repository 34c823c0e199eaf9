//! An attempt to pay a checkout session.

use serde_json::json;

use super::collection::{self, Attempt};
use super::customer::{self, attach_card};
use super::payment::Presence;
use super::subscription::{self, NewSubscription};
use super::{invoice, session};
use crate::card::Card;
use crate::objects::{Kind, text};
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
    if card == Card::Declined && world.get(Kind::CheckoutSession, session)["amount_total"] == 0 {
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
                discounts: offer.discounts,
                days_until_due: None,
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
        // A trial delays the payment; what a discount or a credit covers is paid.
        let trials = world.get(Kind::Subscription, sub)["status"] == "trialing";
        let payment_status = if trials { "no_payment_required" } else { "paid" };
        session::complete(world, session, sub, payment_status);
        return Paid::Completed;
    };
    collection::pay(world, &invoice, Presence::OnSession, Attempt::ByHand);
    match text(world.get(Kind::PaymentIntent, &intent), "status") {
        "succeeded" => Paid::Completed,
        "requires_action" => Paid::AuthenticationRequired { payment_intent: intent },
        "processing" => {
            session::complete(world, session, sub, "unpaid");
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
