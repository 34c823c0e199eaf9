//! The actions that return money: refunds, disputes, credit notes, and changes of a customer's
//! balance. Each checks that it is possible now. The rules are in `reversal`, `dispute` and
//! `credit`.

use serde_json::json;

use super::balance;
use super::checks::{ActionError, require_exists, require_status};
use super::credit::{self, CreditNote, NoteDetails};
use super::dispute::{self, DisputeKind};
use super::reversal::{self, NewRefund};
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Refunds the remaining amount of a payment, or a part of it. Returns the refund's id.
pub fn refund(
    world: &mut World,
    payment: &str,
    amount: Option<i64>,
    is_slow: bool,
) -> Result<String, ActionError> {
    let charge = require_charge(world, payment)?;
    let remaining = reversal::refundable(world.get(Kind::Charge, &charge));
    if remaining <= 0 {
        return Err(ActionError::state(&charge, "refunded in full", "not refunded in full"));
    }
    let amount = amount.unwrap_or(remaining).min(remaining);
    Ok(reversal::refund(world, &charge, NewRefund { is_slow, ..NewRefund::of(amount) }))
}

/// Has the bank decide a pending refund, or return a refund that had succeeded.
pub fn settle_refund(world: &mut World, id: &str, succeeds: bool) -> Result<(), ActionError> {
    require_exists(world, Kind::Refund, "refund", id)?;
    let status = text(world.get(Kind::Refund, id), "status");
    if status == "pending" || (status == "succeeded" && !succeeds) {
        reversal::settle_refund(world, id, succeeds);
        return Ok(());
    }
    Err(ActionError::state(id, status, "pending, or succeeded and to fail now"))
}

/// Has the bank dispute a payment, or a part of it. Returns the dispute's id.
pub fn open_dispute(
    world: &mut World,
    payment: &str,
    amount: Option<i64>,
    kind: DisputeKind,
) -> Result<String, ActionError> {
    let charge = require_charge(world, payment)?;
    let amount = amount.unwrap_or_else(|| integer(world.get(Kind::Charge, &charge), "amount"));
    Ok(dispute::open(world, &charge, amount, "fraudulent", kind))
}

/// Submits the vendor's evidence to the bank.
pub fn answer_dispute(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_dispute(
        world,
        id,
        &["needs_response", "warning_needs_response"],
        "waiting for evidence",
    )?;
    dispute::answer(world, id);
    Ok(())
}

/// Has the bank decide a dispute.
pub fn close_dispute(world: &mut World, id: &str, won: bool) -> Result<(), ActionError> {
    require_dispute(world, id, &["needs_response", "under_review"], "undecided")?;
    dispute::close(world, id, won);
    Ok(())
}

/// Has the bank turn an inquiry into a dispute.
pub fn escalate_inquiry(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_dispute(world, id, &["warning_needs_response", "warning_under_review"], "an inquiry")?;
    dispute::escalate(world, id);
    Ok(())
}

/// Has the bank close an inquiry.
pub fn close_inquiry(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_dispute(world, id, &["warning_needs_response", "warning_under_review"], "an inquiry")?;
    dispute::close(world, id, true);
    Ok(())
}

/// Issues a credit note for an invoice. Returns its id.
pub fn credit(world: &mut World, id: &str, note: &CreditNote) -> Result<String, ActionError> {
    require_exists(world, Kind::Invoice, "invoice", id)?;
    if let Some(problem) = credit::problem(world, id, note, 0) {
        return Err(ActionError::not_possible(id, problem));
    }
    let more = NoteDetails { linked: Vec::new(), fields: json!({}) };
    Ok(credit::issue(world, id, note, more))
}

/// Voids a credit note whose invoice is open.
pub fn void_credit_note(world: &mut World, id: &str) -> Result<(), ActionError> {
    require_status(world, Kind::CreditNote, "credit note", id, "issued")?;
    let invoice = text(world.get(Kind::CreditNote, id), "invoice").to_owned();
    require_status(world, Kind::Invoice, "invoice", &invoice, "open")?;
    credit::void(world, id);
    Ok(())
}

/// Changes a customer's balance. A negative amount lowers the next invoice, a positive one raises
/// it. Returns the transaction's id.
pub fn adjust_balance(
    world: &mut World,
    customer: &str,
    amount: i64,
) -> Result<String, ActionError> {
    require_exists(world, Kind::Customer, "customer", customer)?;
    Ok(balance::change(world, customer, amount, "adjustment", json!({})))
}

fn require_dispute(
    world: &World,
    id: &str,
    states: &[&str],
    needed: &'static str,
) -> Result<(), ActionError> {
    require_exists(world, Kind::Dispute, "dispute", id)?;
    let status = text(world.get(Kind::Dispute, id), "status");
    if states.contains(&status) {
        return Ok(());
    }
    Err(ActionError::state(id, status, needed))
}

/// Returns the successful charge that `payment` names, as a charge or as a payment intent.
fn require_charge(world: &World, payment: &str) -> Result<String, ActionError> {
    if world.get(Kind::Charge, payment)["paid"] == true {
        return Ok(payment.to_owned());
    }
    require_exists(world, Kind::PaymentIntent, "payment intent", payment)?;
    reversal::charge_of(world, payment).ok_or_else(|| {
        let status = text(world.get(Kind::PaymentIntent, payment), "status");
        ActionError::state(payment, status, "succeeded")
    })
}
