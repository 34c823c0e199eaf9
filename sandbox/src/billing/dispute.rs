//! Disputes: a bank inquires about a payment or withdraws its money, and later decides
//! (<https://docs.stripe.com/disputes/how-disputes-work>). Refunds are in `reversal`.

use serde_json::{Value, json};

use crate::objects::{Kind, balance_transaction, integer, text, with};
use crate::world::World;

/// The time that banks give to respond to a dispute, in seconds.
const EVIDENCE_DUE_AFTER_SECONDS: i64 = 21 * 86_400;

/// The kind of a new dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisputeKind {
    /// The bank only asks, and no money moves
    /// (<https://docs.stripe.com/disputes/how-disputes-work#inquiries>).
    Inquiry,
    /// The bank withdraws the money.
    Chargeback,
}

/// Opens a dispute about `amount` of a charge. Returns the dispute's id.
pub fn open(
    world: &mut World,
    charge: &str,
    amount: i64,
    reason: &str,
    kind: DisputeKind,
) -> String {
    let paid = world.get(Kind::Charge, charge).clone();
    let asks = kind == DisputeKind::Inquiry;
    let fields = json!({
        "amount": amount,
        "charge": charge,
        "currency": paid["currency"],
        "is_charge_refundable": asks,
        "payment_intent": paid["payment_intent"],
        "reason": reason,
        "status": if asks { "warning_needs_response" } else { "needs_response" },
    });
    let id = world.insert(Kind::Dispute, fields);
    let due = world.now + EVIDENCE_DUE_AFTER_SECONDS;
    world.update(Kind::Dispute, &id, |dispute| {
        dispute["evidence_details"]["due_by"] = due.into();
        if asks {
            dispute["payment_method_details"]["card"]["case_type"] = "inquiry".into();
        }
    });
    world.set(Kind::Charge, charge, json!({ "disputed": true }));
    if !asks {
        move_money(world, &id, -1);
    }
    world.announce(Kind::Dispute, &id, "charge.dispute.created");
    if !asks {
        world.announce(Kind::Dispute, &id, "charge.dispute.funds_withdrawn");
    }
    id
}

/// Adds a balance transaction to a dispute: its amount was withdrawn (-1) or reinstated (1).
fn move_money(world: &mut World, id: &str, sign: i64) {
    let dispute = world.get(Kind::Dispute, id);
    let amount = sign * integer(dispute, "amount");
    let fields = json!({
        "amount": amount,
        "available_on": world.now,
        "created": world.now,
        "currency": dispute["currency"],
        "description": "Dispute",
        "net": amount,
        "reporting_category": if sign < 0 { "dispute" } else { "dispute_reversal" },
        "source": id,
    });
    let mut transactions = dispute["balance_transactions"].as_array().cloned().unwrap_or_default();
    transactions.push(with(with(balance_transaction(), fields), json!({ "id": world.id("txn_") })));
    world.set(Kind::Dispute, id, json!({ "balance_transactions": transactions }));
}

/// Whether the dispute is an inquiry.
fn is_inquiry(dispute: &Value) -> bool {
    text(dispute, "status").starts_with("warning_")
}

/// Submits the vendor's evidence. The bank reviews it.
pub fn answer(world: &mut World, id: &str) {
    let asks = is_inquiry(world.get(Kind::Dispute, id));
    let status = if asks { "warning_under_review" } else { "under_review" };
    let mut details = world.get(Kind::Dispute, id)["evidence_details"].clone();
    details["has_evidence"] = true.into();
    details["submission_count"] = 1.into();
    let fields = json!({ "evidence_details": details, "status": status });
    world.change(Kind::Dispute, id, fields, "charge.dispute.updated");
}

/// Turns an inquiry into a dispute: the bank withdraws the money.
pub fn escalate(world: &mut World, id: &str) {
    move_money(world, id, -1);
    world.update(Kind::Dispute, id, |dispute| {
        dispute["payment_method_details"]["card"]["case_type"] = "chargeback".into();
    });
    let fields = json!({ "is_charge_refundable": false, "status": "needs_response" });
    world.change(Kind::Dispute, id, fields, "charge.dispute.updated");
    world.announce(Kind::Dispute, id, "charge.dispute.funds_withdrawn");
}

/// Closes a dispute. An inquiry ends without a winner.
pub fn close(world: &mut World, id: &str, won: bool) {
    let asks = is_inquiry(world.get(Kind::Dispute, id));
    let status = match (asks, won) {
        (true, _) => "warning_closed",
        (false, true) => "won",
        (false, false) => "lost",
    };
    if status == "won" {
        move_money(world, id, 1);
    }
    world.change(Kind::Dispute, id, json!({ "status": status }), "charge.dispute.closed");
    if status == "won" {
        world.announce(Kind::Dispute, id, "charge.dispute.funds_reinstated");
    }
}
