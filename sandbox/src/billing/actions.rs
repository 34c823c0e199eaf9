//! The actions of customers on the hosted pages, and of banks. Each checks that it is possible now.
//! The pages and the tests call these. The actions of vendors are in `invoice_actions`,
//! `money_actions` and `sales_actions`.

use serde_json::json;

use super::checkout::{self, Paid};
use super::checks::{
    ActionError, require_changeable, require_currency, require_exists, require_live, require_status,
};
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
    schedule::release(world, sub);
    if let Some(item) = subscription::items(world, sub).first().cloned() {
        let quantity = integer(&item, "quantity");
        change_price(world, sub, text(&item, "id"), price, quantity, true);
    }
    Ok(())
}

/// Schedules a change of the price of a subscription's first item for the end of its period.
pub fn schedule_change(world: &mut World, sub: &str, price: &str) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    require_exists(world, Kind::Price, "price", price)?;
    require_currency(world, sub, price)?;
    if world.get(Kind::Subscription, sub)["cancel_at"].is_i64() {
        return Err(ActionError::state(sub, "canceled for a later time", "not canceled"));
    }
    schedule::change_at_period_end(world, sub, price);
    Ok(())
}

/// Drops a scheduled change.
pub fn unschedule(world: &mut World, sub: &str) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    schedule::release(world, sub);
    Ok(())
}
