//! Changes of a subscription's items: prices, quantities, added and removed items
//! (<https://docs.stripe.com/billing/subscriptions/change>). The rest of a period is billed in
//! `proration`. A change that waits for its payment is in `pending_update`.

use serde_json::{Value, json};

use super::collection::{self, Attempt};
use super::invoice::{InitialState, Line};
use super::payment::Presence;
use super::{
    invoice, invoice_item, metered, pending_update, period, price, proration, subscription,
};
use crate::objects::{Kind, integer, put, text};
use crate::options::Proration;
use crate::world::World;

/// A change of one item.
#[derive(Clone, Debug)]
pub enum ItemEdit {
    /// The price and the quantity of an item.
    Set {
        /// The item.
        item: String,
        /// Its new price.
        price: String,
        /// Its new quantity.
        quantity: i64,
    },
    /// A new item.
    Add {
        /// Its price.
        price: String,
        /// Its quantity.
        quantity: i64,
    },
    /// An item is removed.
    Remove {
        /// The item.
        item: String,
    },
}

/// A change of a subscription's items.
pub struct ItemChange {
    /// The changes of its items.
    pub edits: Vec<ItemEdit>,
    /// How the rest of the period is billed.
    pub proration: Proration,
    /// The time from which it is billed; none for now.
    pub at: Option<i64>,
    /// Whether the change waits until its invoice is paid, and who is there to pay it. Otherwise it
    /// takes effect at once.
    pub waits: Option<Presence>,
}

/// An item before and after a change.
struct Changed {
    before: Option<Value>,
    after: Option<Value>,
    /// Whether a new period begins now.
    begins: bool,
}

/// Returns the problem of edits of a subscription's items; `None` if they are possible.
pub fn problem(world: &World, sub: &str, edits: &[ItemEdit]) -> Option<String> {
    let items = subscription::items(world, sub).iter();
    let mut prices: Vec<(&str, &str)> =
        items.map(|item| (text(item, "id"), text(&item["price"], "id"))).collect();
    for edit in edits {
        match edit {
            ItemEdit::Set { item, price, .. } => {
                prices.iter_mut().filter(|(id, _)| id == item).for_each(|pair| pair.1 = price);
            }
            ItemEdit::Add { price, .. } => prices.push(("", price)),
            ItemEdit::Remove { item } => prices.retain(|(id, _)| id != item),
        }
    }
    if prices.is_empty() {
        return Some("A subscription must have at least one active plan.".to_owned());
    }
    let mut rest = prices.iter().map(|(_, price)| *price);
    let twice = std::iter::from_fn(|| rest.next().map(|price| (price, rest.clone())))
        .find(|(price, later)| later.clone().any(|other| other == *price));
    twice.map(|(price, _)| {
        format!("Cannot add multiple subscription items with the same plan: {price}")
    })
}

/// Changes the items of a subscription and bills that. If no interval stays, a new period starts
/// now, which is billed at once. During a trial nothing is billed.
pub fn change(world: &mut World, sub: &str, change: &ItemChange) {
    let before = subscription::items(world, sub).to_vec();
    let changed = changed_items(world, sub, &change.edits);
    if changed.is_empty() {
        return;
    }
    pending_update::discard(world, sub);
    let after = items_after(&before, &changed);
    let fields = fields_after(world, sub, &changed, &after);
    let Some(presence) = change.waits else {
        subscription::change_items(world, sub, fields);
        if let Some(invoice) = bill(world, sub, (&before, &after), &changed, change) {
            collection::advance(world, &invoice);
        }
        return;
    };
    let invoice = bill(world, sub, (&before, &after), &changed, change);
    match invoice.filter(|id| invoice::is_unpaid(world.get(Kind::Invoice, id))) {
        None => subscription::change_items(world, sub, fields),
        Some(invoice) => {
            pending_update::begin(world, sub, &invoice, fields);
            collection::pay(world, &invoice, presence, Attempt::Manual);
            pending_update::show(world, sub);
        }
    }
}

/// Returns the items that a change touches. An edit without an effect is left out.
fn changed_items(world: &mut World, sub: &str, edits: &[ItemEdit]) -> Vec<Changed> {
    let items = subscription::items(world, sub).to_vec();
    let find = |id: &str| items.iter().find(|item| item["id"] == id).cloned();
    let resets = resets(world, &items, edits);
    let mut changed = Vec::new();
    for edit in edits {
        match edit {
            ItemEdit::Set { item, price, quantity } => {
                let Some(before) = find(item) else { continue };
                if before["price"]["id"] == *price && integer(&before, "quantity") == *quantity {
                    continue;
                }
                let price = world.get(Kind::Price, price).clone();
                let (period, begins) = period_of(world, sub, &price, resets);
                let mut after = before.clone();
                put(&mut after, json!({ "quantity": quantity }));
                put(&mut after, item_fields(&price, period));
                metered::drop_quantity(&mut after);
                changed.push(Changed { before: Some(before), after: Some(after), begins });
            }
            ItemEdit::Add { price, quantity } => {
                let price = world.get(Kind::Price, price).clone();
                let (period, begins) = period_of(world, sub, &price, resets);
                let item = subscription::item(world, sub, &price, *quantity, period);
                changed.push(Changed { before: None, after: Some(item), begins });
            }
            ItemEdit::Remove { item } => {
                let Some(before) = find(item) else { continue };
                changed.push(Changed { before: Some(before), after: None, begins: false });
            }
        }
    }
    changed
}

