//! The end of subscriptions, when canceled or after failed payments, and the deletion of customers.
//! Renewals are in `renewal`.

use serde_json::{Value, json};

use super::{invoice, invoice_item, pending_update, schedule, subscription};
use crate::objects::{Kind, put, text};
use crate::options::CancelField;
use crate::world::{Timer, World};

/// Ends a subscription whose first payment was not completed in time.
pub fn expire_incomplete(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    if subscription["status"] == "incomplete" {
        let fields = json!({ "status": "incomplete_expired", "ended_at": world.now });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
        void_first(world, sub);
    }
}

/// Cancels a subscription at the end of its period, or undoes that.
pub fn cancel_with_period(world: &mut World, sub: &str, cancel: bool, by: CancelField) {
    let at = subscription::period_end(world, sub);
    cancel_at(world, sub, cancel.then_some(at), cancel && by == CancelField::PeriodEnd);
}

/// Cancels a subscription at a time; none undoes that.
pub fn cancel_at(world: &mut World, sub: &str, at: Option<i64>, with_period: bool) {
    let mut details = world.get(Kind::Subscription, sub)["cancellation_details"].clone();
    put(&mut details, json!({ "reason": at.map(|_| "cancellation_requested") }));
    let fields = json!({
        "cancel_at": at,
        "cancel_at_period_end": with_period,
        "canceled_at": at.map(|_| world.now),
        "cancellation_details": details,
    });
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    if let Some(at) = at {
        world.schedule(at, Timer::SubscriptionDue(sub.to_owned()));
    }
}

/// Ends a subscription now. Its pending items are dropped
/// (<https://docs.stripe.com/api/subscriptions/cancel>).
pub fn end(world: &mut World, sub: &str, reason: &str) {
    pending_update::forget(world, sub, "customer.subscription.updated");
    invoice_item::remove_pending(world, sub);
    let subscription = world.get(Kind::Subscription, sub).clone();
    let now = world.now;
    let mut details = subscription["cancellation_details"].clone();
    put(&mut details, json!({ "reason": reason }));
    let fields = json!({
        "cancel_at_period_end": false,
        "canceled_at": subscription["canceled_at"].as_i64().unwrap_or(now),
        "cancellation_details": details,
        "ended_at": now,
        "status": "canceled",
    });
    world.set(Kind::Subscription, sub, fields);
    world.announce(Kind::Subscription, sub, "customer.subscription.deleted");
    schedule::cancel(world, sub, reason == "payment_failed");
    if subscription["status"] == "incomplete" {
        void_first(world, sub);
    } else {
        stop_collection(world, sub, text(&subscription, "customer"));
    }
}

/// Stops the collection of a subscription's unpaid invoices, which can still be paid
/// (<https://docs.stripe.com/billing/subscriptions/cancel>).
fn stop_collection(world: &mut World, sub: &str, customer: &str) {
    let invoices = world.newest_first(Kind::Invoice, Some(customer));
    let unpaid = invoices.filter(|invoice| {
        invoice["parent"]["subscription_details"]["subscription"] == sub
            && matches!(text(invoice, "status"), "draft" | "open")
    });
    let unpaid: Vec<String> = unpaid.map(|invoice| text(invoice, "id").to_owned()).collect();
    for invoice in unpaid {
        let fields = json!({ "auto_advance": false, "next_payment_attempt": null });
        world.change(Kind::Invoice, &invoice, fields, "invoice.updated");
    }
}

fn void_first(world: &mut World, sub: &str) {
    let latest = text(world.get(Kind::Subscription, sub), "latest_invoice").to_owned();
    if invoice::is_unpaid(world.get(Kind::Invoice, &latest)) {
        invoice::void(world, &latest);
    }
}

/// Deletes a customer, after ending its subscriptions. Returns the response of the API.
pub fn delete_customer(world: &mut World, customer: &str) -> Value {
    for id in subscription::live_of(world, customer) {
        end(world, &id, "cancellation_requested");
    }
    world.announce(Kind::Customer, customer, "customer.deleted");
    let deleted = json!({ "id": customer, "object": "customer", "deleted": true });
    world.update(Kind::Customer, customer, |object| *object = deleted.clone());
    deleted
}
