//! `/v1/products` and `/v1/prices`: creates, updates and lists them. Only prices per unit exist
//! here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{Route, matches, require_param, take_fields, take_metadata, update};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, put, text, with};
use crate::world::World;

/// Handles the calls that only `/v1/products` has.
pub fn products(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_product(world, params),
        ("POST", [id]) => {
            let names = ["active", "default_price", "description", "name"];
            update(world, Kind::Product, id, params, &names, "product.updated")
        }
        _ => return None,
    })
}

/// Handles the calls that only `/v1/prices` has.
pub fn prices(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_price(world, params),
        ("GET", []) => list_prices(world, params),
        ("POST", [id]) => {
            let names = ["active", "lookup_key", "nickname"];
            update(world, Kind::Price, id, params, &names, "price.updated")
        }
        _ => return None,
    })
}

fn list_prices(world: &World, params: &mut Params) -> ApiResult {
    let lookup_keys = params.texts("lookup_keys")?;
    params.ignore(&["type", "currency"]);
    let matching = matches(params, Kind::Price, &["active", "product"])?;
    list(world, Kind::Price, params, |price| {
        let key = text(price, "lookup_key");
        matching(price)
            && (lookup_keys.is_empty() || lookup_keys.iter().any(|wanted| wanted == key))
    })
}

fn create_product(world: &mut World, params: &mut Params) -> ApiResult {
    let name = params.required("name")?;
    let id = params.text("id")?;
    let mut fields = Map::from_iter([("name".to_owned(), name.into())]);
    take_fields(params, Kind::Product, &["description", "unit_label", "url"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.ignore(&["tax_code", "type", "shippable", "images"]);
    params.finish()?;
    if let Some(id) = id.as_deref().filter(|id| world.exists(Kind::Product, id)) {
        let message = format!("Product already exists with id: {id}");
        return Err(ApiError::coded("resource_already_exists", message, "id"));
    }
    Ok(add_product(world, id, fields.into()))
}

fn add_product(world: &mut World, id: Option<String>, fields: Value) -> Value {
    let id = id.unwrap_or_else(|| world.id(Kind::Product.prefix()));
    world.insert_as(Kind::Product, &id, with(json!({ "updated": world.now }), fields));
    world.announce(Kind::Product, &id, "product.created");
    world.get(Kind::Product, &id).clone()
}

fn create_price(world: &mut World, params: &mut Params) -> ApiResult {
    let currency = params.required("currency")?;
    let amount = params.integer("unit_amount")?.ok_or_else(|| ApiError::missing("unit_amount"))?;
    let recurring = recurring(params)?;
    let others = currency_options(params)?;
    let product = params.text("product")?;
    let mut product_data = params.group("product_data");
    let product_name = product_data.text("name")?;
    let mut fields = Map::new();
    take_fields(params, Kind::Price, &["lookup_key", "nickname", "tax_behavior"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.ignore(&["active", "billing_scheme", "transfer_lookup_key"]);
    product_data.finish()?;
    params.finish()?;
    let product = match (product, product_name) {
        (Some(product), _) => {
            require_param(world, Kind::Product, &product, "product")?;
            product
        }
        (None, Some(name)) => {
            text(&add_product(world, None, json!({ "name": name })), "id").to_owned()
        }
        (None, None) => return Err(ApiError::missing("product")),
    };
    let own = json!({
        "currency": currency,
        "product": product,
        "recurring": recurring,
        "type": if recurring.is_null() { "one_time" } else { "recurring" },
        "unit_amount": amount,
        "unit_amount_decimal": amount.to_string(),
    });
    let id = world.create(Kind::Price, with(own, fields.into()), "price.created");
    if !others.is_empty() {
        world.currency_options.insert(id.clone(), others);
    }
    Ok(world.get(Kind::Price, &id).clone())
}

/// Takes the amounts in other currencies.
fn currency_options(params: &mut Params) -> Result<BTreeMap<String, i64>, ApiError> {
    let mut group = params.group("currency_options");
    let mut others = BTreeMap::new();
    for currency in group.names() {
        let mut option = group.group(&currency);
        let at = option.full_name("unit_amount");
        let amount = option.integer("unit_amount")?.ok_or_else(|| ApiError::missing(&at))?;
        option.ignore(&["tax_behavior"]);
        option.finish()?;
        others.insert(currency, amount);
    }
    group.finish()?;
    Ok(others)
}

fn recurring(params: &mut Params) -> Result<Value, ApiError> {
    if !params.has("recurring") {
        return Ok(Value::Null);
    }
    let mut group = params.group("recurring");
    let interval = group.required("interval")?;
    if !matches!(interval.as_str(), "day" | "week" | "month" | "year") {
        let message = format!(
            "Invalid recurring[interval]: must be one of day, week, month, or year; not {interval}"
        );
        return Err(ApiError::invalid(message, "recurring[interval]"));
    }
    let count = group.integer("interval_count")?.unwrap_or(1);
    let usage_type = group.text("usage_type")?.unwrap_or_else(|| "licensed".to_owned());
    let meter = group.text("meter")?;
    group.ignore(&["trial_period_days"]);
    group.finish()?;
    // https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-legacy-usage-based-billing
    if (usage_type == "metered") != meter.is_some() {
        let message = "A price has a `meter` if and only if its `usage_type` is `metered`.";
        return Err(ApiError::invalid(message, "recurring[meter]"));
    }
    let mut recurring = Kind::Price.blank()["recurring"].take();
    let fields = json!({
        "interval": interval,
        "interval_count": count,
        "meter": meter,
        "usage_type": usage_type,
    });
    put(&mut recurring, fields);
    Ok(recurring)
}
