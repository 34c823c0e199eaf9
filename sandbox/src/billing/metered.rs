//! Metered prices: usage is added up during a period and billed at its end
//! (<https://docs.stripe.com/billing/subscriptions/usage-based>), or when it reaches a threshold
//! (<https://docs.stripe.com/billing/subscriptions/usage-based/thresholds>). Usage is added by
//! `Double::add_usage`, not by meter events.

use serde_json::Value;

use super::invoice::{InitialState, Line};
use super::{collection, price, subscription};
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Whether the usage of a price is metered. An item of it has no quantity.
pub fn is_metered(price: &Value) -> bool {
    price["recurring"]["usage_type"] == "metered"
}

/// Removes the quantity of an item if its price is metered.
pub fn drop_quantity(item: &mut Value) {
    if is_metered(&item["price"]) {
        item.as_object_mut().and_then(|item| item.remove("quantity"));
    }
}

/// Adds usage to an item, and bills it if that reaches the subscription's threshold.
pub fn add_usage(world: &mut World, sub: &str, item: &str, units: i64) {
    *world.usage.entry(item.to_owned()).or_default() += units;
    let subscription = world.get(Kind::Subscription, sub);
    let threshold = subscription["billing_thresholds"]["amount_gte"].as_i64();
    let is_free = subscription["status"] == "trialing";
    let until = world.now;
    let lines: Vec<Line> = metered_items(world, sub)
        .into_iter()
        .map(|item| usage_line(world, sub, &item, until))
        .collect();
    let amount: i64 = lines.iter().map(|line| line.amount).sum();
    if !is_free && threshold.is_some_and(|threshold| amount >= threshold) {
        bill(world, sub, "subscription_threshold", lines);
    }
}

/// Bills the usage until now of a subscription that ends
/// (<https://docs.stripe.com/billing/subscriptions/cancel>).
pub fn bill_last(world: &mut World, sub: &str) {
    let until = world.now;
    let items = metered_items(world, sub).into_iter();
    let mut lines: Vec<Line> = items.map(|item| usage_line(world, sub, &item, until)).collect();
    lines.retain(|line| line.amount > 0);
    if !lines.is_empty() {
        bill(world, sub, "subscription_cycle", lines);
    }
}

fn bill(world: &mut World, sub: &str, reason: &str, lines: Vec<Line>) {
    for line in &lines {
        world.usage.remove(text(&line.item, "id"));
    }
    let invoice = subscription::bill(world, sub, reason, &lines, InitialState::Finalized);
    collection::advance(world, &invoice);
}

/// Replaces the lines of metered items in a renewal by lines for the usage of the period before.
/// The usage of a trial is free
/// (<https://docs.stripe.com/billing/subscriptions/trials#combine-trials-with-usage-based-billing>).
pub fn fill(world: &mut World, sub: &str, before: &Value, lines: &mut [Line]) {
    for line in lines.iter_mut().filter(|line| is_metered(&line.item["price"])) {
        let mut items = before["items"]["data"].as_array().into_iter().flatten();
        let Some(item) = items.find(|item| item["id"] == line.item["id"]) else { continue };
        if before["status"] == "trialing" {
            world.usage.remove(text(item, "id"));
        }
        *line = usage_line(world, sub, item, integer(item, "current_period_end"));
        world.usage.remove(text(item, "id"));
    }
}

/// Returns the metered items of a subscription.
fn metered_items(world: &World, sub: &str) -> Vec<Value> {
    let items = subscription::items(world, sub).iter();
    items.filter(|item| is_metered(&item["price"])).cloned().collect()
}

/// Returns the line that bills the usage of an item until a time.
fn usage_line(world: &World, sub: &str, item: &Value, until: i64) -> Line {
    let units = world.usage.get(text(item, "id")).copied().unwrap_or_default();
    let currency = text(world.get(Kind::Subscription, sub), "currency");
    let amount = price::unit_amount(world, &item["price"], currency) * units;
    let period = (integer(item, "current_period_start"), until);
    let mut item = item.clone();
    item["quantity"] = units.into();
    Line { item, amount, proration: false, period }
}
