//! Updates of subscriptions that wait until their invoice is paid
//! (<https://docs.stripe.com/billing/subscriptions/pending-updates-reference>). They begin in
//! `item_change`.

use serde_json::{Value, json};

use super::{invoice, subscription};
use crate::objects::{Kind, with};
use crate::world::{PendingUpdate, Timer, World};

/// A pending update expires after this time, in seconds, unless the period or the trial ends first.
const EXPIRES_AFTER_SECONDS: i64 = 23 * 3_600;

/// Lets an update wait for the payment of its invoice. `fields` are those of the subscription after
/// it.
pub fn begin(world: &mut World, sub: &str, invoice: &str, fields: Value) {
    let period_end = subscription::period_end(world, sub);
    let expires_at = period_end.min(world.now + EXPIRES_AFTER_SECONDS);
    let update = PendingUpdate { invoice: invoice.to_owned(), fields, expires_at };
    world.pending_updates.insert(sub.to_owned(), update);
    world.schedule(expires_at, Timer::PendingUpdateExpires(sub.to_owned()));
}

/// Shows the update of a subscription in its `pending_update`, if it is still waiting.
pub fn show(world: &mut World, sub: &str) {
    let Some(update) = world.pending_updates.get(sub) else { return };
    let fields = json!({
        "pending_update": {
            "billing_cycle_anchor": update.fields["billing_cycle_anchor"],
            "discount": null,
            "discounts": update.fields["discounts"].as_array().cloned().unwrap_or_default(),
            "expires_at": update.expires_at,
            "metadata": null,
            "subscription_items": update.fields["items"]["data"],
            "trial_end": null,
            "trial_from_plan": null,
        },
    });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
}

/// Keeps the discounts that a subscription gets with its update, if it waits. Until then the
/// subscription has those of `before`.
pub fn hold_discounts(world: &mut World, sub: &str, before: &Value) {
    let after = world.get(Kind::Subscription, sub)["discounts"].clone();
    let Some(update) = world.pending_updates.get_mut(sub).filter(|_| after != *before) else {
        return;
    };
    update.fields["discounts"] = after;
    world.set(Kind::Subscription, sub, json!({ "discounts": before }));
    show(world, sub);
}

/// Whether an invoice bills the pending update of a subscription. Its payment is not retried, and a
/// failure does not change the subscription.
pub fn is_billed_by(world: &World, sub: &str, invoice: &str) -> bool {
    world.pending_updates.get(sub).is_some_and(|update| update.invoice == invoice)
}

/// Applies the update of a subscription when its invoice is paid, and drops it when that is void.
pub fn settle(world: &mut World, sub: &str, invoice: &str) {
    if !is_billed_by(world, sub, invoice) {
        return;
    }
    match world.get(Kind::Invoice, invoice)["status"].as_str() {
        Some("paid") => {
            let Some(update) = world.pending_updates.remove(sub) else { return };
            let was_shown = world.get(Kind::Subscription, sub)["pending_update"].is_object();
            let fields = with(update.fields, json!({ "pending_update": null }));
            subscription::change_items(world, sub, fields);
            if was_shown {
                let event = "customer.subscription.pending_update_applied";
                world.announce(Kind::Subscription, sub, event);
            }
        }
        Some("void") => forget(world, sub, "customer.subscription.updated"),
        _ => {}
    }
}

/// Voids the invoice of a subscription's update, and drops the update.
pub fn discard(world: &mut World, sub: &str) {
    drop_update(world, sub, "customer.subscription.updated");
}

/// Drops the update of a subscription when its time has come.
pub fn expire_if_due(world: &mut World, sub: &str) {
    if world.pending_updates.get(sub).is_some_and(|update| update.expires_at <= world.now) {
        drop_update(world, sub, "customer.subscription.pending_update_expired");
    }
}

fn drop_update(world: &mut World, sub: &str, event: &str) {
    let Some(update) = world.pending_updates.get(sub) else { return };
    let invoice = update.invoice.clone();
    if invoice::is_unpaid(world.get(Kind::Invoice, &invoice)) {
        invoice::void(world, &invoice);
    }
    forget(world, sub, event);
}

/// Drops the update of a subscription without touching its invoice.
pub fn forget(world: &mut World, sub: &str, event: &str) {
    if world.pending_updates.remove(sub).is_some() {
        let fields = json!({ "pending_update": null });
        world.change(Kind::Subscription, sub, fields, event);
    }
}
