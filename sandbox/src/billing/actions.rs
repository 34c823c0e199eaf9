//! What people do on the hosted pages and banks do by themselves; each checks that it may happen
//! now. The pages and the tests call these.

use serde_json::{Value, json};

use super::checkout::{self, Paid};
use super::customer::{self, attach_card};
use super::payment::Presence;
use super::plan_change::change_price;
use super::{collection, ending, reversal, schedule, subscription};
use crate::card::Card;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Why an action cannot happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Nothing has this id.
    #[error("there is no such {what}: '{id}'")]
    NoSuch {
        /// The kind of thing.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// It exists, but is in another state than the action needs.
    #[error("'{id}' is {state}; this can only be done while it is {needed}")]
    WrongState {
        /// Its id.
        id: String,
        /// Its state.
        state: String,
        /// The state that the action needs.
        needed: &'static str,
    },
}

/// Tries to pay an open checkout session.
pub fn pay(world: &mut World, session: &str, card: Card, email: &str) -> Result<Paid, ActionError> {
    require(world, Kind::CheckoutSession, "checkout session", session, "open")?;
    Ok(checkout::submit(world, session, card, email))
}

/// Answers the 3-D Secure page of a payment intent.
pub fn authenticate(world: &mut World, intent: &str, succeeds: bool) -> Result<(), ActionError> {
    require(world, Kind::PaymentIntent, "payment intent", intent, "requires_action")?;
    collection::settle(world, intent, succeeds);
    Ok(())
}

/// Has the bank decide on a debit now.
pub fn settle(world: &mut World, intent: &str, succeeds: bool) -> Result<(), ActionError> {
    require(world, Kind::PaymentIntent, "payment intent", intent, "processing")?;
    collection::settle(world, intent, succeeds);
    Ok(())
}

/// Pays an open invoice or a draft now, with the method that its subscription has.
pub fn pay_invoice(world: &mut World, id: &str) -> Result<(), ActionError> {
    if world.get(Kind::Invoice, id)["status"] != "draft" {
        require(world, Kind::Invoice, "invoice", id, "open")?;
    }
    collection::pay(world, id, Presence::OffSession);
    Ok(())
}

/// Replaces the card that pays a customer's invoices from now on.
pub fn replace_card(world: &mut World, customer: &str, card: Card) -> Result<(), ActionError> {
    exists(world, Kind::Customer, "customer", customer)?;
    let method = attach_card(world, customer, card);
    customer::set_default_method(world, customer, &method);
    for sub in subscription::live_of(world, customer) {
        let fields = json!({ "default_payment_method": method });
        world.change(Kind::Subscription, &sub, fields, "customer.subscription.updated");
    }
    Ok(())
}

/// Has a subscription end with its period, as the portal does, or takes that back. What was scheduled
/// will not come.
pub fn cancel(world: &mut World, sub: &str, cancel: bool) -> Result<(), ActionError> {
    changeable(world, sub)?;
    if cancel {
        schedule::release(world, sub);
    }
    let by = world.behavior.portal_cancels_by;
    ending::cancel_with_period(world, sub, cancel, by);
    Ok(())
}

/// Ends a subscription now.
pub fn cancel_now(world: &mut World, sub: &str) -> Result<(), ActionError> {
    live(world, sub)?;
    ending::end(world, sub, "cancellation_requested");
    Ok(())
}

/// Puts the first item of a subscription on another price and bills the difference. What was scheduled
/// will not come.
pub fn change_plan(world: &mut World, sub: &str, price: &str) -> Result<(), ActionError> {
    changeable(world, sub)?;
    exists(world, Kind::Price, "price", price)?;
    schedule::release(world, sub);
    if let Some(item) = subscription::items(world, sub).first().cloned() {
        let quantity = integer(&item, "quantity");
        change_price(world, sub, text(&item, "id"), price, quantity, true);
    }
    Ok(())
}

