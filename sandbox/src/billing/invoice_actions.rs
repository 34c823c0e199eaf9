//! The actions of customers and vendors on invoices. Each checks that it is possible now. The rules
//! are in `collection` and `invoice`.

use serde_json::{Value, json};

use super::checks::{ActionError, require_changeable, require_exists, require_status};
use super::collection::{self, Attempt};
use super::customer::attach_card;
use super::invoice;
use super::payment::{self, Presence};
use crate::card::Card;
use crate::objects::{Kind, integer, list, text, with};
use crate::options::Pause;
use crate::world::World;

/// Pays the remaining amount of an invoice with a card, as its hosted page does. The state of its
/// subscription does not matter.
pub fn pay_with(world: &mut World, id: &str, card: Card) -> Result<(), ActionError> {
    require_unpaid(world, id)?;
    let method = attach_to_payer(world, id, card);
    collection::pay_by(world, id, Some(&method), Presence::OnSession, Attempt::Manual);
    Ok(())
}

/// Pays a part of an invoice with a card. Returns the payment intent.
pub fn pay_part(
    world: &mut World,
    id: &str,
    amount: i64,
    card: Card,
) -> Result<String, ActionError> {
    let amount = amount_to_pay(world, id, Some(amount))?;
    let method = attach_to_payer(world, id, card);
    Ok(collection::pay_part(world, id, amount, &method))
}

/// Records that an invoice, or a part of it, was paid outside of Stripe.
pub fn pay_out_of_band(
    world: &mut World,
    id: &str,
    amount: Option<i64>,
) -> Result<(), ActionError> {
    let amount = amount_to_pay(world, id, amount)?;
    collection::pay_out_of_band(world, id, amount);
    Ok(())
}

/// Charges a customer without an invoice. Returns the payment intent.
pub fn charge(
    world: &mut World,
    customer: &str,
    amount: i64,
    card: Card,
) -> Result<String, ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
    let method = attach_card(world, customer, card);
    let currency = world.get(Kind::Customer, customer)["currency"].as_str().unwrap_or("usd");
    let currency = currency.to_owned();
    let more = json!({ "description": "Payment" });
    let intent = payment::create(world, Some(customer), (amount, &currency), more);
    payment::attempt(world, &intent, &method, Presence::OnSession);
    Ok(intent)
}

/// Attaches a payment intent to an invoice.
pub fn attach_payment(world: &mut World, id: &str, intent: &str) -> Result<(), ActionError> {
    require_unpaid(world, id)?;
    require_exists(world, Kind::PaymentIntent, "payment intent", intent)?;
    if let Some(invoice) = world.invoice_of(intent) {
        return Err(ActionError::not_possible(intent, format!("it belongs to {invoice}")));
    }
    collection::attach(world, id, intent);
    Ok(())
}

/// Voids an invoice.
pub fn void(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_unpaid(world, id)?;
    collection::void(world, id);
    Ok(())
}

/// Writes an invoice off. It can still be paid.
pub fn write_off(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_status(world, Kind::Invoice, "invoice", id, "open")?;
    collection::write_off(world, id);
    Ok(())
}

/// Finalizes a draft without charging it.
pub fn finalize(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_status(world, Kind::Invoice, "invoice", id, "draft")?;
    collection::finalize(world, id);
    Ok(())
}

/// Pauses the collection of a subscription's payments, or resumes it.
pub fn pause(world: &mut World, sub: &str, pause: Option<Pause>) -> Result<(), ActionError> {
    require_changeable(world, sub)?;
    let pause = pause.map(|pause| json!({ "behavior": pause.name(), "resumes_at": null }));
    let fields = json!({ "pause_collection": pause });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    Ok(())
}

fn attach_to_payer(world: &mut World, id: &str, card: Card) -> String {
    let customer = text(world.get(Kind::Invoice, id), "customer").to_owned();
    attach_card(world, &customer, card)
}

/// Creates `count` paid invoices of a customer, without a subscription and without events. They are
/// the newest of the customer's invoices. Tests need them for long histories.
pub fn add_paid(world: &mut World, customer: &str, count: usize) -> Result<(), ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
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

/// Creates `count` payments of a customer, without invoices and without events.
pub fn add_payments(world: &mut World, customer: &str, count: usize) -> Result<(), ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
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

/// The fields of a paid invoice over nothing.
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

/// Returns the amount to pay: the whole remaining amount, or a checked part of it.
fn amount_to_pay(world: &World, id: &str, amount: Option<i64>) -> Result<i64, ActionError> {
    require_unpaid(world, id)?;
    let remaining = integer(world.get(Kind::Invoice, id), "amount_remaining");
    let amount = amount.unwrap_or(remaining);
    if (1..=remaining).contains(&amount) {
        return Ok(amount);
    }
    Err(ActionError::not_possible(id, format!("the amount must be from 1 to {remaining}")))
}

/// Checks that an invoice is finalized, and neither paid nor void.
fn require_unpaid(world: &World, id: &str) -> Result<(), ActionError> {
    require_exists(world, Kind::Invoice, "invoice", id)?;
    let invoice = world.get(Kind::Invoice, id);
    if invoice::is_unpaid(invoice) {
        return Ok(());
    }
    Err(ActionError::state(id, text(invoice, "status"), "open or uncollectible"))
}
