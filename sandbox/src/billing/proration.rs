//! Prorations: the credits and debits for the rest of a period when an item changes
//! (<https://docs.stripe.com/billing/subscriptions/prorations>). Both are invoice items. Flexible
//! billing credits each earlier debit, by what was debited. Classic billing credits the item's
//! current price and quantity.

use chrono::DateTime;
use serde_json::{Value, json};

use super::invoice_item::{self, NewItem};
use super::metered::is_metered;
use super::{discount, price};
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// A line or a pending item that billed a subscription item and was not credited.
struct Debit {
    /// The invoice; null while it is pending.
    invoice: Value,
    /// The line, or the pending item.
    id: Value,
    price: Value,
    quantity: i64,
    /// After discounts.
    amount: i64,
    period: (i64, i64),
}

/// Credits the rest of a subscription item's period from `at` on. Metered items are billed by their
/// usage, after their period. `items` are all items that the subscription had then.
pub fn credit(world: &mut World, item: &Value, items: &[Value], at: i64) {
    if is_metered(&item["price"]) {
        return;
    }
    let sub = text(item, "subscription").to_owned();
    let debits = debits(world, &sub, item, at);
    if world.get(Kind::Subscription, &sub)["billing_mode"]["type"] != "classic" {
        for debit in &debits {
            let amount = -rest_of(debit.amount, debit.period, at);
            let credited = named(debit);
            add(world, item, (&debit.price, debit.quantity), amount, debit.period, at, credited);
        }
        return;
    }
    let period = period_of(item);
    let amount = -rest_of(whole(world, item, items), period, at);
    let credited = debits.last().map_or(Value::Null, named);
    let quantity = integer(item, "quantity");
    add(world, item, (&item["price"], quantity), amount, period, at, credited);
}

/// Bills the rest of a subscription item's period from `at` on. `items` are all items that the
/// subscription has then.
pub fn debit(world: &mut World, item: &Value, items: &[Value], at: i64) {
    if is_metered(&item["price"]) {
        return;
    }
    let period = period_of(item);
    let amount = rest_of(whole(world, item, items), period, at);
    let billed = (&item["price"], integer(item, "quantity"));
    add(world, item, billed, amount, period, at, Value::Null);
}

fn named(debit: &Debit) -> Value {
    json!({ "invoice": debit.invoice, "invoice_line_items": [debit.id] })
}

fn add(
    world: &mut World,
    item: &Value,
    (price, quantity): (&Value, i64),
    amount: i64,
    (start, end): (i64, i64),
    at: i64,
    credited: Value,
) {
    let sub = world.get(Kind::Subscription, text(item, "subscription")).clone();
    let name = text(world.get(Kind::Product, text(price, "product")), "name");
    let day = DateTime::from_timestamp(at, 0).unwrap_or_default().format("%d %b %Y");
    let time = if credited.is_null() && amount >= 0 { "Remaining" } else { "Unused" };
    let new = NewItem {
        customer: text(&sub, "customer"),
        subscription: sub["id"].clone(),
        subscription_item: item["id"].clone(),
        price,
        amount,
        currency: text(&sub, "currency"),
        quantity,
        period: (at.max(start), end),
        description: format!("{time} time on {quantity} × {name} after {day}"),
        proration: Some(json!({ "credited_items": credited, "discount_amounts": [] })),
    };
    invoice_item::create(world, new);
}

fn period_of(item: &Value) -> (i64, i64) {
    (integer(item, "current_period_start"), integer(item, "current_period_end"))
}

/// Returns the part of an amount for a period that is left at a time. Cents are rounded.
fn rest_of(amount: i64, (start, end): (i64, i64), at: i64) -> i64 {
    let span = i128::from((end - start).max(1));
    let left = i128::from(end - at.max(start)).clamp(0, span);
    let doubled = 2 * i128::from(amount) * left + span;
    i64::try_from(doubled.div_euclid(2 * span)).unwrap_or(i64::MAX)
}

/// Returns the amount of an item for a whole period, after the discounts that are inside of
/// prorations. `items` are all items that share the discounts.
fn whole(world: &World, item: &Value, items: &[Value]) -> i64 {
    let sub = text(item, "subscription");
    let currency = text(world.get(Kind::Subscription, sub), "currency");
    let amount = |item: &Value| {
        price::unit_amount(world, &item["price"], currency) * integer(item, "quantity")
    };
    let lines: Vec<(&str, i64)> =
        items.iter().map(|item| (text(&item["price"], "product"), amount(item))).collect();
    let off = discount::in_prorations(world, sub, &lines);
    let place = items.iter().position(|other| other["id"] == item["id"]);
    amount(item) - place.map_or(0, |place| off[place])
}

/// Returns the debits of a subscription item for the time after `at`, the oldest first.
fn debits(world: &World, sub: &str, item: &Value, at: i64) -> Vec<Debit> {
    let billed = billed(world, sub);
    let credited: Vec<&Value> = billed
        .iter()
        .filter_map(|(_, of)| {
            of["proration_details"]["credited_items"]["invoice_line_items"].as_array()
        })
        .flatten()
        .collect();
    let debits = billed.iter().filter(|(bill, of)| {
        of["subscription_item"] == item["id"]
            && of["proration_details"]["credited_items"].is_null()
            && integer(bill, "amount") >= 0
            && integer(&bill["period"], "end") > at
            && !credited.contains(&&bill["id"])
    });
    debits.map(|(bill, _)| debit_of(world, bill)).collect()
}

/// Returns every line of a subscription's invoices and its pending items, the oldest first, each
/// with the part that names the subscription item and the credited lines. A voided invoice bills
/// nothing, and one for a pending update not yet.
fn billed(world: &World, sub: &str) -> Vec<(Value, Value)> {
    let customer = world.get(Kind::Subscription, sub)["customer"].as_str();
    let waiting = world.pending_updates.get(sub).map(|update| update.invoice.as_str());
    let counts = |invoice: &&Value| {
        invoice["parent"]["subscription_details"]["subscription"] == sub
            && invoice["status"] != "void"
            && waiting != invoice["id"].as_str()
    };
    let mut invoices: Vec<&Value> =
        world.newest_first(Kind::Invoice, customer).filter(counts).collect();
    invoices.reverse();
    let lines = invoices.iter().filter_map(|invoice| invoice["lines"]["data"].as_array());
    let of_line =
        |line: &Value| (line.clone(), line["parent"]["subscription_item_details"].clone());
    let of_pending = |item: Value| {
        let mut of = item["parent"]["subscription_details"].clone();
        of["proration_details"] = item["proration_details"].clone();
        (item, of)
    };
    let pending = invoice_item::pending(world, sub).into_iter().map(of_pending);
    lines.flatten().map(of_line).chain(pending).collect()
}

fn debit_of(world: &World, bill: &Value) -> Debit {
    let off = bill["discount_amounts"].as_array().into_iter().flatten();
    let off: i64 = off.map(|off| integer(off, "amount")).sum();
    let price = text(&bill["pricing"]["price_details"], "price");
    Debit {
        invoice: bill["invoice"].clone(),
        id: bill["id"].clone(),
        price: world.get(Kind::Price, price).clone(),
        quantity: integer(bill, "quantity"),
        amount: integer(bill, "amount") - off,
        period: (integer(&bill["period"], "start"), integer(&bill["period"], "end")),
    }
}
