//! Subscriptions: begun, renewed, changed, ended; and what a payment means for them.

use serde_json::{Map, Value, json};

use super::invoice::{self, Line};
use super::payment::Presence;
use super::{period, schedule};
use crate::objects::{Kind, integer, list, plan, put, subscription_item, text, with};
use crate::options::{AfterRetries, CancelField};
use crate::world::{Timer, World};

const DAY: i64 = 86_400;

/// Stripe gives up on a first payment after this time.
pub const INCOMPLETE_EXPIRES_AFTER: i64 = 23 * 3_600;

/// How long the invoice of a renewal is a draft.
const DRAFT: i64 = 3_600;

/// A failed payment is tried again after so many days each.
const RETRY_AFTER_DAYS: [i64; 3] = [3, 5, 7];

/// What a subscription is made from.
pub struct NewSubscription {
    /// Who pays.
    pub customer: String,
    /// Price ids and quantities.
    pub lines: Vec<(String, i64)>,
    /// The subscription's metadata.
    pub metadata: Map<String, Value>,
    /// When the trial ends, if it begins with one.
    pub trial_end: Option<i64>,
    /// The payment method, if it has one of its own.
    pub method: Option<String>,
}

/// Makes a subscription and its first invoice, which is not paid yet unless nothing is due.
pub fn create(world: &mut World, new: NewSubscription) -> String {
    let now = world.now;
    let id = world.id(Kind::Subscription.prefix());
    let prices =
        new.lines.iter().map(|(price, quantity)| (world.get(Kind::Price, price), quantity));
    let prices: Vec<(Value, i64)> =
        prices.map(|(price, quantity)| (price.clone(), *quantity)).collect();
    let anchor = new.trial_end.unwrap_or(now);
    let items: Vec<Value> = prices
        .iter()
        .map(|(price, quantity)| {
            let end = new.trial_end.unwrap_or(period::end_after(now, &price["recurring"], now));
            item(world, &id, price, *quantity, (now, end))
        })
        .collect();
    let url = format!("/v1/subscription_items?subscription={id}");
    let currency = prices.first().map_or(Value::Null, |(price, _)| price["currency"].clone());
    world.set(Kind::Customer, &new.customer, json!({ "currency": currency }));
    let fields = json!({
        "billing_cycle_anchor": anchor,
        "currency": currency,
        "customer": new.customer,
        "default_payment_method": new.method,
        "items": list(items, false, &url),
        "metadata": new.metadata,
        "start_date": now,
        "status": if new.trial_end.is_some() { "trialing" } else { "incomplete" },
        "trial_start": new.trial_end.map(|_| now),
        "trial_end": new.trial_end,
    });
    world.insert_as(Kind::Subscription, &id, fields);
    world.schedule(period_end(world, &id), Timer::SubscriptionDue(id.clone()));
    world.schedule(now + INCOMPLETE_EXPIRES_AFTER, Timer::IncompleteExpires(id.clone()));
    let lines = lines(world, &id, new.trial_end.is_some());
    invoice::open(world, &id, "subscription_create", &lines, false);
    world.announce(Kind::Subscription, &id, "customer.subscription.created");
    id
}

fn item(world: &mut World, sub: &str, price: &Value, quantity: i64, period: (i64, i64)) -> Value {
    let fields = json!({
        "id": world.id("si_"),
        "created": world.now,
        "current_period_start": period.0,
        "current_period_end": period.1,
        "plan": plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": sub,
    });
    with(subscription_item(), fields)
}

/// The old object that Stripe still shows beside each price.
pub fn plan_of(price: &Value) -> Value {
    let fields = json!({
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "created": price["created"],
        "currency": price["currency"],
        "id": price["id"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "product": price["product"],
    });
    with(plan(), fields)
}

/// The lines of an invoice for the current period.
fn lines(world: &World, sub: &str, free: bool) -> Vec<Line> {
    let bill = |item: &Value| {
        let amount = integer(&item["price"], "unit_amount") * integer(item, "quantity");
        let period = (integer(item, "current_period_start"), integer(item, "current_period_end"));
        Line { item: item.clone(), amount: if free { 0 } else { amount }, proration: false, period }
    };
    items(world, sub).iter().map(bill).collect()
}

/// The items of a subscription.
pub fn items<'a>(world: &'a World, sub: &str) -> &'a [Value] {
    let items = world.get(Kind::Subscription, sub)["items"]["data"].as_array();
    items.map_or(&[], Vec::as_slice)
}

/// The earliest end among the items' periods.
pub fn period_end(world: &World, sub: &str) -> i64 {
    let ends = items(world, sub).iter().map(|item| integer(item, "current_period_end"));
    ends.min().unwrap_or_default()
}

/// The subscriptions of a customer that have not ended.
pub fn live_of(world: &World, customer: &str) -> Vec<String> {
    let subscriptions = world.newest_first(Kind::Subscription, Some(customer));
    let live = subscriptions.filter(|subscription| !has_ended(subscription));
    live.map(|subscription| text(subscription, "id").to_owned()).collect()
}

/// Whether nothing can happen to it any more.
pub fn has_ended(subscription: &Value) -> bool {
    matches!(text(subscription, "status"), "canceled" | "incomplete_expired")
}

/// Whether its items and its course can be changed: neither after its end, nor while its first payment is
/// asked for in vain (<https://docs.stripe.com/api/subscriptions/object#subscription_object-status>).
pub fn can_change(subscription: &Value) -> bool {
    !has_ended(subscription) && subscription["status"] != "incomplete"
}

