//! Money that goes back: refunds, and disputes that a bank opens.

use serde_json::{Value, json};

use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Banks give so long to answer a dispute.
const DISPUTE_DUE_AFTER: i64 = 21 * 86_400;

/// Gives money of a charge back; the caller has checked that so much is left.
pub fn refund(
    world: &mut World,
    charge: &str,
    amount: i64,
    reason: Value,
    metadata: Value,
) -> String {
    let paid = world.get(Kind::Charge, charge).clone();
    let fields = json!({
        "amount": amount,
        "charge": charge,
        "currency": paid["currency"],
        "metadata": metadata,
        "payment_intent": paid["payment_intent"],
        "reason": reason,
    });
    let id = world.create(Kind::Refund, fields, "refund.created");
    let refunded = integer(&paid, "amount_refunded") + amount;
    let mut refunds = paid["refunds"].clone();
    if let Some(refunds) = refunds["data"].as_array_mut() {
        refunds.insert(0, world.get(Kind::Refund, &id).clone());
    }
    let fields = json!({
        "refunds": refunds,
        "amount_refunded": refunded,
        "refunded": refunded == integer(&paid, "amount"),
    });
    world.change(Kind::Charge, charge, fields, "charge.refunded");
    world.announce(Kind::Refund, &id, "refund.updated");
    id
}

/// A bank takes the money of a charge back; gives the dispute's id.
pub fn open_dispute(world: &mut World, charge: &str, reason: &str) -> String {
    let paid = world.get(Kind::Charge, charge).clone();
    let id = world.insert(
        Kind::Dispute,
        json!({
            "amount": paid["amount"],
            "charge": charge,
            "currency": paid["currency"],
            "payment_intent": paid["payment_intent"],
            "reason": reason,
        }),
    );
    let due = world.now + DISPUTE_DUE_AFTER;
    world.update(Kind::Dispute, &id, |dispute| dispute["evidence_details"]["due_by"] = due.into());
    world.set(Kind::Charge, charge, json!({ "disputed": true }));
    world.announce(Kind::Dispute, &id, "charge.dispute.created");
    world.announce(Kind::Dispute, &id, "charge.dispute.funds_withdrawn");
    id
}

/// The bank decides a dispute.
pub fn close_dispute(world: &mut World, id: &str, won: bool) {
    let status = if won { "won" } else { "lost" };
    world.change(Kind::Dispute, id, json!({ "status": status }), "charge.dispute.closed");
    if won {
        world.announce(Kind::Dispute, id, "charge.dispute.funds_reinstated");
    }
}

/// The charge that paid a payment intent, if one did.
pub fn charge_of(world: &World, intent: &str) -> Option<String> {
    let charge = text(world.get(Kind::PaymentIntent, intent), "latest_charge").to_owned();
    (world.get(Kind::Charge, &charge)["paid"] == true).then_some(charge)
}
