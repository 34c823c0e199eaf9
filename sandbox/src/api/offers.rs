//! `/v1/payment_links` and `/v1/quotes`, for subscriptions.

use serde_json::{Map, Value};

use super::checkout::line_items_of;
use super::list::list;
use super::params::Params;
use super::resource::{require, require_param, retrieve, take_metadata, take_texts};
use super::terms::terms;
use crate::api_error::{ApiError, ApiResult};
use crate::billing::offer;
use crate::objects::{Kind, text};
use crate::world::World;

/// Answers `/v1/payment_links`; nothing if there is no such address.
pub fn links(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("POST", []) => create_link(world, params),
        ("GET", []) => list_links(world, params),
        ("GET", [id]) => retrieve(world, Kind::PaymentLink, id, params),
        ("GET", [id, "line_items"]) => {
            params.ignore(&["limit"]);
            params.finish().map(|()| line_items_of(world, id))
        }
        ("POST", [id]) => update_link(world, id, params),
        _ => return None,
    })
}

/// Answers `/v1/quotes`; nothing if there is no such address.
pub fn quotes(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("POST", []) => create_quote(world, params),
        ("GET", []) => list(world, Kind::Quote, params, |_| true),
        ("GET", [id]) => retrieve(world, Kind::Quote, id, params),
        ("POST", [id, "finalize"]) => finalize_quote(world, id, params),
        ("POST", [id, "accept"]) => accept_quote(world, id, params),
        _ => return None,
    })
}

fn create_link(world: &mut World, params: &mut Params) -> ApiResult {
    let terms = terms(world, params)?;
    let mut fields = Map::new();
    take_metadata(params, &Value::Null, &mut fields)?;
    if let Some(allow) = params.boolean("allow_promotion_codes")? {
        fields.insert("allow_promotion_codes".to_owned(), allow.into());
    }
    params.ignore(&["after_completion", "billing_address_collection", "automatic_tax"]);
    params.finish()?;
    let id = offer::add_link(world, terms, fields.into());
    Ok(world.get(Kind::PaymentLink, &id).clone())
}

fn update_link(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::PaymentLink, id)?;
    let mut fields = Map::new();
    take_metadata(params, world.get(Kind::PaymentLink, id), &mut fields)?;
    if let Some(active) = params.boolean("active")? {
        fields.insert("active".to_owned(), active.into());
    }
    params.finish()?;
    world.change(Kind::PaymentLink, id, fields.into(), "payment_link.updated");
    Ok(world.get(Kind::PaymentLink, id).clone())
}

fn list_links(world: &World, params: &mut Params) -> ApiResult {
    let active = params.boolean("active")?;
    list(world, Kind::PaymentLink, params, |link| {
        active.is_none_or(|wanted| link["active"] == wanted)
    })
}

fn create_quote(world: &mut World, params: &mut Params) -> ApiResult {
    let customer = params.required("customer")?;
    let terms = terms(world, params)?;
    let sent = params.text("collection_method")?.as_deref() == Some("send_invoice");
    let mut settings = params.group("invoice_settings");
    let days = settings.integer("days_until_due")?.filter(|_| sent);
    settings.finish()?;
    let mut fields = Map::new();
    take_texts(params, &["description", "header", "footer"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.finish()?;
    require_param(world, Kind::Customer, &customer, "customer")?;
    if sent && days.is_none() {
        return Err(ApiError::missing("invoice_settings[days_until_due]"));
    }
    let id = offer::add_quote(world, &customer, terms, days, fields.into());
    Ok(world.get(Kind::Quote, &id).clone())
}

fn finalize_quote(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_status(world, id, "draft")?;
    offer::finalize_quote(world, id);
    Ok(world.get(Kind::Quote, id).clone())
}

fn accept_quote(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_status(world, id, "open")?;
    offer::accept_quote(world, id);
    Ok(world.get(Kind::Quote, id).clone())
}

fn require_status(world: &World, id: &str, needed: &str) -> Result<(), ApiError> {
    require(world, Kind::Quote, id)?;
    let status = text(world.get(Kind::Quote, id), "status");
    if status == needed {
        return Ok(());
    }
    Err(ApiError::invalid(format!("This quote is {status}, not {needed}."), ""))
}
