//! Renewals: a period ends, the next one begins and is billed.

use serde_json::{Value, json};

use super::payment::Presence;
use super::{collection, ending, invoice, period, schedule, subscription};
use crate::objects::{Kind, integer, put, text};
use crate::world::{Timer, World};

/// How long the invoice of a renewal is a draft.
const DRAFT: i64 = 3_600;

/// Looks whether a cancellation or the end of a period or trial has come.
pub fn due(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let waits = matches!(text(subscription, "status"), "incomplete" | "paused");
    if subscription::has_ended(subscription) || waits {
        return;
    }
    if subscription["cancel_at"].as_i64().is_some_and(|at| at <= world.now) {
        ending::end(world, sub, "cancellation_requested");
    } else if subscription::period_end(world, sub) <= world.now {
        renew(world, sub);
    }
}

fn renew(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub).clone();
    let status = text(&subscription, "status");
    let status = if status == "trialing" { "active" } else { status };
    let scheduled = schedule::step(world, sub);
    let mut fields = json!({
        "billing_cycle_anchor": subscription["billing_cycle_anchor"],
        "items": subscription["items"],
        "status": status,
    });
    if let Some(step) = &scheduled {
        step.apply(world, &mut fields);
    }
    let renewed = begin_periods(world.now, &subscription, &mut fields);
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    world.schedule(subscription::period_end(world, sub), Timer::SubscriptionDue(sub.to_owned()));
    if let (Some(step), Some(schedule)) = (scheduled, subscription["schedule"].as_str()) {
        step.note(world, schedule);
    }
    let mut lines = subscription::lines(world, sub, false);
    lines.retain(|line| renewed.contains(&line.item["id"]));
    let pause = text(&subscription["pause_collection"], "behavior");
    let waits = world.behavior.drafts_renewals && pause.is_empty() && status != "unpaid";
    let draft = status == "unpaid" || pause == "keep_as_draft" || waits;
    let invoice = subscription::bill(world, sub, "subscription_cycle", &lines, draft);
    match pause {
        "void" => invoice::void(world, &invoice),
        "mark_uncollectible" => {
            let fields = json!({ "auto_advance": false, "status": "uncollectible" });
            world.change(Kind::Invoice, &invoice, fields, "invoice.marked_uncollectible");
        }
        _ if waits => {
            world.schedule(world.now + DRAFT, Timer::InvoiceDue(invoice));
        }
        _ if draft => {}
        _ => collection::pay(world, &invoice, Presence::OffSession),
    }
}

/// The invoice of a renewal was a draft for long enough: it is finalized, and collected.
pub fn collect(world: &mut World, invoice: &str) {
    let subscription = world.get(Kind::Subscription, &invoice::subscription_of(world, invoice));
    let paused = !subscription["pause_collection"].is_null();
    let ended = subscription::has_ended(subscription);
    if world.get(Kind::Invoice, invoice)["status"] != "draft" || ended {
        return;
    }
    match paused {
        true => invoice::void(world, invoice),
        false => collection::pay(world, invoice, Presence::OffSession),
    }
}

/// Begins the next period of every item whose period is over; gives their ids. `fields` is what the
/// subscription is to become.
fn begin_periods(now: i64, before: &Value, fields: &mut Value) -> Vec<Value> {
    let mut anchor = integer(fields, "billing_cycle_anchor");
    let mut renewed = Vec::new();
    let items = fields["items"]["data"].as_array_mut().into_iter().flatten();
    for (item, before) in items.zip(before["items"]["data"].as_array().into_iter().flatten()) {
        let start = integer(item, "current_period_end");
        if start > now {
            continue; // Items of another interval have periods of their own.
        }
        if !period::same_interval(&before["price"], &item["price"]) {
            anchor = start; // Another interval is counted anew.
        }
        let end = period::end_after(anchor, &item["price"]["recurring"], start);
        put(item, json!({ "current_period_start": start, "current_period_end": end }));
        renewed.push(item["id"].clone());
    }
    fields["billing_cycle_anchor"] = anchor.into();
    renewed
}
