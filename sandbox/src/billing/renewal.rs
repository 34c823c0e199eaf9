//! Renewals: starts the next period and bills it. Failed payments are in `collection`.

use serde_json::{Value, json};

use super::invoice::{DRAFT_SECONDS, InitialState};
use super::{
    collection, ending, invoice, invoice_item, metered, pending_update, period, schedule,
    subscription, trial,
};
use crate::objects::{Kind, integer, put, text};
use crate::world::{Timer, World};

/// Handles the timer of a subscription: resumes, cancels or renews it if that is due.
pub fn handle_timer(world: &mut World, sub: &str) {
    resume_if_due(world, sub);
    pending_update::expire_if_due(world, sub);
    let subscription = world.get(Kind::Subscription, sub);
    let waits = matches!(text(subscription, "status"), "incomplete" | "paused");
    if subscription::has_ended(subscription) || waits {
        return;
    }
    if subscription["cancel_at"].as_i64().is_some_and(|at| at <= world.now) {
        metered::bill_last(world, sub);
        bill_pending(world, sub);
        ending::end(world, sub, "cancellation_requested");
    } else if subscription::period_end(world, sub) <= world.now && !trial::stop(world, sub) {
        renew(world, sub, "subscription_cycle");
    }
}

/// Bills the pending items of a subscription that ends with its period
/// (<https://docs.stripe.com/api/subscriptions/cancel>).
fn bill_pending(world: &mut World, sub: &str) {
    if invoice_item::pending(world, sub).is_empty() {
        return;
    }
    let state = InitialState::Finalized;
    let invoice = subscription::bill(world, sub, "subscription_cycle", &[], state);
    collection::advance(world, &invoice);
}

/// Sets a timer for the end of a pause, if it has one.
pub fn resume_later(world: &mut World, sub: &str) {
    let pause = &world.get(Kind::Subscription, sub)["pause_collection"];
    if let Some(at) = pause["resumes_at"].as_i64() {
        world.schedule(at, Timer::SubscriptionDue(sub.to_owned()));
    }
}

/// Ends a pause whose end has come.
fn resume_if_due(world: &mut World, sub: &str) {
    let pause = &world.get(Kind::Subscription, sub)["pause_collection"];
    if pause["resumes_at"].as_i64().is_some_and(|at| at <= world.now) {
        let fields = json!({ "pause_collection": null });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    }
}

/// Starts the next period of a subscription and bills it, for one of Stripe's reasons.
pub fn renew(world: &mut World, sub: &str, reason: &str) {
    let subscription = world.get(Kind::Subscription, sub).clone();
    let status = text(&subscription, "status");
    let status = if status == "trialing" { "active" } else { status };
    let scheduled = schedule::phase_change(world, sub);
    let mut fields = json!({
        "billing_cycle_anchor": subscription["billing_cycle_anchor"],
        "items": subscription["items"],
        "status": status,
    });
    if let Some(change) = &scheduled {
        change.apply(world, &mut fields);
    }
    let renewed = begin_periods(world.now, &subscription, &mut fields);
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    world.schedule(subscription::period_end(world, sub), Timer::SubscriptionDue(sub.to_owned()));
    if let (Some(change), Some(schedule)) = (scheduled, subscription["schedule"].as_str()) {
        change.record(world, schedule);
    }
    let mut lines = subscription::lines(world, sub, false);
    lines.retain(|line| renewed.contains(&line.item["id"]));
    metered::fill(world, sub, &subscription, &mut lines);
    let pause = subscription["pause_collection"]["behavior"].as_str();
    let initial = match pause {
        Some("keep_as_draft") => InitialState::KeptAsDraft,
        _ if status == "unpaid" => InitialState::KeptAsDraft,
        None if world.behavior.drafts_renewals && reason == "subscription_cycle" => {
            InitialState::Draft
        }
        _ => InitialState::Finalized,
    };
    let invoice = subscription::bill(world, sub, reason, &lines, initial);
    match (pause, initial) {
        (Some(pause), _) => leave_uncollected(world, &invoice, pause),
        (None, InitialState::Finalized) => collection::advance(world, &invoice),
        (None, InitialState::Draft) => {
            world.schedule(world.now + DRAFT_SECONDS, Timer::InvoiceDue(invoice));
        }
        (None, InitialState::KeptAsDraft) => {}
    }
}

/// Leaves an invoice uncollected, because the collection is paused
/// (<https://docs.stripe.com/billing/subscriptions/pause-payment>).
fn leave_uncollected(world: &mut World, invoice: &str, pause: &str) {
    if pause == "keep_as_draft" {
        world.set(Kind::Invoice, invoice, json!({ "auto_advance": false }));
        return;
    }
    collection::finalize(world, invoice);
    if world.get(Kind::Invoice, invoice)["status"] != "open" {
        return; // Nothing was due.
    }
    match pause {
        "void" => invoice::void(world, invoice),
        _ => invoice::mark_uncollectible(world, invoice, "subscription_paused"),
    }
}

/// Finalizes and charges the draft invoice of a renewal.
pub fn collect_draft(world: &mut World, invoice: &str) {
    let Some(sub) = invoice::subscription_of(world, invoice) else { return };
    let subscription = world.get(Kind::Subscription, &sub);
    let pause = subscription["pause_collection"]["behavior"].as_str().map(str::to_owned);
    let ended = subscription::has_ended(subscription);
    if world.get(Kind::Invoice, invoice)["status"] != "draft" || ended {
        return;
    }
    match pause {
        Some(pause) => leave_uncollected(world, invoice, &pause),
        None => collection::advance(world, invoice),
    }
}

/// Starts the next period of every item whose period has ended. `fields` are the new fields of the
/// subscription. Returns the items' ids.
fn begin_periods(now: i64, before: &Value, fields: &mut Value) -> Vec<Value> {
    let mut anchor = integer(fields, "billing_cycle_anchor");
    let mut renewed = Vec::new();
    let items = fields["items"]["data"].as_array_mut().into_iter().flatten();
    for (item, before) in items.zip(before["items"]["data"].as_array().into_iter().flatten()) {
        let start = integer(item, "current_period_end");
        if start > now {
            continue; // Items of another interval have their own periods.
        }
        if !period::same_interval(&before["price"], &item["price"]) {
            anchor = start; // A new interval starts a new count.
        }
        let end = period::end_after(anchor, &item["price"]["recurring"], start);
        put(item, json!({ "current_period_start": start, "current_period_end": end }));
        renewed.push(item["id"].clone());
    }
    fields["billing_cycle_anchor"] = anchor.into();
    renewed
}
