//! What gives money back: refunds, disputes, credit notes, and the customer's balance. Each action
//! checks that it may happen now.

use serde_json::json;

use super::balance;
use super::checks::{ActionError, exists, require};
use super::credit::{self, CreditNote, Particulars};
use super::dispute::{self, Opening};
use super::reversal::{self, NewRefund};
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Gives back what is left of a payment, or a part of it; returns the refund's id.
pub fn refund(
    world: &mut World,
    payment: &str,
    amount: Option<i64>,
    is_slow: bool,
) -> Result<String, ActionError> {
    let charge = require_charge(world, payment)?;
    let left = reversal::left_of(world.get(Kind::Charge, &charge));
    if left <= 0 {
        return Err(ActionError::state(&charge, "refunded in full", "not refunded in full"));
    }
    let amount = amount.unwrap_or(left).min(left);
    Ok(reversal::refund(world, &charge, NewRefund { is_slow, ..NewRefund::of(amount) }))
}

/// Has the bank decide a refund that is pending, or return one that seemed to have succeeded.
pub fn settle_refund(world: &mut World, id: &str, succeeds: bool) -> Result<(), ActionError> {
    exists(world, Kind::Refund, "refund", id)?;
    let status = text(world.get(Kind::Refund, id), "status");
    if status == "pending" || (status == "succeeded" && !succeeds) {
        reversal::settle_refund(world, id, succeeds);
        return Ok(());
    }
    Err(ActionError::state(id, status, "pending, or succeeded and about to fail"))
}

/// Has the bank dispute a payment, or a part of it; returns the dispute's id.
pub fn open_dispute(
    world: &mut World,
    payment: &str,
    amount: Option<i64>,
    opening: Opening,
) -> Result<String, ActionError> {
    let charge = require_charge(world, payment)?;
    let amount = amount.unwrap_or_else(|| integer(world.get(Kind::Charge, &charge), "amount"));
    Ok(dispute::open(world, &charge, amount, "fraudulent", opening))
}

/// Sends the vendor's evidence to the bank.
pub fn answer_dispute(world: &mut World, id: &str) -> Result<(), ActionError> {
    in_one_of(world, id, &["needs_response", "warning_needs_response"], "waiting for evidence")?;
    dispute::answer(world, id);
    Ok(())
}

/// Has the bank decide a dispute.
pub fn close_dispute(world: &mut World, id: &str, won: bool) -> Result<(), ActionError> {
    in_one_of(world, id, &["needs_response", "under_review"], "needs_response")?;
    dispute::close(world, id, won);
    Ok(())
}

/// Has the bank take the money that it asked about.
pub fn escalate_inquiry(world: &mut World, id: &str) -> Result<(), ActionError> {
    in_one_of(world, id, &["warning_needs_response", "warning_under_review"], "an inquiry")?;
    dispute::escalate(world, id);
    Ok(())
}

/// Has the bank ask no more.
pub fn close_inquiry(world: &mut World, id: &str) -> Result<(), ActionError> {
    in_one_of(world, id, &["warning_needs_response", "warning_under_review"], "an inquiry")?;
    dispute::close(world, id, true);
    Ok(())
}

/// Issues a credit note for an invoice; returns its id.
pub fn credit(world: &mut World, id: &str, note: &CreditNote) -> Result<String, ActionError> {
    exists(world, Kind::Invoice, "invoice", id)?;
    if let Some(problem) = credit::problem(world, id, note, 0) {
        return Err(ActionError::state(id, problem, "to be credited so"));
    }
    let more = Particulars { linked: Vec::new(), fields: json!({}) };
    Ok(credit::issue(world, id, note, more))
}

/// Takes a credit note back; its invoice must be open.
pub fn void_credit_note(world: &mut World, id: &str) -> Result<(), ActionError> {
    require(world, Kind::CreditNote, "credit note", id, "issued")?;
    let invoice = text(world.get(Kind::CreditNote, id), "invoice").to_owned();
    require(world, Kind::Invoice, "invoice", &invoice, "open")?;
    credit::void(world, id);
    Ok(())
}

/// Credits a customer (a negative amount) or charges one on the next invoice; returns the
/// transaction.
pub fn adjust_balance(
    world: &mut World,
    customer: &str,
    amount: i64,
) -> Result<String, ActionError> {
    exists(world, Kind::Customer, "customer", customer)?;
    Ok(balance::change(world, customer, amount, "adjustment", json!({})))
}

fn in_one_of(
    world: &World,
    id: &str,
    states: &[&str],
    needed: &'static str,
) -> Result<(), ActionError> {
    exists(world, Kind::Dispute, "dispute", id)?;
    let status = text(world.get(Kind::Dispute, id), "status");
    if states.contains(&status) {
        return Ok(());
    }
    Err(ActionError::state(id, status, needed))
}

/// The charge that a payment is, or made.
fn require_charge(world: &World, payment: &str) -> Result<String, ActionError> {
    if world.get(Kind::Charge, payment)["paid"] == true {
        return Ok(payment.to_owned());
    }
    exists(world, Kind::PaymentIntent, "payment intent", payment)?;
    reversal::charge_of(world, payment).ok_or_else(|| {
        let status = text(world.get(Kind::PaymentIntent, payment), "status");
        ActionError::state(payment, status, "succeeded")
    })
}
