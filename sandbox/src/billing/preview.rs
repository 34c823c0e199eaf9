//! Previews of invoices (<https://docs.stripe.com/api/invoices/create_preview>). A preview is an
//! invoice that the rules of billing make on a copy of the world, which is dropped afterwards.

use serde_json::{Map, Value, json};

use super::invoice::{DRAFT_SECONDS, InitialState};
use super::{invoice_item, one_time, renewal, session, subscription};
use crate::objects::{Kind, integer, put, text};
use crate::world::{Offer, World};

/// Returns the next invoice of a subscription; none if it ends before.
pub fn next(world: &mut World, sub: &str) -> Option<String> {
    let before = latest(world, sub);
    let subscription = world.get(Kind::Subscription, sub);
    let end = subscription::period_end(world, sub);
    let at = subscription["cancel_at"].as_i64().map_or(end, |at| at.min(end));
    world.now = world.now.max(at);
    renewal::handle_timer(world, sub);
    latest(world, sub).filter(|latest| before.as_ref() != Some(latest))
}

/// Returns an invoice of a subscription with nothing but its items, each for a whole period.
pub fn recurring(world: &mut World, sub: &str) -> String {
    invoice_item::remove_pending(world, sub);
    let lines = subscription::lines(world, sub, false);
    subscription::bill(world, sub, "upcoming", &lines, InitialState::KeptAsDraft)
}

/// Returns the invoice of a purchase without a subscription. Outside of Checkout, the customer's
/// balance pays a part of it.
pub fn of_purchase(world: &mut World, customer: &str, offer: Offer) -> String {
    let fields = Map::from_iter([("customer".to_owned(), customer.into())]);
    let expires_at = world.now + DRAFT_SECONDS;
    let session = session::open(world, fields, offer, expires_at);
    one_time::create_invoice(world, &session);
    let id = text(world.get(Kind::CheckoutSession, &session), "invoice").to_owned();
    let balance = integer(world.get(Kind::Customer, customer), "balance");
    let due = (integer(world.get(Kind::Invoice, &id), "total") + balance).max(0);
    let fields = json!({ "amount_due": due, "amount_remaining": due, "starting_balance": balance });
    world.set(Kind::Invoice, &id, fields);
    id
}

/// Returns the id of the latest invoice of a subscription.
pub fn latest(world: &World, sub: &str) -> Option<String> {
    world.get(Kind::Subscription, sub)["latest_invoice"].as_str().map(str::to_owned)
}

/// Returns an invoice of the copy as a preview. Its customer and its parent are named only if they
/// exist outside of the copy.
pub fn show(world: &World, id: &str, (has_customer, has_subscription): (bool, bool)) -> Value {
    let mut invoice = world.get(Kind::Invoice, id).clone();
    let balance = integer(&invoice, "starting_balance") + integer(&invoice, "total");
    let is_charged = invoice["collection_method"] == "charge_automatically";
    put(
        &mut invoice,
        json!({
            "attempted": false,
            "auto_advance": true,
            "automatically_finalizes_at": null,
            "billing_reason": "upcoming",
            "ending_balance": balance.min(0),
            "id": id.replacen("in_", "upcoming_in_", 1),
            "next_payment_attempt": is_charged.then_some(world.now + DRAFT_SECONDS),
            "webhooks_delivered_at": null,
        }),
    );
    for line in invoice["lines"]["data"].as_array_mut().into_iter().flatten() {
        line["id"] = text(line, "id").replacen("il_", "il_tmp_", 1).into();
        if !has_subscription {
            line["subscription"] = Value::Null;
        }
    }
    if !has_customer {
        invoice["customer"] = Value::Null;
    }
    if !has_subscription {
        // An invoice's parent names its subscription, and there is none yet.
        invoice["parent"] = Value::Null;
    }
    invoice
}
