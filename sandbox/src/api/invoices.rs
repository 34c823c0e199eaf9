//! `/v1/invoices` and `/v1/invoice_payments`: reads the parameters and checks the status. How
//! invoices are paid is in `billing::collection`.

use serde_json::Value;

use super::list::{lines, list};
use super::params::Params;
use super::previews;
use super::resource::{Route, matches, require, require_param, require_status, update};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::collection::{self, Attempt};
use crate::billing::invoice;
use crate::billing::payment::Presence;
use crate::deliveries::Order;
use crate::objects::{self, Kind, integer, text};
use crate::world::{Payment, World};

/// An invoice includes so many of its payments. `/v1/invoice_payments` lists the rest.
const PAYMENTS_SHOWN: usize = 10;

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("GET", []) => list_all(world, params),
        ("GET", [id, "lines"]) => lines(world, Kind::Invoice, id, params),
        ("POST", ["create_preview"]) => previews::create(world, params),
        ("POST", [id, "pay"]) => pay(world, id, params),
        ("POST", [id, "void"]) => void(world, id, params),
        ("POST", [id, "mark_uncollectible"]) => mark_uncollectible(world, id, params),
        ("POST", [id, "finalize"]) => finalize(world, id, params),
        ("POST", [id, "attach_payment"]) => attach_payment(world, id, params),
        ("POST", [id]) => {
            let names = ["auto_advance", "description", "footer"];
            update(world, Kind::Invoice, id, params, &names, "invoice.updated")
        }
        _ => return None,
    })
}

/// Handles the calls that only `/v1/invoice_payments` has.
pub fn payments(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("GET", []) => list_payments(world, params),
        _ => return None,
    })
}

fn list_all(world: &World, params: &mut Params) -> ApiResult {
    let subscription = params.text("subscription")?;
    params.ignore(&["collection_method", "due_date"]);
    let matching = matches(params, Kind::Invoice, &["status"])?;
    list(world, Kind::Invoice, params, |invoice| {
        let billed = &invoice["parent"]["subscription_details"]["subscription"];
        matching(invoice) && subscription.as_deref().is_none_or(|wanted| billed == wanted)
    })
}

fn pay(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    let out_of_band = params.boolean("paid_out_of_band")?.unwrap_or(false);
    let method = params.text("payment_method")?;
    let off_session = params.boolean("off_session")?.unwrap_or(true);
    params.ignore(&["forgive", "mandate"]);
    params.finish()?;
    if world.get(Kind::Invoice, id)["status"] != "draft" {
        require_unpaid(world, id)?;
    }
    if let Some(method) = &method {
        require_param(world, Kind::PaymentMethod, method, "payment_method")?;
    }
    if out_of_band {
        collection::finalize(world, id);
        let remaining = integer(world.get(Kind::Invoice, id), "amount_remaining");
        if remaining > 0 {
            collection::pay_out_of_band(world, id, remaining);
        }
        return Ok(world.get(Kind::Invoice, id).clone());
    }
    let presence = if off_session { Presence::OffSession } else { Presence::OnSession };
    match method {
        Some(method) => collection::pay_by(world, id, Some(&method), presence, Attempt::Manual),
        None => collection::pay(world, id, presence, Attempt::Manual),
    }
    let invoice = world.get(Kind::Invoice, id);
    if invoice::is_unpaid(invoice) { Err(ApiError::declined()) } else { Ok(invoice.clone()) }
}

fn void(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_unpaid(world, id)?;
    collection::void(world, id);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn mark_uncollectible(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_status(world, Kind::Invoice, id, "open")?;
    collection::write_off(world, id);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn finalize(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    params.ignore(&["auto_advance"]);
    params.finish()?;
    require_status(world, Kind::Invoice, id, "draft")?;
    collection::finalize(world, id);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn attach_payment(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    let intent = params.required("payment_intent")?;
    params.finish()?;
    require_unpaid(world, id)?;
    require_param(world, Kind::PaymentIntent, &intent, "payment_intent")?;
    if let Some(invoice) = world.invoice_of(&intent) {
        let message = format!("This PaymentIntent is attached to invoice {invoice}.");
        return Err(ApiError::invalid(message, "payment_intent"));
    }
    collection::attach(world, id, &intent);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn require_unpaid(world: &World, id: &str) -> Result<(), ApiError> {
    require(world, Kind::Invoice, id)?;
    let invoice = world.get(Kind::Invoice, id);
    if invoice::is_unpaid(invoice) {
        return Ok(());
    }
    let status = text(invoice, "status");
    let message = format!("This invoice is {status}, neither open nor uncollectible.");
    Err(ApiError::invalid(message, ""))
}

fn list_payments(world: &World, params: &mut Params) -> ApiResult {
    let mut payment = params.group("payment");
    let intent = payment.text("payment_intent")?;
    payment.ignore(&["type"]);
    payment.finish()?;
    let invoice = params.text("invoice")?;
    if let Some(invoice) = &invoice {
        require_param(world, Kind::Invoice, invoice, "invoice")?;
    }
    let matching = matches(params, Kind::InvoicePayment, &["status"])?;
    let mut page = list(world, Kind::InvoicePayment, params, |payment| {
        let paid_by = &payment["payment"]["payment_intent"];
        matching(payment)
            && invoice.as_deref().is_none_or(|wanted| payment["invoice"] == wanted)
            && intent.as_deref().is_none_or(|wanted| paid_by == wanted)
    })?;
    if let (Some(_), Some(payments)) = (invoice, page["data"].as_array_mut()) {
        payments.reverse(); // The oldest first.
        sort_payments(world, payments);
    }
    Ok(page)
}

/// Sorts payments of an invoice, given in the order of their creation, into the chosen order.
fn sort_payments(world: &World, payments: &mut [Value]) {
    match world.payment_order {
        Order::AsCreated => {}
        Order::Reversed => payments.reverse(),
        // Ids are random, so their order is arbitrary.
        Order::Shuffled => payments.sort_by(|one, other| text(one, "id").cmp(text(other, "id"))),
    }
}

/// Returns the payments of an invoice, as the list object that the invoice includes on request.
pub fn payments_of(world: &World, invoice: &str) -> Value {
    let object =
        |payment: &Payment| world.get(Kind::InvoicePayment, &payment.invoice_payment).clone();
    let mut payments: Vec<Value> = world.payments_of(invoice).iter().map(object).collect();
    sort_payments(world, &mut payments);
    let has_more = payments.len() > PAYMENTS_SHOWN;
    payments.truncate(PAYMENTS_SHOWN);
    let url = format!("{}?invoice={invoice}", Kind::InvoicePayment.path());
    objects::list(payments, has_more, &url)
}
