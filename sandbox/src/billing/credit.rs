//! Credit notes: they lower what is due of an invoice first; what is beyond that goes back by
//! refunds, to the customer's balance, or outside of Stripe
//! (<https://docs.stripe.com/api/credit_notes/create>).

use serde_json::{Value, json};

use super::reversal::{self, NewRefund};
use super::{balance, collection, invoice};
use crate::objects::{Kind, credit_note_line_item, integer, list, text, with};
use crate::world::World;

/// A credit note to be, in the currency's smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditNote {
    /// All that is credited.
    pub amount: i64,
    /// What of it is refunded to what paid the invoice.
    pub refund: i64,
    /// What of it goes to the customer's balance.
    pub balance: i64,
    /// What of it is given back outside of Stripe.
    pub out_of_band: i64,
}

/// What a credit note says beside its amounts.
pub struct Particulars {
    /// Refunds that exist, and what of each belongs to the note.
    pub linked: Vec<(String, i64)>,
    /// The note's own fields: memo, reason, metadata.
    pub fields: Value,
}

/// What of a credit note lowers what is due, and what is beyond that.
fn split(invoice: &Value, amount: i64) -> (i64, i64) {
    let remaining = integer(invoice, "amount_remaining");
    let before = if invoice::is_unpaid(invoice) { amount.min(remaining) } else { 0 };
    (before, amount - before)
}

/// Why a credit note cannot be: nothing, if it can.
pub fn problem(world: &World, id: &str, note: &CreditNote, linked: i64) -> Option<String> {
    let invoice = world.get(Kind::Invoice, id);
    if !matches!(text(invoice, "status"), "open" | "paid" | "uncollectible") {
        return Some("Credit notes are for invoices that are finalized and not void.".to_owned());
    }
    let credited = integer(invoice, "pre_payment_credit_notes_amount")
        + integer(invoice, "post_payment_credit_notes_amount");
    let left = integer(invoice, "total") - credited;
    if !(1..=left).contains(&note.amount) {
        return Some(format!("The amount ({}) must be from 1 to {left}.", note.amount));
    }
    let (_, after) = split(invoice, note.amount);
    let given = note.refund + linked + note.balance + note.out_of_band;
    if given != after {
        return Some(format!(
            "The sum of credit amount, refund amount and out of band amount ({given}) must equal \
             the post payment amount ({after})."
        ));
    }
    let refundable: i64 = charges(world, id).iter().map(|(_, left)| left).sum();
    (note.refund > refundable)
        .then(|| format!("Only {refundable} of this invoice can still be refunded."))
}

/// The charges that paid an invoice, the newest first, and what of each can be refunded.
fn charges(world: &World, id: &str) -> Vec<(String, i64)> {
    let payments = world.payments_of(id).iter().rev();
    let charges = payments.filter_map(|payment| reversal::charge_of(world, &payment.intent));
    let left = |charge: &str| reversal::left_of(world.get(Kind::Charge, charge));
    charges.map(|charge| (charge.clone(), left(&charge))).collect()
}

/// Issues a credit note, which `problem` has nothing against; returns its id.
pub fn issue(world: &mut World, id: &str, note: &CreditNote, more: Particulars) -> String {
    let invoice = world.get(Kind::Invoice, id).clone();
    let (before, after) = split(&invoice, note.amount);
    let mut refunds = more.linked;
    refunds.extend(refund(world, id, note.refund));
    let credit_note = world.id(Kind::CreditNote.prefix());
    let customer = text(&invoice, "customer");
    let transaction = (note.balance > 0).then(|| {
        let links = json!({ "credit_note": credit_note, "invoice": id });
        balance::change(world, customer, -note.balance, "credit_note", links)
    });
    let kind = match (before, after) {
        (_, 0) => "pre_payment",
        (0, _) => "post_payment",
        _ => "mixed",
    };
    let each = |(refund, amount): &(String, i64)| {
        json!({
            "amount_refunded": amount,
            "payment_record_refund": null,
            "refund": refund,
            "type": "refund",
        })
    };
    let line = json!({ "id": world.id("cnli_"), "amount": note.amount, "unit_amount": note.amount,
        "description": "Credit", "unit_amount_decimal": note.amount.to_string() });
    let url = format!("{}/{credit_note}/lines", Kind::CreditNote.path());
    let fields = json!({
        "amount": note.amount,
        "currency": invoice["currency"],
        "customer": customer,
        "customer_balance_transaction": transaction,
        "effective_at": world.now,
        "invoice": id,
        "lines": list(vec![with(credit_note_line_item(), line)], false, &url),
        "number": next_number(world, &invoice),
        "out_of_band_amount": (note.out_of_band > 0).then_some(note.out_of_band),
        "pdf": format!("{}/object/{credit_note}", world.url),
        "post_payment_amount": after,
        "pre_payment_amount": before,
        "refunds": refunds.iter().map(each).collect::<Vec<_>>(),
        "subtotal": note.amount,
        "subtotal_excluding_tax": note.amount,
        "total": note.amount,
        "total_excluding_tax": note.amount,
        "type": kind,
    });
    world.insert_as(Kind::CreditNote, &credit_note, with(fields, more.fields));
    world.announce(Kind::CreditNote, &credit_note, "credit_note.created");
    if after > 0 {
        let credited = integer(&invoice, "post_payment_credit_notes_amount") + after;
        let fields = json!({ "post_payment_credit_notes_amount": credited });
        world.change(Kind::Invoice, id, fields, "invoice.updated");
    }
    if before > 0 {
        collection::lower(world, id, before);
    }
    credit_note
}

/// Credit notes are numbered for each invoice.
fn next_number(world: &World, invoice: &Value) -> String {
    let notes = world.newest_first(Kind::CreditNote, invoice["customer"].as_str());
    let count = notes.filter(|note| note["invoice"] == invoice["id"]).count();
    format!("{}-CN-{:02}", text(invoice, "number"), count + 1)
}

/// Refunds so much of an invoice's payments; returns the refunds and their amounts.
fn refund(world: &mut World, id: &str, amount: i64) -> Vec<(String, i64)> {
    let mut left = amount;
    let mut refunds = Vec::new();
    for (charge, refundable) in charges(world, id) {
        let part = left.min(refundable);
        if part > 0 {
            refunds.push((reversal::refund(world, &charge, NewRefund::of(part)), part));
            left -= part;
        }
    }
    refunds
}

/// Takes a credit note back, which only lowered what is due: so much is due again
/// (<https://docs.stripe.com/api/credit_notes/void>).
pub fn void(world: &mut World, id: &str) {
    let note = world.get(Kind::CreditNote, id).clone();
    let fields = json!({ "status": "void", "voided_at": world.now });
    world.change(Kind::CreditNote, id, fields, "credit_note.voided");
    let invoice = text(&note, "invoice");
    collection::lower(world, invoice, -integer(&note, "pre_payment_amount"));
}
