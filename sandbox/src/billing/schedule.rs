//! Subscription schedules: changes of plan at the ends of the next periods. One of the portal has
//! two phases, the current one and the next, and completes after the second. Other schedules, which
//! the API could create, are not supported.

use serde_json::{Value, json};

use super::{period, subscription};
use crate::objects::{Kind, integer, put, schedule_item, schedule_phase, text, with};
use crate::world::World;

/// Schedules new prices for the first item of a subscription: one for each of its next periods.
pub fn change_later(world: &mut World, sub: &str, prices: &[&str]) {
    let mut items = subscription::items(world, sub).to_vec();
    let Some(first) = items.first() else { return };
    let current = (integer(first, "current_period_start"), integer(first, "current_period_end"));
    let mut phases = vec![phase(world, &items, current)];
    let mut start = current.1;
    for price in prices {
        let price = world.get(Kind::Price, price).clone();
        let end = period::end_after(start, &price["recurring"], start);
        items[0]["price"] = price;
        phases.push(phase(world, &items, (start, end)));
        start = end;
    }
    let schedule = attached(world, sub).unwrap_or_else(|| attach(world, sub, &phases[0]));
    let phases = json!({ "phases": phases });
    world.change(Kind::SubscriptionSchedule, &schedule, phases, "subscription_schedule.updated");
}

/// Creates the schedule of a subscription, with the current phase only. Returns its id.
fn attach(world: &mut World, sub: &str, phase: &Value) -> String {
    let fields = json!({
        "current_phase": dates(phase),
        "customer": world.get(Kind::Subscription, sub)["customer"],
        "phases": [phase],
        "status": "active",
        "subscription": sub,
    });
    let id = world.create(Kind::SubscriptionSchedule, fields, "subscription_schedule.created");
    let fields = json!({ "schedule": id });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    id
}

fn phase(world: &World, items: &[Value], (start, end): (i64, i64)) -> Value {
    let item = |item: &Value| {
        let price = &item["price"];
        let plan = subscription::plan_of(price);
        let fields = json!({ "plan": plan, "price": price["id"], "quantity": item["quantity"] });
        with(schedule_item(), fields)
    };
    let sub = items.first().map_or("", |item| text(item, "subscription"));
    let fields = json!({
        "currency": world.get(Kind::Subscription, sub)["currency"],
        "end_date": end,
        "items": items.iter().map(item).collect::<Vec<_>>(),
        "start_date": start,
    });
    with(schedule_phase(), fields)
}

fn dates(phase: &Value) -> Value {
    json!({ "end_date": phase["end_date"], "start_date": phase["start_date"] })
}

/// Returns the schedule of a subscription, if it has one.
pub fn attached(world: &World, sub: &str) -> Option<String> {
    world.get(Kind::Subscription, sub)["schedule"].as_str().map(str::to_owned)
}

/// Returns the next phase of a subscription's schedule.
pub fn next_phase(world: &World, sub: &str) -> Option<Value> {
    let schedule = world.get(Kind::SubscriptionSchedule, &attached(world, sub)?);
    let began = integer(&schedule["current_phase"], "start_date");
    let mut phases = schedule["phases"].as_array().into_iter().flatten();
    phases.find(|phase| integer(phase, "start_date") > began).cloned()
}

/// A change of a schedule at a renewal.
pub enum PhaseChange {
    /// Its next phase begins.
    Begin(Value),
    /// Its last phase is over.
    Complete,
}

/// Returns how a subscription's schedule changes at the end of a period; none if it has no
/// schedule, or its phase continues.
pub fn phase_change(world: &World, sub: &str) -> Option<PhaseChange> {
    let schedule = world.get(Kind::SubscriptionSchedule, &attached(world, sub)?);
    if integer(&schedule["current_phase"], "end_date") > world.now {
        return None;
    }
    Some(next_phase(world, sub).map_or(PhaseChange::Complete, PhaseChange::Begin))
}

impl PhaseChange {
    /// Applies the next phase to the new fields of the subscription.
    pub fn apply(&self, world: &World, fields: &mut Value) {
        let Self::Begin(phase) = self else {
            fields["schedule"] = Value::Null;
            return;
        };
        let items = fields["items"]["data"].as_array_mut().into_iter().flatten();
        for (item, next) in items.zip(phase["items"].as_array().into_iter().flatten()) {
            let price = world.get(Kind::Price, text(next, "price")).clone();
            let plan = subscription::plan_of(&price);
            put(item, json!({ "plan": plan, "price": price, "quantity": next["quantity"] }));
        }
    }

    /// Updates the schedule.
    pub fn record(&self, world: &mut World, schedule: &str) {
        let (fields, event) = match self {
            Self::Begin(phase) => {
                (json!({ "current_phase": dates(phase) }), "subscription_schedule.updated")
            }
            Self::Complete => {
                let fields = json!({
                    "completed_at": world.now,
                    "current_phase": null,
                    "status": "completed",
                });
                (fields, "subscription_schedule.completed")
            }
        };
        world.change(Kind::SubscriptionSchedule, schedule, fields, event);
    }
}

/// Releases a subscription from its schedule, if it has one. The subscription continues unchanged.
pub fn release(world: &mut World, sub: &str) {
    let Some(schedule) = attached(world, sub) else { return };
    let fields = json!({
        "current_phase": null,
        "released_at": world.now,
        "released_subscription": sub,
        "status": "released",
        "subscription": null,
    });
    world.change(Kind::SubscriptionSchedule, &schedule, fields, "subscription_schedule.released");
    let fields = json!({ "schedule": null });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
}

/// Cancels the schedule of a subscription that has ended.
pub fn cancel(world: &mut World, sub: &str, for_debt: bool) {
    let Some(schedule) = attached(world, sub) else { return };
    let fields = json!({ "canceled_at": world.now, "current_phase": null, "status": "canceled" });
    let event =
        if for_debt { "subscription_schedule.aborted" } else { "subscription_schedule.canceled" };
    world.change(Kind::SubscriptionSchedule, &schedule, fields, event);
}
