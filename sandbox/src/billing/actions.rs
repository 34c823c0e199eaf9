//! The actions of customers on the hosted pages, and of banks. Each checks that it is possible now.
//! The pages and the tests call these. The actions of vendors are in `invoice_actions`,
//! `money_actions` and `sales_actions`.

use serde_json::{Value, json};

use super::checkout::{self, Paid};
use super::checks::{
    ActionError, require_changeable, require_currency, require_exists, require_live, require_status,
};
use super::collection::{self, Attempt};
use super::customer::{self, attach_card};
use super::item_change::{self, ItemChange, ItemEdit};
use super::payment::Presence;
use super::plan_change::change_price;
use super::{ending, schedule, subscription};
use crate::card::Card;
use crate::objects::{Kind, integer, text};
use crate::options::Proration;
use crate::world::World;

/// The greatest quantity of an item that the double accepts.
pub const MAX_QUANTITY: i64 = 999_999;

/// Tries to pay an open checkout session.
pub fn pay(world: &mut World, session: &str, card: Card, email: &str) -> Result<Paid, ActionError> {
    require_status(world, Kind::CheckoutSession, "checkout session", session, "open")?;
    Ok(checkout::submit(world, session, card, email))
}

/// Completes or fails the 3-D Secure of a payment intent.
pub fn authenticate(world: &mut World, intent: &str, succeeds: bool) -> Result<(), ActionError> {
    require_status(world, Kind::PaymentIntent, "payment intent", intent, "requires_action")?;
    collection::settle(world, intent, succeeds);
    Ok(())
}

/// Has the bank decide a pending debit.
pub fn settle(world: &mut World, intent: &str, succeeds: bool) -> Result<(), ActionError> {
    require_status(world, Kind::PaymentIntent, "payment intent", intent, "processing")?;
    collection::settle(world, intent, succeeds);
    Ok(())
}

/// Pays an open invoice or a draft now, with the payment method of its subscription.
pub fn pay_invoice(world: &mut World, id: &str) -> Result<(), ActionError> {
    if world.get(Kind::Invoice, id)["status"] != "draft" {
        require_status(world, Kind::Invoice, "invoice", id, "open")?;
    }
    collection::pay(world, id, Presence::OffSession, Attempt::Manual);
    Ok(())
}

/// Replaces the card that pays a customer's invoices.
pub fn replace_card(world: &mut World, customer: &str, card: Card) -> Result<(), ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
    let method = attach_card(world, customer, card);
    customer::set_default_method(world, customer, &method);
    for sub in subscription::live_of(world, customer) {
        let fields = json!({ "default_payment_method": method });
        world.change(Kind::Subscription, &sub, fields, "customer.subscription.updated");
    }
    Ok(())
}

/// Cancels a subscription at the end of its period, as the portal does, or undoes that. A scheduled
/// change is dropped.
pub fn cancel(world: &mut World, sub: &str, cancel: bool) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    if cancel {
        schedule::release(world, sub);
    }
    let by = world.behavior.portal_cancels_by;
    ending::cancel_with_period(world, sub, cancel, by);
    Ok(())
}

/// Ends a subscription now.
pub fn cancel_now(world: &mut World, sub: &str) -> Result<(), ActionError> {
    require_live(world, sub)?;
    ending::end(world, sub, "cancellation_requested");
    Ok(())
}

/// Changes the price of a subscription's first item and bills the difference. A scheduled change is
/// dropped.
pub fn change_plan(world: &mut World, sub: &str, price: &str) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    require_exists(world, Kind::Price, "price", price)?;
    require_currency(world, sub, price)?;
    let Some(item) = subscription::items(world, sub).first().cloned() else { return Ok(()) };
    let (item, quantity) = (text(&item, "id").to_owned(), integer(&item, "quantity"));
    if world.behavior.carries_credits {
        let edit = ItemEdit::Set { item, price: price.to_owned(), quantity };
        require_possible(world, sub, std::slice::from_ref(&edit))?;
        schedule::release(world, sub);
        return change_item(world, sub, edit, Proration::Now);
    }
    schedule::release(world, sub);
    change_price(world, sub, &item, price, quantity);
    Ok(())
}

/// Changes the quantity of a subscription's item.
pub fn set_quantity(
    world: &mut World,
    sub: &str,
    item: &str,
    quantity: i64,
    proration: Proration,
) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    let price = text(&require_item(world, sub, item)?["price"], "id").to_owned();
    if !(0..=MAX_QUANTITY).contains(&quantity) {
        let problem = format!("the quantity must be from 0 to {MAX_QUANTITY}");
        return Err(ActionError::not_possible(item, problem));
    }
    change_item(world, sub, ItemEdit::Set { item: item.to_owned(), price, quantity }, proration)
}

/// Adds an item to a subscription. Returns its id.
pub fn add_item(
    world: &mut World,
    sub: &str,
    price: &str,
    quantity: i64,
    proration: Proration,
) -> Result<String, ActionError> {
    require_changeable(world, sub)?;
    require_exists(world, Kind::Price, "price", price)?;
    require_currency(world, sub, price)?;
    if world.get(Kind::Price, price)["recurring"].is_null() {
        return Err(ActionError::not_possible(price, "it does not recur"));
    }
    change_item(world, sub, ItemEdit::Add { price: price.to_owned(), quantity }, proration)?;
    let added = subscription::items(world, sub).last();
    Ok(added.map_or_else(String::new, |item| text(item, "id").to_owned()))
}

/// Removes an item from a subscription.
pub fn remove_item(
    world: &mut World,
    sub: &str,
    item: &str,
    proration: Proration,
) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    require_item(world, sub, item)?;
    change_item(world, sub, ItemEdit::Remove { item: item.to_owned() }, proration)
}

fn require_item<'a>(world: &'a World, sub: &str, item: &str) -> Result<&'a Value, ActionError> {
    let mut items = subscription::items(world, sub).iter();
    let found = items.find(|candidate| candidate["id"] == item);
    found.ok_or_else(|| ActionError::NoSuch { what: "subscription item", id: item.to_owned() })
}

fn require_possible(world: &World, sub: &str, edits: &[ItemEdit]) -> Result<(), ActionError> {
    match item_change::problem(world, sub, edits) {
        Some(problem) => Err(ActionError::not_possible(sub, problem)),
        None => Ok(()),
    }
}

fn change_item(
    world: &mut World,
    sub: &str,
    edit: ItemEdit,
    proration: Proration,
) -> Result<(), ActionError> {
    let edits = vec![edit];
    require_possible(world, sub, &edits)?;
    let change = ItemChange { edits, proration, at: None, waits: None };
    item_change::change(world, sub, &change);
    Ok(())
}

/// Schedules prices of a subscription's first item, one for each of its next periods.
pub fn schedule_changes(world: &mut World, sub: &str, prices: &[&str]) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    for price in prices {
        require_exists(world, Kind::Price, "price", price)?;
        require_currency(world, sub, price)?;
    }
    if world.get(Kind::Subscription, sub)["cancel_at"].is_i64() {
        return Err(ActionError::state(sub, "canceled for a later time", "not canceled"));
    }
    schedule::change_later(world, sub, prices);
    Ok(())
}

/// Drops a scheduled change.
pub fn unschedule(world: &mut World, sub: &str) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    schedule::release(world, sub);
    Ok(())
}
