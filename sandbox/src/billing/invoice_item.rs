//! Invoice items: what the next invoice of a subscription or a customer bills besides the periods
//! (<https://docs.stripe.com/billing/invoices/subscription#adding-upcoming-invoice-items>).
//! Prorations are items too. How their amounts are computed is in `proration`.

use serde_json::{Value, json};

use super::price;
use crate::objects::{Kind, line_item, text, with};
use crate::world::World;

/// A new invoice item.
pub struct NewItem<'a> {
    /// The customer.
    pub customer: &'a str,
    /// The subscription, or null if the customer's next invoice bills it.
    pub subscription: Value,
    /// The subscription item, or null.
    pub subscription_item: Value,
    /// The price.
    pub price: &'a Value,
    /// In the currency's smallest unit. A credit is negative.
    pub amount: i64,
    /// The currency.
    pub currency: &'a str,
    /// The number of units.
    pub quantity: i64,
    /// The start and the end of the billed time.
    pub period: (i64, i64),
    /// The text of the line.
    pub description: String,
    /// The `proration_details`; none if it is no proration.
    pub proration: Option<Value>,
}

/// Creates an item, which the next invoice bills. Returns its id.
pub fn create(world: &mut World, new: NewItem<'_>) -> String {
    let parent = json!({
        "type": "subscription_details",
        "subscription_details": {
            "subscription": new.subscription,
            "subscription_item": new.subscription_item,
        },
    });
    let pricing = json!({
        "type": "price_details",
        "price_details": { "price": new.price["id"], "product": new.price["product"] },
        "unit_amount_decimal": price::unit_amount(world, new.price, new.currency).to_string(),
    });
    let is_proration = new.proration.is_some();
    let fields = json!({
        "amount": new.amount,
        "currency": new.currency,
        "customer": new.customer,
        "date": world.now,
        "description": new.description,
        "discountable": !is_proration,
        "net_amount": new.amount,
        "parent": if new.subscription.is_null() { Value::Null } else { parent },
        "period": { "start": new.period.0, "end": new.period.1 },
        "pricing": pricing,
        "proration": is_proration,
        "proration_details": new.proration,
        "quantity": new.quantity,
        "quantity_decimal": new.quantity.to_string(),
    });
    let id = world.insert(Kind::InvoiceItem, fields);
    world.update(Kind::InvoiceItem, &id, |item| {
        // Invoice items have a date, but no `created`.
        item.as_object_mut().and_then(|fields| fields.remove("created"));
    });
    world.announce(Kind::InvoiceItem, &id, "invoiceitem.created");
    id
}

/// Returns the items that the next invoice of a subscription bills, the oldest first: its own, and
/// those of its customer.
pub fn pending(world: &World, sub: &str) -> Vec<Value> {
    let customer = world.get(Kind::Subscription, sub)["customer"].as_str();
    let items = world.newest_first(Kind::InvoiceItem, customer);
    let waits = |item: &&Value| {
        let of = &item["parent"]["subscription_details"]["subscription"];
        item["invoice"].is_null() && (*of == sub || of.is_null())
    };
    let mut items: Vec<Value> = items.filter(waits).cloned().collect();
    items.reverse();
    items
}

/// Removes the items of a subscription that ends before they are billed.
pub fn remove_pending(world: &mut World, sub: &str) {
    let own = |item: &Value| item["parent"]["subscription_details"]["subscription"] == sub;
    for item in pending(world, sub).into_iter().filter(own) {
        let id = text(&item, "id").to_owned();
        world.announce(Kind::InvoiceItem, &id, "invoiceitem.deleted");
        world.update(Kind::InvoiceItem, &id, |item| item["deleted"] = true.into());
    }
}

/// Moves the pending items of a subscription to an invoice. Returns their lines.
pub fn take_pending(world: &mut World, invoice: &str, sub: &str) -> Vec<Value> {
    let items = pending(world, sub);
    let ids: Vec<(Value, String)> =
        items.iter().map(|item| (item["id"].clone(), world.id("il_"))).collect();
    let mut lines = Vec::new();
    for (mut item, (_, line)) in items.into_iter().zip(&ids) {
        // A credit of another pending item names the line that this item becomes.
        let credited = &item["proration_details"]["credited_items"]["invoice_line_items"][0];
        if let Some((_, line)) = ids.iter().find(|(id, _)| id == credited) {
            let names = json!({ "invoice": invoice, "invoice_line_items": [line] });
            item["proration_details"]["credited_items"] = names;
        }
        let id = text(&item, "id").to_owned();
        let fields =
            json!({ "invoice": invoice, "proration_details": item["proration_details"].clone() });
        world.set(Kind::InvoiceItem, &id, fields);
        lines.push(line_of(&item, invoice, line));
    }
    lines
}

fn line_of(item: &Value, invoice: &str, id: &str) -> Value {
    let of = &item["parent"]["subscription_details"];
    let credited = &item["proration_details"]["credited_items"];
    let is_of_item = of["subscription_item"].is_string();
    let details = json!({
        "invoice_item": item["id"],
        "proration": item["proration"],
        "proration_details": { "credited_items": credited },
        "subscription": of["subscription"],
    });
    let own = json!({ "subscription_item": of["subscription_item"] });
    let parent = if is_of_item {
        json!({
            "type": "subscription_item_details",
            "invoice_item_details": null,
            "subscription_item_details": with(details, own),
        })
    } else {
        json!({
            "type": "invoice_item_details",
            "invoice_item_details": details,
            "subscription_item_details": null,
        })
    };
    let fields = json!({
        "id": id,
        "amount": item["amount"],
        "currency": item["currency"],
        "description": item["description"],
        "discountable": item["discountable"],
        "invoice": invoice,
        "parent": parent,
        "period": item["period"],
        "pricing": item["pricing"],
        "quantity": item["quantity"],
        "subscription": of["subscription"],
        "subtotal": item["amount"],
    });
    with(line_item(), fields)
}