fn set_status(world: &mut World, sub: &str, status: &str) {
    if world.get(Kind::Subscription, sub)["status"] != status {
        let fields = json!({ "status": status });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    }
}

/// One of its invoices is paid.
pub fn invoice_paid(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let latest = world.get(Kind::Invoice, text(subscription, "latest_invoice"));
    let owing = matches!(text(subscription, "status"), "incomplete" | "past_due" | "unpaid");
    if owing && latest["status"] == "paid" {
        set_status(world, sub, "active");
    }
}

/// Its first payment is under way: Stripe counts on it.
pub fn payment_is_processing(world: &mut World, sub: &str) {
    if world.get(Kind::Subscription, sub)["status"] == "incomplete" {
        set_status(world, sub, "active");
    }
}

/// A payment of one of its invoices failed. A first payment is left to the customer, any other
/// is tried again, and in the end the account's setting decides.
pub fn payment_failed(world: &mut World, sub: &str, invoice: &str) {
    let status = text(world.get(Kind::Subscription, sub), "status").to_owned();
    let attempts = integer(world.get(Kind::Invoice, invoice), "attempt_count");
    let retry = usize::try_from(attempts - 1).ok().and_then(|made| RETRY_AFTER_DAYS.get(made));
    let retries = matches!(status.as_str(), "active" | "past_due" | "trialing");
    let next = retry.filter(|_| retries).map(|days| world.now + days * DAY);
    world.set(Kind::Invoice, invoice, json!({ "next_payment_attempt": next }));
    world.announce(Kind::Invoice, invoice, "invoice.payment_failed");
    if !retries {
        return;
    }
    if let Some(at) = next {
        world.schedule(at, Timer::RetryPayment(invoice.to_owned()));
        set_status(world, sub, "past_due");
        return;
    }
    match world.behavior.after_retries {
        AfterRetries::PastDue => set_status(world, sub, "past_due"),
        AfterRetries::Unpaid => set_status(world, sub, "unpaid"),
        AfterRetries::Cancel => end(world, sub, "payment_failed"),
    }
}

/// A retry is due, unless the invoice was paid or given up meanwhile.
pub fn retry(world: &mut World, invoice: &str) {
    let object = world.get(Kind::Invoice, invoice);
    let due = object["next_payment_attempt"].as_i64().is_some_and(|at| at <= world.now);
    if object["status"] == "open" && due {
        invoice::pay(world, invoice, Presence::OffSession);
    }
}

/// Nobody completed the first payment in time.
pub fn expire_incomplete(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    if subscription["status"] == "incomplete" {
        let invoice = text(subscription, "latest_invoice").to_owned();
        let fields = json!({ "status": "incomplete_expired", "ended_at": world.now });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
        invoice::void(world, &invoice);
    }
}

/// Looks whether a cancellation or the end of a period or trial has come.
pub fn due(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let waits = matches!(text(subscription, "status"), "incomplete" | "paused");
    if has_ended(subscription) || waits {
        return;
    }
    if subscription["cancel_at"].as_i64().is_some_and(|at| at <= world.now) {
        end(world, sub, "cancellation_requested");
    } else if period_end(world, sub) <= world.now {
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
    world.schedule(period_end(world, sub), Timer::SubscriptionDue(sub.to_owned()));
    if let (Some(step), Some(schedule)) = (scheduled, subscription["schedule"].as_str()) {
        step.note(world, schedule);
    }
    let mut lines = lines(world, sub, false);
    lines.retain(|line| renewed.contains(&line.item["id"]));
    let pause = text(&subscription["pause_collection"], "behavior");
    let waits = world.behavior.drafts_renewals && pause.is_empty() && status != "unpaid";
    let draft = status == "unpaid" || pause == "keep_as_draft" || waits;
    let invoice = invoice::open(world, sub, "subscription_cycle", &lines, draft);
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
        _ => invoice::pay(world, &invoice, Presence::OffSession),
    }
}

/// The invoice of a renewal was a draft for long enough: it is finalized, and collected.
pub fn collect(world: &mut World, invoice: &str) {
    let subscription = world.get(Kind::Subscription, &invoice::subscription_of(world, invoice));
    let paused = !subscription["pause_collection"].is_null();
    let ended = has_ended(subscription);
    if world.get(Kind::Invoice, invoice)["status"] != "draft" || ended {
        return;
    }
    match paused {
        true => invoice::void(world, invoice),
        false => invoice::pay(world, invoice, Presence::OffSession),
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

/// Has it end with its period, or takes that back.
pub fn cancel_with_period(world: &mut World, sub: &str, cancel: bool, by: CancelField) {
    let at = period_end(world, sub);
    cancel_at(world, sub, cancel.then_some(at), cancel && by == CancelField::PeriodEnd);
}

/// Has it end at a time, or takes that back.
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

/// Ends it now.
pub fn end(world: &mut World, sub: &str, reason: &str) {
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
    let latest = text(&subscription, "latest_invoice");
    if world.get(Kind::Invoice, latest)["status"] != "open" {
        return;
    }
    if subscription["status"] == "incomplete" {
        invoice::void(world, latest);
    } else {
        let fields = json!({ "auto_advance": false, "next_payment_attempt": null });
        world.change(Kind::Invoice, latest, fields, "invoice.updated");
    }
}
