//! Subscriptions: creation, invoices, status. Renewals are in `renewal`, cancellations in `ending`.

use serde_json::{Map, Value, json};

use super::invoice::{self, InitialState, Line};
use super::{discount, metered, period, price, resumption, tax, trial};
use crate::objects::{Kind, integer, list, plan, subscription_item, text, with};
use crate::world::{OfferLine, Redeemed, SaleSettings, Timer, World};

/// Stripe gives up an incomplete first payment after this time, in seconds.
pub const INCOMPLETE_EXPIRES_AFTER_SECONDS: i64 = 23 * 3_600;

/// The data of a new subscription.
pub struct NewSubscription {
    /// The paying customer.
    pub customer: String,
    /// What it bills.
    pub lines: Vec<OfferLine>,
    /// Its currency; none for that of the first price.
    pub currency: Option<String>,
    /// The subscription's metadata.
    pub metadata: Map<String, Value>,
    /// The end of the trial, if it has one.
    pub trial_end: Option<i64>,
    /// The subscription's own payment method, if it has one.
    pub method: Option<String>,
    /// The discounts to redeem.
    pub discounts: Vec<Redeemed>,
    /// The days that a customer has to pay a sent invoice; none if invoices are charged.
    pub days_until_due: Option<i64>,
    /// The settings that it takes over from its sale.
    pub settings: SaleSettings,
}

/// Creates a subscription and its first invoice, which is unpaid unless nothing is due. Returns the
/// subscription's id.
pub fn create(world: &mut World, new: NewSubscription) -> String {
    let now = world.now;
    let id = world.id(Kind::Subscription.prefix());
    let price = |line: &OfferLine| (world.get(Kind::Price, &line.price).clone(), line.quantity);
    let prices: Vec<(Value, i64)> = new.lines.iter().map(price).collect();
    let anchor = new.trial_end.unwrap_or(now);
    let items: Vec<Value> = prices
        .iter()
        .map(|(price, quantity)| {
            let end = new.trial_end.unwrap_or(period::end_after(now, &price["recurring"], now));
            item(world, &id, price, *quantity, (now, end))
        })
        .collect();
    let url = format!("/v1/subscription_items?subscription={id}");
    let own = prices.first().map_or(Value::Null, |(price, _)| price["currency"].clone());
    let currency = new.currency.map_or(own, Value::from);
    world.set(Kind::Customer, &new.customer, json!({ "currency": currency }));
    let status = match (new.trial_end, new.days_until_due) {
        (Some(_), _) => "trialing",
        // A subscription with sent invoices begins before it is paid.
        (None, Some(_)) => "active",
        (None, None) => "incomplete",
    };
    let sent = new.days_until_due.is_some();
    let fields = json!({
        "automatic_tax": tax::subscription_state(new.settings.automatic_tax),
        "billing_cycle_anchor": anchor,
        "collection_method": if sent { "send_invoice" } else { "charge_automatically" },
        "days_until_due": new.days_until_due,
        "currency": currency,
        "customer": new.customer,
        "default_payment_method": new.method,
        "items": list(items, false, &url),
        "metadata": new.metadata,
        "start_date": now,
        "status": status,
        "trial_start": new.trial_end.map(|_| now),
        "trial_end": new.trial_end,
        "trial_settings": trial::settings(new.settings.missing_method),
    });
    world.insert_as(Kind::Subscription, &id, fields);
    for redeemed in &new.discounts {
        discount::redeem(world, &id, redeemed);
    }
    world.schedule(period_end(world, &id), Timer::SubscriptionDue(id.clone()));
    world.schedule(now + INCOMPLETE_EXPIRES_AFTER_SECONDS, Timer::IncompleteExpires(id.clone()));
    let lines = lines(world, &id, new.trial_end.is_some());
    bill(world, &id, "subscription_create", &lines, InitialState::Finalized);
    world.announce(Kind::Subscription, &id, "customer.subscription.created");
    trial::watch(world, &id);
    id
}

/// Returns a new item.
pub fn item(
    world: &mut World,
    sub: &str,
    price: &Value,
    quantity: i64,
    period: (i64, i64),
) -> Value {
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
    let mut item = with(subscription_item(), fields);
    metered::drop_quantity(&mut item);
    item
}

