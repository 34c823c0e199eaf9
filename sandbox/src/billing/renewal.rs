//! Renewals: a period ends, the next one begins and is billed.

use serde_json::{Value, json};

use super::invoice::{DRAFT, Opening};
use super::{collection, ending, invoice, period, schedule, subscription};
use crate::objects::{Kind, integer, put, text};
use crate::world::{Timer, World};

/// Looks whether a cancellation or the end of a period or trial has come.
pub fn due(world: &mut World, sub: &str) {
    resume_if_due(world, sub);
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

/// Has a pause end when it is to, if it is.
pub fn resume_later(world: &mut World, sub: &str) {
    let pause = &world.get(Kind::Subscription, sub)["pause_collection"];
    if let Some(at) = pause["resumes_at"].as_i64() {
        world.schedule(at, Timer::SubscriptionDue(sub.to_owned()));
    }
}

/// A pause may have an end.
fn resume_if_due(world: &mut World, sub: &str) {
    let pause = &world.get(Kind::Subscription, sub)["pause_collection"];
    if pause["resumes_at"].as_i64().is_some_and(|at| at <= world.now) {
        let fields = json!({ "pause_collection": null });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
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
    let pause = subscription["pause_collection"]["behavior"].as_str();
    let opening = match pause {
        Some("keep_as_draft") => Opening::KeptAsDraft,
        _ if status == "unpaid" => Opening::KeptAsDraft,
        None if world.behavior.drafts_renewals => Opening::Draft,
        _ => Opening::Finalized,
    };
    let invoice = subscription::bill(world, sub, "subscription_cycle", &lines, opening);
    match (pause, opening) {
        (Some(pause), _) => leave_uncollected(world, &invoice, pause),
        (None, Opening::Finalized) => collection::advance(world, &invoice),
        (None, Opening::Draft) => {
            world.schedule(world.now + DRAFT, Timer::InvoiceDue(invoice));
        }
        (None, Opening::KeptAsDraft) => {}
    }
}

/// What becomes of an invoice while collection is paused
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

/// The invoice of a renewal was a draft for long enough: it is finalized, and collected.
pub fn collect(world: &mut World, invoice: &str) {
    let subscription = world.get(Kind::Subscription, &invoice::subscription_of(world, invoice));
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
