//! `/v1/invoices` and `/v1/invoice_payments`.

use serde_json::Value;

use super::list::{list, whole};
use super::params::Params;
use super::resource::{require, require_param, retrieve};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::payment::Presence;
use crate::billing::{collection, invoice};
use crate::objects::{self, Kind, text};
use crate::world::World;

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
    params.ignore(&["off_session"]);
    params.finish()?;
    if world.get(Kind::Invoice, id)["status"] != "draft" {
        require_open(world, id)?;
    }
    collection::pay(world, id, Presence::OffSession);
    let invoice = world.get(Kind::Invoice, id);
    if invoice["status"] == "open" { Err(ApiError::declined()) } else { Ok(invoice.clone()) }
}

fn void(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_open(world, id)?;
    invoice::void(world, id);
    Ok(world.get(Kind::Invoice, id).clone())
}

fn require_open(world: &World, id: &str) -> Result<(), ApiError> {
    require(world, Kind::Invoice, id)?;
    match text(world.get(Kind::Invoice, id), "status") {
        "open" => Ok(()),
        status => Err(ApiError::invalid(format!("This invoice is {status}, not open."), "")),
    }
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
    list(world, Kind::InvoicePayment, params, |payment| {
        let paid_by = &payment["payment"]["payment_intent"];
        invoice.as_deref().is_none_or(|wanted| payment["invoice"] == wanted)
            && status.as_deref().is_none_or(|wanted| payment["status"] == wanted)
            && intent.as_deref().is_none_or(|wanted| *paid_by == wanted)
    })
}

/// What pays an invoice, as the list that it shows when asked for.
pub fn payments_of(world: &World, invoice: &str) -> Value {
    let payment = world.payment_of(invoice);
    let payment = payment.map(|payment| world.get(Kind::InvoicePayment, &payment.invoice_payment));
    let url = format!("{}?invoice={invoice}", Kind::InvoicePayment.path());
    objects::list(payment.into_iter().cloned().collect(), false, &url)
}
