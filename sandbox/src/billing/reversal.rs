//! Refunds: all of a payment or a part of it, at once or after days, and some that fail
//! (<https://docs.stripe.com/refunds>).

use serde_json::{Value, json};

use crate::objects::{Kind, integer, text};
use crate::world::World;

/// What is refunded, and how.
pub struct NewRefund {
    /// In the currency's smallest unit; the caller has checked that so much is left.
    pub amount: i64,
    /// Stripe's word for why, or null.
    pub reason: Value,
    /// The refund's metadata.
    pub metadata: Value,
    /// Whether the bank needs days for it.
    pub is_slow: bool,
}

impl NewRefund {
    /// A refund at once, without a reason.
    pub fn of(amount: i64) -> Self {
        Self { amount, reason: Value::Null, metadata: json!({}), is_slow: false }
    }
}

/// Gives money of a charge back; returns the refund's id.
pub fn refund(world: &mut World, charge: &str, new: NewRefund) -> String {
    let paid = world.get(Kind::Charge, charge).clone();
    let fields = json!({
        "amount": new.amount,
        "balance_transaction": world.id("txn_"),
        "charge": charge,
        "currency": paid["currency"],
        "metadata": new.metadata,
        "payment_intent": paid["payment_intent"],
        "reason": new.reason,
        "status": if new.is_slow { "pending" } else { "succeeded" },
    });
    let id = world.create(Kind::Refund, fields, "refund.created");
    let counted = refunds_of(world, charge);
    world.change(Kind::Charge, charge, counted, "charge.refunded");
    world.announce(Kind::Refund, &id, "refund.updated");
    id
}

/// The bank says what became of a refund: a pending one succeeds or fails, and one that seemed to
/// have succeeded may fail later. What failed is the account's again.
pub fn settle_refund(world: &mut World, id: &str, succeeds: bool) {
    let charge = text(world.get(Kind::Refund, id), "charge").to_owned();
    if succeeds {
        world.change(Kind::Refund, id, json!({ "status": "succeeded" }), "refund.updated");
        let counted = refunds_of(world, &charge);
        world.set(Kind::Charge, &charge, counted);
        return;
    }
    let fields = json!({
        "failure_balance_transaction": world.id("txn_"),
        "failure_reason": "lost_or_stolen_card",
        "status": "failed",
    });
    world.change(Kind::Refund, id, fields, "refund.failed");
    let counted = refunds_of(world, &charge);
    world.set(Kind::Charge, &charge, counted);
    world.announce(Kind::Refund, id, "refund.updated");
    world.announce(Kind::Refund, id, "charge.refund.updated");
}

/// What a charge says of its refunds.
fn refunds_of(world: &World, charge: &str) -> Value {
    let refunds = world.newest_first(Kind::Refund, None);
    let refunds: Vec<Value> =
        refunds.filter(|refund| refund["charge"] == charge).cloned().collect();
    let counts = |refund: &&Value| !matches!(text(refund, "status"), "failed" | "canceled");
    let refunded: i64 = refunds.iter().filter(counts).map(|refund| integer(refund, "amount")).sum();
    let paid = world.get(Kind::Charge, charge);
    let mut list = paid["refunds"].clone();
    list["data"] = refunds.into();
    json!({
        "amount_refunded": refunded,
        "refunded": refunded == integer(paid, "amount"),
        "refunds": list,
    })
}

/// What of a charge can still be refunded.
pub fn left_of(charge: &Value) -> i64 {
    integer(charge, "amount") - integer(charge, "amount_refunded")
}

/// The charge that paid a payment intent, if one did.
pub fn charge_of(world: &World, intent: &str) -> Option<String> {
    let charge = text(world.get(Kind::PaymentIntent, intent), "latest_charge").to_owned();
    (world.get(Kind::Charge, &charge)["paid"] == true).then_some(charge)
}
