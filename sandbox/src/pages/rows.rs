//! Rows and texts that several pages share.

use serde_json::Value;

use crate::billing::{price, schedule, subscription};
use crate::clock::readable;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// A subscription's row.
pub struct SubscriptionRow {
    pub id: String,
    pub plan: String,
    pub amount: String,
    pub status: String,
    pub period_end: String,
    pub cancel_at: Option<String>,
    /// The scheduled change of plan, if there is one.
    pub scheduled: Option<Scheduled>,
    pub items: Vec<ItemRow>,
    pub ended: bool,
    pub can_change: bool,
    /// Whether the customer can change the plan and the quantity in the portal.
    pub can_update: bool,
}

/// An item of a subscription.
pub struct ItemRow {
    pub id: String,
    pub name: String,
    pub quantity: i64,
}

/// A scheduled change of plan.
pub struct Scheduled {
    pub plan: String,
    pub at: String,
}

/// Returns the subscriptions of a customer, the newest first.
pub fn subscriptions(world: &World, customer: &str) -> Vec<SubscriptionRow> {
    let scheduled = |phase: Value| {
        let price = world.get(Kind::Price, text(&phase["items"][0], "price"));
        Scheduled { plan: product_name(world, price), at: readable(integer(&phase, "start_date")) }
    };
    let item_row = |item: &Value| ItemRow {
        id: text(item, "id").to_owned(),
        name: product_name(world, &item["price"]),
        quantity: integer(item, "quantity"),
    };
    let row = |object: &Value| {
        let id = text(object, "id");
        let item = &object["items"]["data"][0];
        SubscriptionRow {
            id: id.to_owned(),
            plan: product_name(world, &item["price"]),
            amount: amount(
                price::unit_amount(world, &item["price"], text(object, "currency")),
                object,
            ),
            status: text(object, "status").to_owned(),
            period_end: readable(subscription::period_end(world, id)),
            cancel_at: object["cancel_at"].as_i64().map(readable),
            scheduled: schedule::next_phase(world, id).map(scheduled),
            items: subscription::items(world, id).iter().map(item_row).collect(),
            ended: subscription::has_ended(object),
            can_change: subscription::can_change(object),
            can_update: subscription::can_change(object) && has_one_item(world, id),
        }
    };
    world.newest_first(Kind::Subscription, Some(customer)).map(row).collect()
}

/// Returns whether a subscription has a single item. The portal changes no others
/// (<https://docs.stripe.com/api/customer_portal/sessions/create>,
/// `subscription_update_confirm.items`).
pub fn has_one_item(world: &World, subscription: &str) -> bool {
    subscription::items(world, subscription).len() == 1
}

/// Returns the name of a price's product.
pub fn product_name(world: &World, price: &Value) -> String {
    text(world.get(Kind::Product, text(price, "product")), "name").to_owned()
}

/// Returns an amount with the currency of an object. All currencies of the sandbox have cents.
pub fn amount(amount: i64, object: &Value) -> String {
    let currency = text(object, "currency").to_uppercase();
    let sign = if amount < 0 { "-" } else { "" };
    let cents = amount.unsigned_abs();
    format!("{sign}{}.{:02} {currency}", cents / 100, cents % 100)
}
