//! An attempt to pay a checkout session. How sessions open, complete and expire is in `session`.

use serde_json::json;

use super::collection::{self, Attempt};
use super::customer::{self, attach_card};
use super::payment::Presence;
use super::subscription::{self, NewSubscription};
use super::{buyer, invoice, one_time, session};
use crate::card::Card;
use crate::objects::{Kind, text, with};
use crate::world::{CustomerUpdate, World};

/// The result of an attempt to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paid {
    /// The session is complete. The payment has succeeded, is not needed, or is a pending bank
    /// debit.
    Completed,
    /// The card was declined. The session is still open.
    Declined,
    /// The payment intent waits for 3-D Secure. The session is still open.
    AuthenticationRequired {
        /// The payment intent.
        payment_intent: String,
    },
}

/// Tries to pay an open session. `email` is used for the customer if the session has none.
pub fn submit(world: &mut World, session: &str, card: Card, email: &str) -> Paid {
    let payment = world.offers.get(session).and_then(|offer| offer.payment.clone());
    if let Some(terms) = &payment {
        return one_time::submit(world, session, terms, card, email);
    }
    buyer::complete(world, session);
    let offer = world.offers.get(session).cloned().unwrap_or_default();
    let needs_card = session::needs_card(world.get(Kind::CheckoutSession, session));
    let is_free = world.get(Kind::CheckoutSession, session)["amount_total"] == 0;
    if needs_card && is_free && card == Card::Declined {
        return Paid::Declined; // Nothing is due, but a declined card cannot be stored.
    }
    let customer = ensure_customer(world, session, email);
    let method = needs_card.then(|| attach_card(world, &customer, card));
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
                currency: offer.currency,
                metadata: offer.metadata,
                trial_end: (offer.trial_days > 0).then(|| world.now + offer.trial_days * 86_400),
                method,
                discounts: offer.discounts,
                days_until_due: None,
                settings: offer.settings,
            };
            begin(world, session, new)
        }
    };
    pay_first_invoice(world, session, &sub)
}

fn begin(world: &mut World, session: &str, new: NewSubscription) -> String {
    let sub = subscription::create(world, new);
    world.session_by_subscription.insert(sub.clone(), session.to_owned());
    if let Some(offer) = world.offers.get_mut(session) {
        offer.subscription = Some(sub.clone());
    }
    sub
}

fn pay_first_invoice(world: &mut World, session: &str, sub: &str) -> Paid {
    let invoice = text(world.get(Kind::Subscription, sub), "latest_invoice").to_owned();
    let Some(intent) = invoice::payment_intent(world, &invoice) else {
        // A trial delays the payment. An amount that discounts or credits cover in full counts as
        // paid.
        let trials = world.get(Kind::Subscription, sub)["status"] == "trialing";
        let payment_status = if trials { "no_payment_required" } else { "paid" };
        session::complete(world, session, sub, payment_status);
        return Paid::Completed;
    };
    collection::pay(world, &invoice, Presence::OnSession, Attempt::Manual);
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

/// Returns the customer of a session, which is created unless there is one.
pub fn ensure_customer(world: &mut World, session: &str, email: &str) -> String {
    let object = world.get(Kind::CheckoutSession, session);
    if let Some(customer) = object["customer"].as_str().map(str::to_owned) {
        buyer::save(world, session, &customer);
        return customer;
    }
    let email = object["customer_email"].as_str().unwrap_or(email).to_owned();
    let entered = buyer::customer_fields(world, session);
    let id = customer::create(world, with(json!({ "email": email }), entered.into()));
    buyer::save(world, session, &id);
    world.set(Kind::CheckoutSession, session, json!({ "customer": id }));
    if let Some(offer) = world.offers.get_mut(session) {
        offer.updates = CustomerUpdate::ALL; // The customer is the session's own.
    }
    id
}
