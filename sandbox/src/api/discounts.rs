//! `/v1/coupons` and `/v1/promotion_codes`. How a discount lowers an invoice is in
//! `billing::discount`.

use serde_json::{Map, Value, json};

use super::params::Params;
use super::resource::{Route, require, require_param, take_fields, take_metadata, update};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::Kind;
use crate::world::World;

/// The length of Stripe's generated coupon ids.
const COUPON_ID_LENGTH: usize = 8;

/// Handles the calls that only `/v1/coupons` has.
pub fn coupons(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_coupon(world, params),
        ("DELETE", [id]) => delete_coupon(world, id, params),
        _ => return None,
    })
}

/// Handles the calls that only `/v1/promotion_codes` has.
pub fn codes(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_code(world, params),
        ("POST", [id]) => {
            update(world, Kind::PromotionCode, id, params, &["active"], "promotion_code.updated")
        }
        _ => return None,
    })
}

fn create_coupon(world: &mut World, params: &mut Params) -> ApiResult {
    let id = params.text("id")?.filter(|id| !id.is_empty());
    let mut fields = Map::new();
    take_fields(params, Kind::Coupon, &["name", "currency", "duration"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    for name in ["amount_off", "duration_in_months", "max_redemptions", "redeem_by"] {
        if let Some(number) = params.integer(name)? {
            fields.insert(name.to_owned(), number.into());
        }
    }
    if let Some(percent) = params.text("percent_off")? {
        let percent: f64 = percent
            .parse()
            .map_err(|_| ApiError::invalid(format!("Invalid decimal: {percent}"), "percent_off"))?;
        fields.insert("percent_off".to_owned(), percent.into());
    }
    params.finish()?;
    if fields.contains_key("amount_off") == fields.contains_key("percent_off") {
        let message = "Must provide either percent_off or amount_off.";
        return Err(ApiError::invalid(message, "percent_off"));
    }
    let id = id.unwrap_or_else(|| world.id("").chars().take(COUPON_ID_LENGTH).collect());
    if world.exists(Kind::Coupon, &id) {
        return Err(ApiError::coded("resource_already_exists", "Coupon already exists.", "id"));
    }
    world.insert_as(Kind::Coupon, &id, fields.into());
    world.announce(Kind::Coupon, &id, "coupon.created");
    Ok(world.get(Kind::Coupon, &id).clone())
}

/// Discounts that were redeemed before remain.
fn delete_coupon(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require(world, Kind::Coupon, id)?;
    world.set(Kind::Coupon, id, json!({ "valid": false }));
    world.announce(Kind::Coupon, id, "coupon.deleted");
    world.set(Kind::Coupon, id, json!({ "deleted": true }));
    Ok(json!({ "id": id, "object": "coupon", "deleted": true }))
}

fn create_code(world: &mut World, params: &mut Params) -> ApiResult {
    let mut promotion = params.group("promotion");
    promotion.ignore(&["type"]);
    let coupon = promotion.required("coupon")?;
    let at = promotion.full_name("coupon");
    promotion.finish()?;
    let code = params.text("code")?;
    let mut fields = Map::new();
    take_fields(params, Kind::PromotionCode, &["customer"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.ignore(&["restrictions", "max_redemptions", "expires_at"]);
    params.finish()?;
    require_param(world, Kind::Coupon, &coupon, &at)?;
    let code = code.unwrap_or_else(|| world.id("")[..COUPON_ID_LENGTH].to_uppercase());
    fields.insert("code".to_owned(), code.into());
    fields.insert("promotion".to_owned(), json!({ "coupon": coupon, "type": "coupon" }));
    let id = world.create(Kind::PromotionCode, fields.into(), "promotion_code.created");
    Ok(world.get(Kind::PromotionCode, &id).clone())
}
