//! The billing portal of one customer. The vendor's actions are in `customer`.

use askama::Template;
use serde_json::Value;

use super::page::{Form, Page, field, html};
use super::rows::{SubscriptionRow, amount, has_one_item, product_name, subscriptions};
use crate::billing::actions;
use crate::billing::checks::ActionError;
use crate::card::Card;
use crate::clock::readable;
use crate::objects::{Kind, integer, text};
use crate::options::Proration;
use crate::world::World;

#[derive(Template)]
#[template(path = "portal.html")]
struct PortalPage<'a> {
    id: &'a str,
    customer: &'a str,
    problem: Option<&'a str>,
    subscriptions: Vec<SubscriptionRow>,
    prices: Vec<PriceRow>,
    cards: &'static [Card],
    invoices: Vec<InvoiceRow>,
    return_url: Option<&'a str>,
}

struct PriceRow {
    id: String,
    name: String,
    amount: String,
    interval: String,
}

struct InvoiceRow {
    id: String,
    number: String,
    date: String,
    amount: String,
    status: String,
}

/// Returns the page of a portal session.
pub fn show(world: &World, id: &str, problem: Option<&str>) -> Page {
    let session = world.get(Kind::PortalSession, id);
    let customer_id = text(session, "customer");
    let customer = world.get(Kind::Customer, customer_id);
    if session.is_null() || customer["deleted"] == true {
        return Page::NotFound;
    }
    let price = |price: &Value| PriceRow {
        id: text(price, "id").to_owned(),
        name: product_name(world, price),
        amount: amount(integer(price, "unit_amount"), price),
        interval: text(&price["recurring"], "interval").to_owned(),
    };
    let on_sale = |price: &&Value| price["active"] == true && price["recurring"].is_object();
    let invoice = |invoice: &Value| InvoiceRow {
        id: text(invoice, "id").to_owned(),
        number: text(invoice, "number").to_owned(),
        date: readable(integer(invoice, "created")),
        amount: amount(integer(invoice, "total"), invoice),
        status: text(invoice, "status").to_owned(),
    };
    html(&PortalPage {
        id,
        customer: customer["email"].as_str().unwrap_or(customer_id),
        problem,
        subscriptions: subscriptions(world, customer_id),
        prices: world.newest_first(Kind::Price, None).filter(on_sale).map(price).collect(),
        cards: &Card::ALL,
        invoices: world.newest_first(Kind::Invoice, Some(customer_id)).map(invoice).collect(),
        return_url: session["return_url"].as_str(),
    })
}

/// Runs an action of the customer. Objects of other customers are not found, and neither are
/// updates of a subscription with several items.
pub fn act(world: &mut World, id: &str, action: &str, form: &Form) -> Page {
    let customer = text(world.get(Kind::PortalSession, id), "customer").to_owned();
    let sub = field(form, "subscription");
    let invoice = field(form, "invoice");
    let owner = |kind, id: &str| text(world.get(kind, id), "customer") == customer;
    let own_sub = owner(Kind::Subscription, sub);
    let own_invoice = owner(Kind::Invoice, invoice);
    let can_update = own_sub && has_one_item(world, sub);
    let done = match action {
        "plan" if can_update => actions::change_plan(world, sub, field(form, "price")),
        "quantity" if can_update => set_quantity(world, sub, form),
        "schedule" if can_update => actions::schedule_changes(world, sub, &[field(form, "price")]),
        "unschedule" if own_sub => actions::unschedule(world, sub),
        "cancel" if own_sub => actions::cancel(world, sub, true),
        "uncancel" if own_sub => actions::cancel(world, sub, false),
        "pay" if own_invoice => actions::pay_invoice(world, invoice),
        "card" => replace_card(world, &customer, field(form, "card")),
        _ => return Page::NotFound,
    };
    match done {
        Ok(()) => Page::Redirect(format!("/portal/{id}")),
        Err(problem) => show(world, id, Some(&problem.to_string())),
    }
}

/// Changes the quantity of an item of the customer's subscription, and bills it at once.
fn set_quantity(world: &mut World, sub: &str, form: &Form) -> Result<(), ActionError> {
    let quantity = field(form, "quantity").parse().unwrap_or(-1);
    actions::set_quantity(world, sub, field(form, "item"), quantity, Proration::Now)
}

fn replace_card(world: &mut World, customer: &str, number: &str) -> Result<(), ActionError> {
    let card = Card::from_number(number)
        .ok_or_else(|| ActionError::NoSuch { what: "test card", id: number.to_owned() })?;
    actions::replace_card(world, customer, card)
}
