//! `/v1/coupons` and `/v1/promotion_codes`. How a discount lowers an invoice is in
//! `billing::discount`.

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{Route, matches, require, require_param, take_fields, take_metadata, update};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::promotion;
use crate::objects::{Kind, text};
use crate::world::{Timer, World};

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
        ("GET", []) => list_codes(world, params),
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
    let mut applies_to = params.group("applies_to");
    let products = applies_to.texts("products")?;
    applies_to.finish()?;
    params.finish()?;
    for (place, product) in products.iter().enumerate() {
        let at = format!("applies_to[products][{place}]");
        require_param(world, Kind::Product, product, &at)?;
    }
    if fields.contains_key("amount_off") == fields.contains_key("percent_off") {
        let message = "Must provide either percent_off or amount_off.";
        return Err(ApiError::invalid(message, "percent_off"));
    }
    let id = id.unwrap_or_else(|| world.id("").chars().take(COUPON_ID_LENGTH).collect());
    if world.exists(Kind::Coupon, &id) {
        return Err(ApiError::coded("resource_already_exists", "Coupon already exists.", "id"));
    }
    if fields.contains_key("amount_off") && !fields.contains_key("currency") {
        return Err(ApiError::missing("currency"));
    }
    let ends = fields.get("redeem_by").and_then(Value::as_i64);
    world.insert_as(Kind::Coupon, &id, fields.into());
    if !products.is_empty() {
        world.coupon_products.insert(id.clone(), products);
    }
    if let Some(at) = ends {
        world.schedule(at, Timer::CouponEnds(id.clone()));
    }
    world.announce(Kind::Coupon, &id, "coupon.created");
    Ok(world.get(Kind::Coupon, &id).clone())
}

/// Discounts that were redeemed before remain.
fn delete_coupon(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require(world, Kind::Coupon, id)?;
    promotion::end(world, Kind::Coupon, id);
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
    for name in ["expires_at", "max_redemptions"] {
        if let Some(number) = params.integer(name)? {
            fields.insert(name.to_owned(), number.into());
        }
    }
    if let Some(restrictions) = restrictions(params)? {
        fields.insert("restrictions".to_owned(), restrictions);
    }
    params.finish()?;
    require_param(world, Kind::Coupon, &coupon, &at)?;
    let code = code.unwrap_or_else(|| world.id("")[..COUPON_ID_LENGTH].to_uppercase());
    require_unused(world, &code, fields.get("customer").unwrap_or(&Value::Null))?;
    let ends = fields.get("expires_at").and_then(Value::as_i64);
    fields.insert("code".to_owned(), code.into());
    fields.insert("promotion".to_owned(), json!({ "coupon": coupon, "type": "coupon" }));
    let id = world.create(Kind::PromotionCode, fields.into(), "promotion_code.created");
    if let Some(at) = ends {
        world.schedule(at, Timer::PromotionCodeEnds(id.clone()));
    }
    Ok(world.get(Kind::PromotionCode, &id).clone())
}

/// Takes the restrictions of a promotion code, if there are any.
fn restrictions(params: &mut Params) -> Result<Option<Value>, ApiError> {
    if !params.has("restrictions") {
        return Ok(None);
    }
    let mut group = params.group("restrictions");
    let restrictions = json!({
        "first_time_transaction": group.boolean("first_time_transaction")?.unwrap_or(false),
        "minimum_amount": group.integer("minimum_amount")?,
        "minimum_amount_currency": group.text("minimum_amount_currency")?,
    });
    let at = group.full_name("minimum_amount_currency");
    group.finish()?;
    let has = |name: &str| !restrictions[name].is_null();
    if has("minimum_amount") != has("minimum_amount_currency") {
        return Err(ApiError::missing(&at));
    }
    Ok(Some(restrictions))
}

/// Checks that no active promotion code of the same customer has this code
/// (<https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-code>).
fn require_unused(world: &World, code: &str, customer: &Value) -> Result<(), ApiError> {
    let mut codes = world.newest_first(Kind::PromotionCode, None);
    let is_used = codes.any(|other| {
        text(other, "code").eq_ignore_ascii_case(code)
            && other["active"] == true
            && other["customer"] == *customer
    });
    if !is_used {
        return Ok(());
    }
    let message = format!("An active promotion code with `code: {code}` already exists.");
    Err(ApiError::invalid(message, "code"))
}

/// Lists promotion codes. The case of `code` does not matter
/// (<https://docs.stripe.com/api/promotion_codes/list#list_promotion_codes-code>).
fn list_codes(world: &World, params: &mut Params) -> ApiResult {
    let code = params.text("code")?;
    let coupon = params.text("coupon")?;
    let matching = matches(params, Kind::PromotionCode, &["active"])?;
    list(world, Kind::PromotionCode, params, |object| {
        let own = text(object, "code");
        matching(object)
            && code.as_deref().is_none_or(|wanted| own.eq_ignore_ascii_case(wanted))
            && coupon.as_deref().is_none_or(|wanted| object["promotion"]["coupon"] == wanted)
    })
}
