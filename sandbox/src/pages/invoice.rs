//! The hosted page of an invoice, for everyone who has its URL. The vendor's actions are in
//! `customer`.

use askama::Template;

use super::page::{Form, Page, field, html};
use super::rows::amount;
use crate::billing::{invoice, invoice_actions};
use crate::card::Card;
use crate::clock::readable;
use crate::objects::{Kind, integer, text};
use crate::world::World;

#[derive(Template)]
#[template(path = "invoice.html")]
struct InvoicePage<'a> {
    id: &'a str,
    number: &'a str,
    due: String,
    due_date: Option<String>,
    status: &'a str,
    can_pay: bool,
    cards: &'static [Card],
    problem: Option<&'a str>,
}

/// Returns the page of an invoice.
pub fn show(world: &World, id: &str, problem: Option<&str>) -> Page {
    let object = world.get(Kind::Invoice, id);
    if object.is_null() {
        return Page::NotFound;
    }
    html(&InvoicePage {
        id,
        number: text(object, "number"),
        due: amount(integer(object, "amount_remaining"), object),
        due_date: object["due_date"].as_i64().map(readable),
        status: text(object, "status"),
        can_pay: invoice::is_unpaid(object),
        cards: &Card::ALL,
        problem,
    })
}

/// Pays the invoice with the card of the form.
pub fn pay(world: &mut World, id: &str, form: &Form) -> Page {
    let Some(card) = Card::from_number(field(form, "card")) else {
        return show(world, id, Some("This is no test card. Use one of the cards below."));
    };
    match invoice_actions::pay_with(world, id, card) {
        Ok(()) => after_payment(world, id),
        Err(problem) => show(world, id, Some(&problem.to_string())),
    }
}

/// Returns the page after a payment. The bank may require 3-D Secure.
fn after_payment(world: &World, id: &str) -> Page {
    let intent = invoice::payment_intent(world, id).unwrap_or_default();
    match text(world.get(Kind::PaymentIntent, &intent), "status") {
        "requires_action" => Page::Redirect(format!("/authenticate/{intent}")),
        "requires_payment_method" => {
            show(world, id, Some("The payment was declined. Try another card."))
        }
        _ => Page::Redirect(format!("/invoice/{id}")),
    }
}