/// Returns the deprecated `plan` that Stripe still includes next to each price.
pub fn plan_of(price: &Value) -> Value {
    let fields = json!({
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "created": price["created"],
        "currency": price["currency"],
        "id": price["id"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "meter": price["recurring"]["meter"],
        "product": price["product"],
        "usage_type": price["recurring"]["usage_type"],
    });
    with(plan(), fields)
}

/// Creates an invoice for a subscription and updates its status. Returns the invoice's id.
pub fn bill(
    world: &mut World,
    sub: &str,
    reason: &str,
    lines: &[Line],
    initial: InitialState,
) -> String {
    let invoice = invoice::open(world, sub, reason, lines, initial);
    update_from_invoices(world, sub);
    invoice
}

/// Returns the lines of an invoice for the current period. `free` sets the amounts to zero, for a
/// trial.
pub fn lines(world: &World, sub: &str, free: bool) -> Vec<Line> {
    let currency = text(world.get(Kind::Subscription, sub), "currency");
    let bill = |item: &Value| {
        let unit = price::unit_amount(world, &item["price"], currency);
        let amount = unit * integer(item, "quantity");
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

/// Changes the items of a subscription, among other `fields`.
pub fn change_items(world: &mut World, sub: &str, fields: Value) {
    world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    world.schedule(period_end(world, sub), Timer::SubscriptionDue(sub.to_owned()));
}

/// Returns the earliest end of the items' periods.
pub fn period_end(world: &World, sub: &str) -> i64 {
    let ends = items(world, sub).iter().map(|item| integer(item, "current_period_end"));
    ends.min().unwrap_or_default()
}

/// Returns the subscriptions of a customer that have not ended.
pub fn live_of(world: &World, customer: &str) -> Vec<String> {
    let subscriptions = world.newest_first(Kind::Subscription, Some(customer));
    let live = subscriptions.filter(|subscription| !has_ended(subscription));
    live.map(|subscription| text(subscription, "id").to_owned()).collect()
}

/// Whether the subscription has ended for good.
pub fn has_ended(subscription: &Value) -> bool {
    matches!(text(subscription, "status"), "canceled" | "incomplete_expired")
}

/// Whether the subscription can be changed. It cannot after its end, or while its first payment is
/// incomplete (<https://docs.stripe.com/api/subscriptions/object#subscription_object-status>).
pub fn can_change(subscription: &Value) -> bool {
    !has_ended(subscription) && subscription["status"] != "incomplete"
}

/// Sets the status, with an event if it changes.
pub fn set_status(world: &mut World, sub: &str, status: &str) {
    if world.get(Kind::Subscription, sub)["status"] != status {
        let fields = json!({ "status": status });
        world.change(Kind::Subscription, sub, fields, "customer.subscription.updated");
    }
}

/// Updates a subscription's status after a change of its invoices. The newest invoice that is not
/// void decides whether it is past due
/// (<https://docs.stripe.com/billing/subscriptions/overview#voiding-invoice>).
pub fn update_from_invoices(world: &mut World, sub: &str) {
    let subscription = world.get(Kind::Subscription, sub);
    let mut invoices = world.newest_first(Kind::Invoice, subscription["customer"].as_str());
    // An update that waits for its payment changes nothing yet.
    let waiting = world.pending_updates.get(sub).map(|update| update.invoice.as_str());
    let newest = invoices.find(|invoice| {
        invoice["parent"]["subscription_details"]["subscription"] == sub
            && invoice["status"] != "void"
            && waiting.is_none_or(|waiting| invoice["id"] != waiting)
    });
    let state = newest.map_or("void", |invoice| text(invoice, "status"));
    let is_overdue = newest.is_some_and(|invoice| {
        invoice["status"] == "open"
            && invoice["due_date"].as_i64().is_some_and(|due| due <= world.now)
    });
    let next = match (text(subscription, "status"), state) {
        ("incomplete", "paid") => Some("active"),
        ("past_due" | "unpaid", "paid" | "uncollectible" | "void") => Some("active"),
        ("active", _) if is_overdue => Some("past_due"),
        ("paused", "paid" | "uncollectible") if resumption::is_settled(world, sub, newest) => {
            Some("active")
        }
        _ => None,
    };
    drop(invoices);
    if let Some(next) = next {
        set_status(world, sub, next);
        resumption::finish(world, sub);
    }
}

/// Activates an incomplete subscription whose first payment is processing, because Stripe expects
/// it to succeed.
pub fn activate_while_processing(world: &mut World, sub: &str) {
    if world.get(Kind::Subscription, sub)["status"] == "incomplete" {
        set_status(world, sub, "active");
    }
}
