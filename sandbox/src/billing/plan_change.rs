//! Changes of an item's price as the double made them before `item_change`, for histories that are
//! saved by the seed of a simulation. The rest of the old price is credited and the difference is
//! billed at once. A negative difference is not carried over.

use serde_json::{Value, json};

use super::invoice::{InitialState, Line};
use super::{collection, period, price, subscription};
use crate::objects::{Kind, integer, put, text};
use crate::world::{Timer, World};

/// Changes the price of a subscription item, and bills the difference. A different interval starts
/// a new period now.
pub fn change_price(world: &mut World, sub: &str, item: &str, price: &str, quantity: i64) {
    let subscription = world.get(Kind::Subscription, sub).clone();
    let price = world.get(Kind::Price, price).clone();
    let Some(before) =
        subscription::items(world, sub).iter().find(|candidate| candidate["id"] == item).cloned()
    else {
        return;
    };
    let trialing = subscription["status"] == "trialing";
    let keeps_period = period::same_interval(&before["price"], &price) || trialing;
    let now = world.now;
    let period = if keeps_period {
        (integer(&before, "current_period_start"), integer(&before, "current_period_end"))
    } else {
        (now, period::end_after(now, &price["recurring"], now))
    };
    let mut after = before.clone();
    let fields = json!({
        "current_period_start": period.0,
        "current_period_end": period.1,
        "plan": subscription::plan_of(&price),
        "price": price,
        "quantity": quantity,
    });
    put(&mut after, fields);
    replace_item(world, sub, &after, (!keeps_period).then_some(now));
    world.schedule(period.1, Timer::SubscriptionDue(sub.to_owned()));
    if !trialing {
        bill_difference(world, sub, &before, after, !keeps_period);
    }
}

fn replace_item(world: &mut World, sub: &str, after: &Value, anchor: Option<i64>) {
    let subscription = world.get(Kind::Subscription, sub);
    let mut items = subscription["items"].clone();
    for item in items["data"].as_array_mut().into_iter().flatten() {
        if item["id"] == after["id"] {
            *item = after.clone();
        }
    }
    let anchor = anchor.unwrap_or_else(|| integer(subscription, "billing_cycle_anchor"));
    let fields = json!({ "billing_cycle_anchor": anchor, "items": items });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
}

/// Bills the difference. A period that starts now gets an invoice even if nothing is due.
fn bill_difference(world: &mut World, sub: &str, before: &Value, after: Value, begins: bool) {
    let given_back = -remaining_value(world, before);
    let billed = remaining_value(world, &after);
    if billed + given_back <= 0 && !begins {
        return;
    }
    let ends = |item: &Value| (world.now, integer(item, "current_period_end"));
    let lines = [
        Line { amount: given_back, proration: true, period: ends(before), item: before.clone() },
        Line { amount: billed, proration: true, period: ends(&after), item: after },
    ];
    let invoice =
        subscription::bill(world, sub, "subscription_update", &lines, InitialState::Finalized);
    collection::advance(world, &invoice);
}

/// Returns the value of the rest of an item's period.
fn remaining_value(world: &World, item: &Value) -> i64 {
    let (start, end) = (integer(item, "current_period_start"), integer(item, "current_period_end"));
    let subscription = world.get(Kind::Subscription, text(item, "subscription"));
    let unit = price::unit_amount(world, &item["price"], text(subscription, "currency"));
    let whole = unit * integer(item, "quantity");
    whole * (end - world.now).max(0) / (end - start).max(1)
}
