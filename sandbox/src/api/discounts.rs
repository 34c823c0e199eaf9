//! `/v1/coupons` and `/v1/promotion_codes`.

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{require, require_param, retrieve, take_metadata, take_texts};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::Kind;
use crate::world::World;

/// As many characters as Stripe's ids for coupons have.
const COUPON_ID: usize = 8;

/// Answers `/v1/coupons`; nothing if there is no such address.
pub fn coupons(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("POST", []) => create_coupon(world, params),
        ("GET", []) => list(world, Kind::Coupon, params, |_| true),
        ("GET", [id]) => retrieve(world, Kind::Coupon, id, params),
        ("DELETE", [id]) => delete_coupon(world, id, params),
        _ => return None,
    })
}

/// Answers `/v1/promotion_codes`; nothing if there is no such address.
pub fn codes(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("POST", []) => create_code(world, params),
        ("GET", []) => list_codes(world, params),
        ("GET", [id]) => retrieve(world, Kind::PromotionCode, id, params),
        ("POST", [id]) => update_code(world, id, params),
        _ => return None,
    })
}

fn create_coupon(world: &mut World, params: &mut Params) -> ApiResult {
    let id = params.text("id")?.filter(|id| !id.is_empty());
    let mut fields = Map::new();
    take_texts(params, &["name", "currency", "duration"], &mut fields)?;
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
    let id = id.unwrap_or_else(|| world.id("").chars().take(COUPON_ID).collect());
    if world.exists(Kind::Coupon, &id) {
        return Err(ApiError::coded("resource_already_exists", "Coupon already exists.", "id"));
    }
    world.insert_as(Kind::Coupon, &id, fields.into());
    world.announce(Kind::Coupon, &id, "coupon.created");
    Ok(world.get(Kind::Coupon, &id).clone())
}

/// What was redeemed before goes on.
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
    let at = promotion.full("coupon");
    promotion.finish()?;
    let code = params.text("code")?;
    let mut fields = Map::new();
    take_texts(params, &["customer"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.ignore(&["restrictions", "max_redemptions", "expires_at"]);
    params.finish()?;
    require_param(world, Kind::Coupon, &coupon, &at)?;
    let code = code.unwrap_or_else(|| world.id("")[..COUPON_ID].to_uppercase());
    fields.insert("code".to_owned(), code.into());
    fields.insert("promotion".to_owned(), json!({ "coupon": coupon, "type": "coupon" }));
    let id = world.create(Kind::PromotionCode, fields.into(), "promotion_code.created");
    Ok(world.get(Kind::PromotionCode, &id).clone())
}

fn update_code(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::PromotionCode, id)?;
    let mut fields = Map::new();
    take_metadata(params, world.get(Kind::PromotionCode, id), &mut fields)?;
    if let Some(active) = params.boolean("active")? {
        fields.insert("active".to_owned(), active.into());
    }
    params.finish()?;
    world.change(Kind::PromotionCode, id, fields.into(), "promotion_code.updated");
    Ok(world.get(Kind::PromotionCode, id).clone())
}

fn list_codes(world: &World, params: &mut Params) -> ApiResult {
    let code = params.text("code")?;
    let active = params.boolean("active")?;
    list(world, Kind::PromotionCode, params, |found| {
        code.as_deref().is_none_or(|wanted| found["code"] == wanted)
            && active.is_none_or(|wanted| found["active"] == wanted)
    })
}
