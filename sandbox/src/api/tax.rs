//! `/v1/tax/settings`, and `tax_ids` below `/v1/customers`. The taxes are in `billing::tax`.

use serde_json::{Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{Route, require, retrieve};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::customer;
use crate::objects::{Kind, tax_settings, text};
use crate::options::TaxStatus;
use crate::world::World;

/// The number of characters of an EU VAT id after its prefix.
const EU_VAT_CHARACTERS: std::ops::RangeInclusive<usize> = 8..=12;

/// Handles `/v1/tax/settings`.
pub fn settings(world: &World, route: Route<'_>, params: &Params) -> Option<ApiResult> {
    let ("GET", []) = route else { return None };
    let is_active = world.account.tax == TaxStatus::Active;
    Some(params.finish().map(|()| tax_settings(is_active)))
}

/// Handles the calls below `/v1/customers/{customer}/tax_ids`.
pub fn ids(
    world: &mut World,
    customer: &str,
    route: Route<'_>,
    params: &mut Params,
) -> Option<ApiResult> {
    if let Err(error) = require(world, Kind::Customer, customer) {
        return Some(Err(error));
    }
    Some(match route {
        ("POST", []) => create(world, customer, params),
        ("GET", []) => list(world, Kind::TaxId, params, |id| id["customer"] == customer),
        ("GET", [id]) => {
            own(world, customer, id).and_then(|()| retrieve(world, Kind::TaxId, id, params))
        }
        ("DELETE", [id]) => delete(world, customer, id, params),
        _ => return None,
    })
}

fn own(world: &World, customer: &str, id: &str) -> Result<(), ApiError> {
    require(world, Kind::TaxId, id)?;
    if world.get(Kind::TaxId, id)["customer"] == customer {
        return Ok(());
    }
    Err(ApiError::no_such("tax_id", id, "id"))
}

fn create(world: &mut World, customer: &str, params: &mut Params) -> ApiResult {
    let (kind, value) = take(params)?;
    params.finish()?;
    let id = customer::add_tax_id(world, customer, &kind, &value);
    Ok(world.get(Kind::TaxId, &id).clone())
}

/// Takes the type and the value of a tax id.
pub fn take(params: &mut Params) -> Result<(String, String), ApiError> {
    let (kind, value) = (params.required("type")?, params.required("value")?);
    let at = params.full_name("value");
    check(&kind, &value).map_err(|message| ApiError::coded("tax_id_invalid", message, &at))?;
    Ok((kind, value))
}

/// Checks the form of a tax id.
fn check(kind: &str, value: &str) -> Result<(), String> {
    let (prefix, rest) = value.split_at_checked(2).unwrap_or((value, ""));
    let is_eu_vat = customer::is_eu_prefix(prefix)
        && EU_VAT_CHARACTERS.contains(&rest.len())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if value.is_empty() || (kind == "eu_vat" && !is_eu_vat) {
        return Err(format!("Invalid value for {kind}."));
    }
    Ok(())
}

fn delete(world: &mut World, customer: &str, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    own(world, customer, id)?;
    world.announce(Kind::TaxId, id, "customer.tax_id.deleted");
    world.set(Kind::TaxId, id, json!({ "deleted": true }));
    Ok(json!({ "id": id, "object": "tax_id", "deleted": true }))
}

/// Returns the tax ids of a customer, as the list object that it includes on request.
pub fn ids_of(world: &World, customer: &Value) -> Value {
    let id = text(customer, "id");
    let ids = world.newest_first(Kind::TaxId, Some(id)).cloned().collect();
    crate::objects::list(ids, false, &format!("/v1/customers/{id}/tax_ids"))
}
