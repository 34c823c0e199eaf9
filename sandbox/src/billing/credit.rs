//! Credit notes. A note first lowers the amount due of its invoice. The rest is refunded, credited
//! to the customer's balance, or paid back outside of Stripe
//! (<https://docs.stripe.com/api/credit_notes/create>). Refunds are in `reversal`.

use serde_json::{Value, json};

use super::reversal::{self, NewRefund};
use super::{balance, collection, invoice, tax};
use crate::objects::{Kind, credit_note_line_item, integer, list, text, with};
use crate::world::World;

/// The amounts of a new credit note, in the currency's smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditNote {
    /// The whole amount of the note.
    pub amount: i64,
    /// The part that is refunded.
    pub refund: i64,
    /// The part that is credited to the customer's balance.
    pub balance: i64,
    /// The part that is paid back outside of Stripe.
    pub out_of_band: i64,
}

/// The other data of a new credit note.
pub struct NoteDetails {
    /// The existing refunds that belong to the note, and the amount of each.
    pub linked: Vec<(String, i64)>,
    /// Fields of the note: memo, reason, metadata.
    pub fields: Value,
}

/// Splits a credit note's amount into the part that lowers the amount due, and the rest.
fn split(invoice: &Value, amount: i64) -> (i64, i64) {
    let remaining = integer(invoice, "amount_remaining");
    let before = if invoice::is_unpaid(invoice) { amount.min(remaining) } else { 0 };
    (before, amount - before)
}

/// Returns why a credit note is not possible; none if it is.
pub fn problem(world: &World, id: &str, note: &CreditNote, linked: i64) -> Option<String> {
    let invoice = world.get(Kind::Invoice, id);
    if !matches!(text(invoice, "status"), "open" | "paid" | "uncollectible") {
        return Some("Credit notes are for invoices that are finalized and not void.".to_owned());
    }
    let credited = integer(invoice, "pre_payment_credit_notes_amount")
        + integer(invoice, "post_payment_credit_notes_amount");
    let remaining = integer(invoice, "total") - credited;
    if !(1..=remaining).contains(&note.amount) {
        return Some(format!("The amount ({}) must be from 1 to {remaining}.", note.amount));
    }
    let (_, after) = split(invoice, note.amount);
    let given = note.refund + linked + note.balance + note.out_of_band;
    if given != after {
        return Some(format!(
            "The sum of credit amount, refund amount and out of band amount ({given}) must equal \
             the post payment amount ({after})."
        ));
    }
    let refundable: i64 = charges(world, id).iter().map(|(_, remaining)| remaining).sum();
    (note.refund > refundable)
        .then(|| format!("Only {refundable} of this invoice can still be refunded."))
}

/// Returns the charges that paid an invoice, the newest first, and the refundable amount of each.
fn charges(world: &World, id: &str) -> Vec<(String, i64)> {
    let payments = world.payments_of(id).iter().rev();
    let charges = payments.filter_map(|payment| reversal::charge_of(world, &payment.intent));
    let remaining = |charge: &str| reversal::refundable(world.get(Kind::Charge, charge));
    charges.map(|charge| (charge.clone(), remaining(&charge))).collect()
}

/// Issues a credit note after `problem` found none. Returns its id.
pub fn issue(world: &mut World, id: &str, note: &CreditNote, more: NoteDetails) -> String {
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
    let excluding_tax = note.amount - tax::share(&invoice, note.amount);
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
        "subtotal_excluding_tax": excluding_tax,
        "total": note.amount,
        "total_excluding_tax": excluding_tax,
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
        collection::lower_amount_due(world, id, before);
    }
    credit_note
}

/// Returns the number of the next credit note; each invoice has its own sequence.
fn next_number(world: &World, invoice: &Value) -> String {
    let notes = world.newest_first(Kind::CreditNote, invoice["customer"].as_str());
    let count = notes.filter(|note| note["invoice"] == invoice["id"]).count();
    format!("{}-CN-{:02}", text(invoice, "number"), count + 1)
}

/// Refunds this amount of an invoice's payments. Returns the refunds and their amounts.
fn refund(world: &mut World, id: &str, amount: i64) -> Vec<(String, i64)> {
    let mut remaining = amount;
    let mut refunds = Vec::new();
    for (charge, refundable) in charges(world, id) {
        let part = remaining.min(refundable);
        if part > 0 {
            refunds.push((reversal::refund(world, &charge, NewRefund::of(part)), part));
            remaining -= part;
        }
    }
    refunds
}

/// Voids a credit note that only lowered the amount due, which rises again
/// (<https://docs.stripe.com/api/credit_notes/void>).
pub fn void(world: &mut World, id: &str) {
    let note = world.get(Kind::CreditNote, id).clone();
    let fields = json!({ "status": "void", "voided_at": world.now });
    world.change(Kind::CreditNote, id, fields, "credit_note.voided");
    let invoice = text(&note, "invoice");
    collection::lower_amount_due(world, invoice, -integer(&note, "pre_payment_amount"));
}