/// Has the first item of a subscription put on another price when its period ends.
pub fn schedule_change(world: &mut World, sub: &str, price: &str) -> Result<(), ActionError> {
    changeable(world, sub)?;
    exists(world, Kind::Price, "price", price)?;
    if world.get(Kind::Subscription, sub)["cancel_at"].is_i64() {
        let (id, state) = (sub.to_owned(), "about to end".to_owned());
        return Err(ActionError::WrongState { id, state, needed: "to go on" });
    }
    schedule::change_at_period_end(world, sub, price);
    Ok(())
}

/// Takes back what was scheduled: the subscription goes on as it is.
pub fn unschedule(world: &mut World, sub: &str) -> Result<(), ActionError> {
    changeable(world, sub)?;
    schedule::release(world, sub);
    Ok(())
}

/// Gives back what is left of a payment, or a part of it; gives the refund's id.
pub fn refund(world: &mut World, intent: &str, amount: Option<i64>) -> Result<String, ActionError> {
    let charge = require_charge(world, intent)?;
    let object = world.get(Kind::Charge, &charge);
    let left = integer(object, "amount") - integer(object, "amount_refunded");
    if left <= 0 {
        let (id, state) = (charge, "refunded in full".to_owned());
        return Err(ActionError::WrongState { id, state, needed: "not refunded in full" });
    }
    let amount = amount.unwrap_or(left).min(left);
    Ok(reversal::refund(world, &charge, amount, json!(null), json!({})))
}

/// Has the bank open a dispute about a payment; gives its id.
pub fn open_dispute(world: &mut World, intent: &str) -> Result<String, ActionError> {
    let charge = require_charge(world, intent)?;
    Ok(reversal::open_dispute(world, &charge, "fraudulent"))
}

/// Has the bank decide a dispute.
pub fn close_dispute(world: &mut World, id: &str, won: bool) -> Result<(), ActionError> {
    require(world, Kind::Dispute, "dispute", id, "needs_response")?;
    reversal::close_dispute(world, id, won);
    Ok(())
}

fn require_charge(world: &World, intent: &str) -> Result<String, ActionError> {
    exists(world, Kind::PaymentIntent, "payment intent", intent)?;
    reversal::charge_of(world, intent).ok_or_else(|| ActionError::WrongState {
        id: intent.to_owned(),
        state: text(world.get(Kind::PaymentIntent, intent), "status").to_owned(),
        needed: "succeeded",
    })
}

fn exists(world: &World, kind: Kind, what: &'static str, id: &str) -> Result<(), ActionError> {
    if world.exists(kind, id) {
        return Ok(());
    }
    Err(ActionError::NoSuch { what, id: id.to_owned() })
}

fn live(world: &World, sub: &str) -> Result<(), ActionError> {
    let goes_on = |subscription: &Value| !subscription::has_ended(subscription);
    stands(world, sub, goes_on, "not at its end")
}

fn changeable(world: &World, sub: &str) -> Result<(), ActionError> {
    live(world, sub)?;
    stands(world, sub, subscription::can_change, "past its first payment")
}

/// Whether a subscription is there, and as it is needed.
fn stands(
    world: &World,
    sub: &str,
    is: impl Fn(&Value) -> bool,
    needed: &'static str,
) -> Result<(), ActionError> {
    exists(world, Kind::Subscription, "subscription", sub)?;
    let subscription = world.get(Kind::Subscription, sub);
    if is(subscription) {
        return Ok(());
    }
    let state = text(subscription, "status").to_owned();
    Err(ActionError::WrongState { id: sub.to_owned(), state, needed })
}

fn require(
    world: &World,
    kind: Kind,
    what: &'static str,
    id: &str,
    needed: &'static str,
) -> Result<(), ActionError> {
    exists(world, kind, what, id)?;
    let state = text(world.get(kind, id), "status").to_owned();
    if state == needed {
        return Ok(());
    }
    Err(ActionError::WrongState { id: id.to_owned(), state, needed })
}
