//! What customers and vendors do with invoices; each action checks that it may happen now.

use serde_json::{Value, json};

use super::checks::{ActionError, changeable, exists, require};
use super::collection::{self, Attempt};
use super::customer::attach_card;
use super::invoice;
use super::payment::{self, Presence};
use crate::card::Card;
use crate::objects::{Kind, integer, list, text, with};
use crate::options::Pause;
use crate::world::World;

/// Pays what is left of an invoice with a card, as its hosted page does, whatever became of its
/// subscription.
pub fn pay_with(world: &mut World, id: &str, card: Card) -> Result<(), ActionError> {
    unpaid(world, id)?;
    let method = attach_to_payer(world, id, card);
    collection::pay_by(world, id, Some(&method), Presence::OnSession, Attempt::ByHand);
    Ok(())
}

/// Pays a part of an invoice with a card; returns the payment intent.
pub fn pay_part(
    world: &mut World,
    id: &str,
    amount: i64,
    card: Card,
) -> Result<String, ActionError> {
    let amount = part(world, id, Some(amount))?;
    let method = attach_to_payer(world, id, card);
    Ok(collection::pay_part(world, id, amount, &method))
}

/// Notes that an invoice, or a part of it, was paid outside of Stripe.
pub fn pay_out_of_band(
    world: &mut World,
    id: &str,
    amount: Option<i64>,
) -> Result<(), ActionError> {
    let amount = part(world, id, amount)?;
    collection::pay_out_of_band(world, id, amount);
    Ok(())
}

/// Charges a customer for no invoice; returns the payment intent.
pub fn charge(
    world: &mut World,
    customer: &str,
    amount: i64,
    card: Card,
) -> Result<String, ActionError> {
    exists(world, Kind::Customer, "customer", customer)?;
    let method = attach_card(world, customer, card);
    let currency = world.get(Kind::Customer, customer)["currency"].as_str().unwrap_or("usd");
    let currency = currency.to_owned();
    let intent = payment::create(world, customer, (amount, &currency), "Payment");
    payment::attempt(world, &intent, &method, Presence::OnSession);
    Ok(intent)
}

/// Has a payment pay an invoice.
pub fn attach_payment(world: &mut World, id: &str, intent: &str) -> Result<(), ActionError> {
    unpaid(world, id)?;
    exists(world, Kind::PaymentIntent, "payment intent", intent)?;
    if let Some(invoice) = world.invoice_of(intent) {
        let state = format!("a payment of {invoice}");
        return Err(ActionError::state(intent, state, "a payment of no invoice"));
    }
    collection::attach(world, id, intent);
    Ok(())
}

/// Forgives an invoice.
pub fn void(world: &mut World, id: &str) -> Result<(), ActionError> {
    unpaid(world, id)?;
    collection::void(world, id);
    Ok(())
}

/// Writes an invoice off; it can still be paid.
pub fn write_off(world: &mut World, id: &str) -> Result<(), ActionError> {
    require(world, Kind::Invoice, "invoice", id, "open")?;
    collection::write_off(world, id);
    Ok(())
}

/// Finalizes a draft; nothing is charged.
pub fn finalize(world: &mut World, id: &str) -> Result<(), ActionError> {
    require(world, Kind::Invoice, "invoice", id, "draft")?;
    collection::finalize(world, id);
    Ok(())
}

/// Pauses the collection of a subscription's payments, or resumes it.
pub fn pause(world: &mut World, sub: &str, pause: Option<Pause>) -> Result<(), ActionError> {
    changeable(world, sub)?;
    let pause = pause.map(|pause| json!({ "behavior": pause.name(), "resumes_at": null }));
    let fields = json!({ "pause_collection": pause });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    Ok(())
}

fn attach_to_payer(world: &mut World, id: &str, card: Card) -> String {
    let customer = text(world.get(Kind::Invoice, id), "customer").to_owned();
    attach_card(world, &customer, card)
}

/// Makes so many paid invoices of a customer at once, for no subscription and without events: a
/// long history. They are the newest of the customer's invoices.
pub fn add_paid(world: &mut World, customer: &str, count: usize) -> Result<(), ActionError> {
    exists(world, Kind::Customer, "customer", customer)?;
    let newest = world.newest_first(Kind::Invoice, Some(customer)).next();
    let oldest_possible = newest.map_or(0, |invoice| integer(invoice, "created"));
    let span = i64::try_from(count).unwrap_or(i64::MAX);
    for place in 0..span {
        let created = (world.now - span + place).max(oldest_possible);
        let id = world.id(Kind::Invoice.prefix());
        let fields = paid_fields(&id, customer, created);
        world.insert_as(Kind::Invoice, &id, fields);
    }
    Ok(())
}

/// Makes so many payments of a customer at once, for no invoice and without events.
pub fn add_payments(world: &mut World, customer: &str, count: usize) -> Result<(), ActionError> {
    exists(world, Kind::Customer, "customer", customer)?;
    for _ in 0..count {
        let fields = json!({
            "amount": 100,
            "amount_received": 100,
            "currency": "usd",
            "customer": customer,
            "status": "succeeded",
        });
        world.insert(Kind::PaymentIntent, fields);
    }
    Ok(())
}

/// A paid invoice of nothing.
fn paid_fields(id: &str, customer: &str, at: i64) -> Value {
    let url = format!("{}/{id}/lines", Kind::Invoice.path());
    json!({
        "attempted": true,
        "auto_advance": false,
        "billing_reason": "manual",
        "created": at,
        "currency": "usd",
        "customer": customer,
        "effective_at": at,
        "ending_balance": 0,
        "lines": with(list(Vec::new(), false, &url), json!({ "total_count": 0 })),
        "status": "paid",
        "status_transitions": {
            "finalized_at": at,
            "marked_uncollectible_at": null,
            "paid_at": at,
            "voided_at": null,
        },
    })
}

/// How much of an invoice is to be paid: what is left of it, or less.
fn part(world: &World, id: &str, amount: Option<i64>) -> Result<i64, ActionError> {
    unpaid(world, id)?;
    let left = integer(world.get(Kind::Invoice, id), "amount_remaining");
    let amount = amount.unwrap_or(left);
    if (1..=left).contains(&amount) {
        return Ok(amount);
    }
    Err(ActionError::state(id, format!("owed {left}"), "owed the amount"))
}

/// Whether an invoice is finalized, and neither paid nor void.
fn unpaid(world: &World, id: &str) -> Result<(), ActionError> {
    exists(world, Kind::Invoice, "invoice", id)?;
    let invoice = world.get(Kind::Invoice, id);
    if invoice::is_unpaid(invoice) {
        return Ok(());
    }
    Err(ActionError::state(id, text(invoice, "status"), "open or uncollectible"))
}
