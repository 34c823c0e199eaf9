//! Trials: their end is announced, moved or reached
//! (<https://docs.stripe.com/billing/subscriptions/trials>). How a trial begins is in
//! `subscription`.

use serde_json::{Value, json};

use super::{customer, ending, renewal, subscription};
use crate::objects::{Kind, put, text};
use crate::world::{MissingMethod, Timer, World};

/// How long before its end a trial is announced, in seconds
/// (<https://docs.stripe.com/api/events/types#event_types-customer.subscription.trial_will_end>).
const ANNOUNCED_BEFORE_SECONDS: i64 = 3 * 86_400;

/// Returns the `trial_settings` of a subscription.
pub fn settings(missing_method: MissingMethod) -> Value {
    json!({ "end_behavior": { "missing_payment_method": missing_method.name() } })
}

/// Announces the end of a subscription's trial in time: at once if it is near.
pub fn watch(world: &mut World, sub: &str) {
    let Some(end) = world.get(Kind::Subscription, sub)["trial_end"].as_i64() else { return };
    let at = end - ANNOUNCED_BEFORE_SECONDS;
    if at > world.now {
        world.schedule(at, Timer::TrialEndsSoon(sub.to_owned()));
    } else {
        announce_end(world, sub);
    }
}

/// Announces the end of a trial that is near, once for each end.
pub fn announce_end(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let end = subscription["trial_end"].as_i64().unwrap_or_default();
    let is_near = end - ANNOUNCED_BEFORE_SECONDS <= world.now;
    let is_trialing = subscription["status"] == "trialing";
    if !is_trialing || !is_near || !world.behavior.announces_trial_ends {
        return;
    }
    if world.announced_trials.insert(sub.to_owned(), end) != Some(end) {
        world.announce(Kind::Subscription, sub, "customer.subscription.trial_will_end");
    }
}

/// Moves the end of a trial. The first period that is paid begins then.
pub fn extend(world: &mut World, sub: &str, end: i64) {
    let fields = until(world, sub, end);
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    world.schedule(end, Timer::SubscriptionDue(sub.to_owned()));
    watch(world, sub);
}

/// Ends a trial now, and bills the first period.
pub fn end_now(world: &mut World, sub: &str) {
    let fields = until(world, sub, world.now);
    world.set(Kind::Subscription, sub, fields);
    announce_end(world, sub);
    if !stop(world, sub) {
        renewal::renew(world, sub, "subscription_update");
    }
}

/// Returns the fields of a subscription whose trial ends at `end`.
fn until(world: &World, sub: &str, end: i64) -> Value {
    let mut items = world.get(Kind::Subscription, sub)["items"].clone();
    for item in items["data"].as_array_mut().into_iter().flatten() {
        put(item, json!({ "current_period_end": end }));
    }
    json!({ "billing_cycle_anchor": end, "items": items, "trial_end": end })
}

/// Pauses or cancels a subscription whose trial has ended, if it has no payment method and its
/// settings say so. Returns whether they did.
pub fn stop(world: &mut World, sub: &str) -> bool {
    let subscription = world.get(Kind::Subscription, sub);
    let behavior = text(&subscription["trial_settings"]["end_behavior"], "missing_payment_method");
    let is_charged = subscription["collection_method"] == "charge_automatically";
    let has_method =
        customer::method_of(world, subscription, text(subscription, "customer")).is_some();
    if subscription["status"] != "trialing" || !is_charged || has_method {
        return false;
    }
    match MissingMethod::named(behavior) {
        Some(MissingMethod::Pause) => {
            subscription::set_status(world, sub, "paused");
            world.announce(Kind::Subscription, sub, "customer.subscription.paused");
            true
        }
        Some(MissingMethod::Cancel) => {
            ending::end(world, sub, "cancellation_requested");
            true
        }
        Some(MissingMethod::CreateInvoice) | None => false,
    }
}
