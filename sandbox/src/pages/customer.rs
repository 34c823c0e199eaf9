//! The vendor's page of a customer: subscriptions, invoices, payments, and the actions on them. The
//! customer's own page is in `portal`.

use askama::Template;
use serde_json::{Value, json};

use super::page::{Form, Page, field, html};
use super::rows::{SubscriptionRow, amount, subscriptions};
use crate::billing::checks::ActionError;
use crate::billing::credit::CreditNote;
use crate::billing::dispute::DisputeKind;
use crate::billing::{actions, invoice_actions, money_actions};
use crate::clock::readable;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// The most invoices on the page.
const MAX_ROWS: usize = 50;

#[derive(Template)]
#[template(path = "customer.html")]
struct CustomerPage<'a> {
    id: &'a str,
    name: &'a str,
    problem: Option<&'a str>,
    subscriptions: Vec<SubscriptionRow>,
    tables: [(&'static str, Vec<Row>); 2],
}

struct Row {
    id: String,
    date: String,
    amount: String,
    status: String,
    actions: Vec<Action>,
}

struct Action {
    path: &'static str,
    id: String,
    label: &'static str,
}

/// Returns the page of a customer.
pub fn show(world: &World, id: &str, problem: Option<&str>) -> Page {
    let customer = world.get(Kind::Customer, id);
    if customer.is_null() {
        return Page::NotFound;
    }
    let payment = |payment: &Value| {
        let charge = world.get(Kind::Charge, text(payment, "latest_charge"));
        Row {
            id: text(payment, "id").to_owned(),
            date: readable(integer(payment, "created")),
            amount: amount(integer(payment, "amount"), payment),
            status: match (charge["refunded"] == true, charge["disputed"] == true) {
                (true, _) => "refunded".to_owned(),
                (_, true) => "disputed".to_owned(),
                _ => text(payment, "status").to_owned(),
            },
            actions: actions_for(world, payment, charge),
        }
    };
    let invoice = |invoice: &Value| Row {
        id: text(invoice, "id").to_owned(),
        date: readable(integer(invoice, "created")),
        amount: amount(integer(invoice, "amount_due"), invoice),
        status: text(invoice, "status").to_owned(),
        actions: actions_for_invoice(invoice),
    };
    let invoices = world.newest_first(Kind::Invoice, Some(id));
    let payments = world.newest_first(Kind::PaymentIntent, Some(id));
    html(&CustomerPage {
        id,
        name: customer["email"].as_str().unwrap_or(id),
        problem,
        subscriptions: subscriptions(world, id),
        tables: [
            ("Invoices", invoices.take(MAX_ROWS).map(invoice).collect()),
            ("Payments", payments.map(payment).collect()),
        ],
    })
}

/// Returns the vendor's actions for an invoice.
fn actions_for_invoice(invoice: &Value) -> Vec<Action> {
    let action = |path, label| Action { path, id: text(invoice, "id").to_owned(), label };
    let forgiven = [
        action("void", "Void"),
        action("credit", "Credit"),
        action("paid-outside", "Paid outside of Stripe"),
        action("write-off", "Write off"),
    ];
    match text(invoice, "status") {
        "draft" => vec![action("finalize", "Finalize")],
        "open" => Vec::from(forgiven),
        // An uncollectible invoice is written off already.
        "uncollectible" => forgiven.into_iter().take(3).collect(),
        _ => vec![],
    }
}

fn actions_for(world: &World, payment: &Value, charge: &Value) -> Vec<Action> {
    let id = text(payment, "id");
    let action = |path, label| Action { path, id: id.to_owned(), label };
    let mut actions = match text(payment, "status") {
        "succeeded" if charge["refunded"] == true => vec![],
        "succeeded" => vec![action("refund", "Refund")],
        "processing" => vec![action("settle", "Bank pays"), action("bounce", "Bank refuses")],
        _ => vec![],
    };
    let mut disputes = world.newest_first(Kind::Dispute, None);
    match disputes.find(|dispute| dispute["payment_intent"] == id) {
        Some(dispute) if dispute["status"] == "needs_response" => {
            let dispute = text(dispute, "id").to_owned();
            actions.push(Action { path: "win", id: dispute.clone(), label: "Win the dispute" });
            actions.push(Action { path: "lose", id: dispute, label: "Lose the dispute" });
        }
        Some(dispute) if text(dispute, "status").starts_with("warning_n") => {
            let dispute = text(dispute, "id").to_owned();
            actions.push(Action { path: "escalate", id: dispute.clone(), label: "Escalate" });
            actions.push(Action { path: "drop", id: dispute, label: "Close the inquiry" });
        }
        None if charge["paid"] == true => {
            actions.push(action("dispute", "Dispute"));
            actions.push(action("inquire", "Inquire"));
        }
        _ => {}
    }
    actions
}

/// Runs an action of the vendor.
pub fn act(world: &mut World, customer: &str, action: &str, form: &Form) -> Page {
    if !world.exists(Kind::Customer, customer) {
        return Page::NotFound;
    }
    let id = field(form, "id");
    let done = match action {
        "portal" => return open_portal(world, customer),
        "end" => actions::cancel_now(world, id),
        "refund" => money_actions::refund(world, id, None, false).map(|_| ()),
        "settle" => actions::settle(world, id, true),
        "bounce" => actions::settle(world, id, false),
        "dispute" => {
            money_actions::open_dispute(world, id, None, DisputeKind::Chargeback).map(|_| ())
        }
        "inquire" => money_actions::open_dispute(world, id, None, DisputeKind::Inquiry).map(|_| ()),
        "escalate" => money_actions::escalate_inquiry(world, id),
        "drop" => money_actions::close_inquiry(world, id),
        "finalize" => invoice_actions::finalize(world, id),
        "void" => invoice_actions::void(world, id),
        "credit" => credit_all(world, id),
        "paid-outside" => invoice_actions::pay_out_of_band(world, id, None),
        "write-off" => invoice_actions::write_off(world, id),
        "win" => money_actions::close_dispute(world, id, true),
        "lose" => money_actions::close_dispute(world, id, false),
        _ => return Page::NotFound,
    };
    match done {
        Ok(()) => Page::Redirect(format!("/customer/{customer}")),
        Err(problem) => show(world, customer, Some(&problem.to_string())),
    }
}

/// Credits the remaining amount of an invoice.
fn credit_all(world: &mut World, id: &str) -> Result<(), ActionError> {
    let amount = integer(world.get(Kind::Invoice, id), "amount_remaining");
    let note = CreditNote { amount, ..CreditNote::default() };
    money_actions::credit(world, id, &note).map(|_| ())
}

fn open_portal(world: &mut World, customer: &str) -> Page {
    let return_url = format!("{}/customer/{customer}", world.url);
    let fields = json!({ "customer": customer, "return_url": return_url });
    Page::Redirect(format!("/portal/{}", world.insert(Kind::PortalSession, fields)))
}
