//! What people do on the hosted pages and banks do by themselves; each checks that it may happen
//! now. The pages and the tests call these. What vendors do with invoices, money and sales is in
//! `invoice_actions`, `money_actions` and `sales_actions`.

use serde_json::json;

use super::checkout::{self, Paid};
use super::checks::{ActionError, changeable, exists, live, require};
use super::collection::{self, Attempt};
use super::customer::{self, attach_card};
use super::payment::Presence;
use super::plan_change::change_price;
use super::{ending, schedule, subscription};
use crate::card::Card;
use crate::objects::{Kind, integer, text};
use crate::world::World;

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
    collection::pay(world, id, Presence::OffSession, Attempt::ByHand);
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

/// Has a subscription end with its period, as the portal does, or takes that back. What was
/// scheduled will not come.
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

/// Puts the first item of a subscription on another price and bills the difference. What was
/// scheduled will not come.
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
