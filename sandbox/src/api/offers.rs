//! `/v1/payment_links`, and `/v1/quotes` for subscriptions only. The rules of a sale by them are in
//! `billing::offer`.

use serde_json::{Map, Value};

use super::checkout::{line_items_of, take_collection};
use super::collected::collected;
use super::params::Params;
use super::resource::{Route, require_param, require_status, take_fields, take_metadata, update};
use super::terms::{Mode, currency, terms};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::offer;
use crate::objects::Kind;
use crate::world::World;

/// Handles the calls that only `/v1/payment_links` has.
pub fn links(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_link(world, params),
        ("GET", [id, "line_items"]) => {
            params.ignore(&["limit"]);
            params.finish().map(|()| line_items_of(world, id))
        }
        ("POST", [id]) => {
            update(world, Kind::PaymentLink, id, params, &["active"], "payment_link.updated")
        }
        _ => return None,
    })
}

/// Handles the calls that only `/v1/quotes` has.
pub fn quotes(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_quote(world, params),
        ("POST", [id, "finalize"]) => finalize_quote(world, id, params),
        ("POST", [id, "accept"]) => accept_quote(world, id, params),
        _ => return None,
    })
}

fn create_link(world: &mut World, params: &mut Params) -> ApiResult {
    let mut terms = terms(world, None, params)?;
    let mode = if terms.payment.is_some() { Mode::Payment } else { Mode::Subscription };
    terms.currency = currency(world, mode, None, &terms.lines, params)?;
    let mut fields = Map::new();
    let names = ["allow_promotion_codes", "customer_creation"];
    take_fields(params, Kind::PaymentLink, &names, &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    take_collection(mode, params, &mut fields)?;
    collected(world, params, &mut fields)?;
    params.ignore(&["after_completion"]);
    params.finish()?;
    let id = offer::add_link(world, terms, fields.into());
    Ok(world.get(Kind::PaymentLink, &id).clone())
}

fn create_quote(world: &mut World, params: &mut Params) -> ApiResult {
    let customer = params.required("customer")?;
    let terms = terms(world, Some(Mode::Subscription), params)?;
    let sent = params.text("collection_method")?.as_deref() == Some("send_invoice");
    let mut settings = params.group("invoice_settings");
    let days = settings.integer("days_until_due")?.filter(|_| sent);
    settings.finish()?;
    let mut fields = Map::new();
    take_fields(params, Kind::Quote, &["description", "header", "footer"], &mut fields)?;
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
    require_status(world, Kind::Quote, id, "draft")?;
    offer::finalize_quote(world, id);
    Ok(world.get(Kind::Quote, id).clone())
}

fn accept_quote(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require_status(world, Kind::Quote, id, "open")?;
    offer::accept_quote(world, id);
    Ok(world.get(Kind::Quote, id).clone())
}
