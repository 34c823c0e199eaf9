//! `/v1/invoices` and `/v1/invoice_payments`.

use serde_json::{Map, Value};

use super::list::{list, whole};
use super::params::Params;
use super::resource::{require, require_param, retrieve, take_metadata, take_texts};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::collection::{self, Attempt};
use crate::billing::invoice;
use crate::billing::payment::Presence;
use crate::deliveries::Order;
use crate::objects::{self, Kind, integer, text};
use crate::world::{Payment, World};

/// So many of its payments are shown in an invoice; the rest is in the list of their own.
const PAYMENTS_SHOWN: usize = 10;

/// Answers the calls of this resource; nothing if there is no such address.
pub fn route(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("GET", []) => list_all(world, params),
        ("GET", [id]) => retrieve(world, Kind::Invoice, id, params),
        ("GET", [id, "lines"]) => lines(world, id, params),
        ("POST", [id, "pay"]) => pay(world, id, params),
        ("POST", [id, "void"]) => void(world, id, params),
        ("POST", [id, "mark_uncollectible"]) => mark_uncollectible(world, id, params),
        ("POST", [id, "finalize"]) => finalize(world, id, params),
        ("POST", [id, "attach_payment"]) => attach_payment(world, id, params),
        ("POST", [id]) => update(world, id, params),
        _ => return None,
    })
}

/// Answers `/v1/invoice_payments`; nothing if there is no such address.
pub fn payments(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("GET", []) => list_payments(world, params),
        ("GET", [id]) => retrieve(world, Kind::InvoicePayment, id, params),
        _ => return None,
    })
}

fn list_all(world: &World, params: &mut Params) -> ApiResult {
    let subscription = params.text("subscription")?;
    let status = params.text("status")?;
    params.ignore(&["collection_method", "due_date"]);
    list(world, Kind::Invoice, params, |invoice| {
        let billed = &invoice["parent"]["subscription_details"]["subscription"];
        subscription.as_deref().is_none_or(|wanted| *billed == wanted)
            && status.as_deref().is_none_or(|wanted| invoice["status"] == wanted)
    })
}

fn lines(world: &World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Invoice, id)?;
    let lines = world.get(Kind::Invoice, id)["lines"]["data"].as_array().cloned();
    whole(lines.unwrap_or_default(), &format!("/v1/invoices/{id}/lines"), params)
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
        let left = integer(world.get(Kind::Invoice, id), "amount_remaining");
        if left > 0 {
            collection::pay_out_of_band(world, id, left);
        }
        return Ok(world.get(Kind::Invoice, id).clone());
    }
    let presence = if off_session { Presence::OffSession } else { Presence::OnSession };
    match method {
        Some(method) => collection::pay_by(world, id, Some(&method), presence, Attempt::ByHand),
        None => collection::pay(world, id, presence, Attempt::ByHand),
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
    require_state(world, id, "open")?;
    collection::write_off(world, id);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn finalize(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    params.ignore(&["auto_advance"]);
    params.finish()?;
    require_state(world, id, "draft")?;
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

fn update(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Invoice, id)?;
    let mut fields = Map::new();
    take_texts(params, &["description", "footer"], &mut fields)?;
    take_metadata(params, world.get(Kind::Invoice, id), &mut fields)?;
    if let Some(advance) = params.boolean("auto_advance")? {
        fields.insert("auto_advance".to_owned(), advance.into());
    }
    params.finish()?;
    world.change(Kind::Invoice, id, fields.into(), "invoice.updated");
    Ok(world.get(Kind::Invoice, id).clone())
}

fn require_state(world: &World, id: &str, needed: &str) -> Result<(), ApiError> {
    require(world, Kind::Invoice, id)?;
    let status = text(world.get(Kind::Invoice, id), "status");
    if status == needed {
        return Ok(());
    }
    Err(ApiError::invalid(format!("This invoice is {status}, not {needed}."), ""))
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
    let invoice = params.text("invoice")?;
    let status = params.text("status")?;
    let mut payment = params.group("payment");
    let intent = payment.text("payment_intent")?;
    payment.ignore(&["type"]);
    payment.finish()?;
    if let Some(invoice) = &invoice {
        require_param(world, Kind::Invoice, invoice, "invoice")?;
    }
    let mut page = list(world, Kind::InvoicePayment, params, |payment| {
        let paid_by = &payment["payment"]["payment_intent"];
        invoice.as_deref().is_none_or(|wanted| payment["invoice"] == wanted)
            && status.as_deref().is_none_or(|wanted| payment["status"] == wanted)
            && intent.as_deref().is_none_or(|wanted| *paid_by == wanted)
    })?;
    if let (Some(_), Some(payments)) = (invoice, page["data"].as_array_mut()) {
        payments.reverse(); // As they were made.
        put_in_order(world, payments);
    }
    Ok(page)
}

/// Puts payments of an invoice, which are in the order of their making, into the chosen one.
fn put_in_order(world: &World, payments: &mut [Value]) {
    match world.payments_listed {
        Order::AsCreated => {}
        Order::Reversed => payments.reverse(),
        // Ids are random.
        Order::Shuffled => payments.sort_by(|one, other| text(one, "id").cmp(text(other, "id"))),
    }
}

/// What pays an invoice, as the list that it shows when asked for.
pub fn payments_of(world: &World, invoice: &str) -> Value {
    let object =
        |payment: &Payment| world.get(Kind::InvoicePayment, &payment.invoice_payment).clone();
    let mut payments: Vec<Value> = world.payments_of(invoice).iter().map(object).collect();
    put_in_order(world, &mut payments);
    let has_more = payments.len() > PAYMENTS_SHOWN;
    payments.truncate(PAYMENTS_SHOWN);
    let url = format!("{}?invoice={invoice}", Kind::InvoicePayment.path());
    objects::list(payments, has_more, &url)
}
