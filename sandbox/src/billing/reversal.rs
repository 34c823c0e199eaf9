//! Refunds: in full or in part, at once or slow, successful or failed
//! (<https://docs.stripe.com/refunds>). Disputes are in `dispute`.

use serde_json::{Value, json};

use crate::objects::{Kind, integer, text};
use crate::world::World;

/// A new refund.
pub struct NewRefund {
    /// In the currency's smallest unit. The caller checks that this much is refundable.
    pub amount: i64,
    /// Stripe's reason, or null.
    pub reason: Value,
    /// The refund's metadata.
    pub metadata: Value,
    /// Whether the bank takes days.
    pub is_slow: bool,
}

impl NewRefund {
    /// Returns an immediate refund without a reason.
    pub fn of(amount: i64) -> Self {
        Self { amount, reason: Value::Null, metadata: json!({}), is_slow: false }
    }
}

/// Refunds a charge. Returns the refund's id.
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

/// Applies the bank's decision about a refund. A pending refund succeeds or fails; a successful one
/// can still fail later. The money of a failed refund returns to the account.
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

/// Returns a charge's fields about its refunds.
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

/// Returns the refundable amount of a charge.
pub fn refundable(charge: &Value) -> i64 {
    integer(charge, "amount") - integer(charge, "amount_refunded")
}

/// Returns the successful charge of a payment intent, if it has one.
pub fn charge_of(world: &World, intent: &str) -> Option<String> {
    let charge = text(world.get(Kind::PaymentIntent, intent), "latest_charge").to_owned();
    (world.get(Kind::Charge, &charge)["paid"] == true).then_some(charge)
}