fn item_fields(price: &Value, (start, end): (i64, i64)) -> Value {
    json!({
        "current_period_start": start,
        "current_period_end": end,
        "plan": subscription::plan_of(price),
        "price": price,
    })
}

/// Whether no item keeps an interval of `items`, so that the billing cycle begins anew
/// (<https://docs.stripe.com/billing/subscriptions/billing-cycle>).
fn resets(world: &World, items: &[Value], edits: &[ItemEdit]) -> bool {
    let known =
        |price: &Value| items.iter().any(|item| period::same_interval(&item["price"], price));
    let is_edited = |item: &&Value| {
        edits.iter().any(|edit| match edit {
            ItemEdit::Set { item: id, .. } | ItemEdit::Remove { item: id } => item["id"] == *id,
            ItemEdit::Add { .. } => false,
        })
    };
    let keeps = |edit: &ItemEdit| match edit {
        ItemEdit::Set { price, .. } | ItemEdit::Add { price, .. } => {
            known(world.get(Kind::Price, price))
        }
        ItemEdit::Remove { .. } => false,
    };
    items.iter().all(|item| is_edited(&item)) && !edits.iter().any(keeps)
}

/// Returns the period of an item with this price, and whether it begins now. Items of one interval
/// have the same period, and those of another one are counted from the same time
/// (<https://docs.stripe.com/billing/subscriptions/mixed-interval>).
fn period_of(world: &World, sub: &str, price: &Value, resets: bool) -> ((i64, i64), bool) {
    let subscription = world.get(Kind::Subscription, sub);
    let is_trial = subscription["status"] == "trialing";
    let (now, recurring) = (world.now, &price["recurring"]);
    if resets && !is_trial {
        return ((now, period::end_after(now, recurring, now)), true);
    }
    let shares = |item: &&Value| is_trial || period::same_interval(&item["price"], price);
    let period = match subscription::items(world, sub).iter().find(shares) {
        Some(item) => (integer(item, "current_period_start"), integer(item, "current_period_end")),
        None => period::around(integer(subscription, "billing_cycle_anchor"), recurring, now),
    };
    (period, false)
}

fn items_after(before: &[Value], changed: &[Changed]) -> Vec<Value> {
    let after = |item: &Value| {
        let is_it = |changed: &&Changed| {
            changed.before.as_ref().is_some_and(|before| before["id"] == item["id"])
        };
        changed.iter().find(is_it).map_or_else(|| Some(item.clone()), |one| one.after.clone())
    };
    let added = changed.iter().filter(|one| one.before.is_none());
    let added = added.filter_map(|one| one.after.clone());
    before.iter().filter_map(after).chain(added).collect()
}

/// Returns the fields of a subscription after a change. A new billing cycle counts from now.
fn fields_after(world: &World, sub: &str, changed: &[Changed], after: &[Value]) -> Value {
    let subscription = world.get(Kind::Subscription, sub);
    let resets = changed.iter().any(|one| one.begins);
    let anchor = if resets { world.now } else { integer(subscription, "billing_cycle_anchor") };
    let mut items = subscription["items"].clone();
    put(&mut items, json!({ "data": after }));
    json!({ "billing_cycle_anchor": anchor, "items": items })
}

/// Bills a change. Returns the invoice; none if the next one bills it.
fn bill(
    world: &mut World,
    sub: &str,
    (before, after): (&[Value], &[Value]),
    changed: &[Changed],
    change: &ItemChange,
) -> Option<String> {
    if world.get(Kind::Subscription, sub)["status"] == "trialing" {
        return None;
    }
    if change.proration != Proration::None {
        let at = change.at.unwrap_or(world.now);
        for one in changed {
            if let Some(item) = &one.before {
                proration::credit(world, item, before, at);
            }
            if let Some(item) = one.after.as_ref().filter(|_| !one.begins) {
                proration::debit(world, item, after, at);
            }
        }
    }
    let begun = changed.iter().filter(|one| one.begins).filter_map(|one| one.after.as_ref());
    let begun = begun.filter(|item| !metered::is_metered(&item["price"]));
    let lines: Vec<Line> = begun.map(|item| whole_period(world, sub, item)).collect();
    let is_billed_now =
        change.proration == Proration::Now && !invoice_item::pending(world, sub).is_empty();
    if lines.is_empty() && !is_billed_now {
        return None;
    }
    let reason = "subscription_update";
    Some(subscription::bill(world, sub, reason, &lines, InitialState::Finalized))
}

fn whole_period(world: &World, sub: &str, item: &Value) -> Line {
    let currency = text(world.get(Kind::Subscription, sub), "currency");
    let unit = price::unit_amount(world, &item["price"], currency);
    let period = (integer(item, "current_period_start"), integer(item, "current_period_end"));
    let amount = unit * integer(item, "quantity");
    Line { item: item.clone(), amount, proration: false, period }
}
