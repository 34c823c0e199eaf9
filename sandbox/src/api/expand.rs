//! `expand[]`: replaces ids by their objects, and adds the fields that are only included on
//! request.

use serde_json::{Value, json};

use super::{checkout, invoices, tax};
use crate::api_error::ApiError;
use crate::billing::price;
use crate::objects::{Kind, list, text};
use crate::world::World;

/// Stripe's limit on the levels of one expansion.
const MAX_LEVELS: usize = 4;

/// Expands one path, such as `latest_invoice.payments`, in a response.
pub fn expand(world: &World, body: &mut Value, path: &str) -> Result<(), ApiError> {
    let levels: Vec<&str> = path.split('.').collect();
    // A list's own `data` is not a level.
    let depth = levels.iter().filter(|level| **level != "data").count();
    if depth > MAX_LEVELS {
        let message = format!("You cannot expand more than {MAX_LEVELS} levels of a property.");
        return Err(ApiError::invalid(message, "expand"));
    }
    expand_levels(world, body, &levels, path)
}

fn expand_levels(
    world: &World,
    value: &mut Value,
    levels: &[&str],
    path: &str,
) -> Result<(), ApiError> {
    let Some((level, rest)) = levels.split_first() else { return Ok(()) };
    match value {
        Value::Null => Ok(()),
        Value::Array(elements) => {
            elements.iter_mut().try_for_each(|element| expand_levels(world, element, levels, path))
        }
        Value::Object(_) => {
            if let Some(field) = on_request(world, value, level) {
                value[*level] = field;
            }
            let Some(child) = value.get_mut(*level) else {
                let message = format!("This property cannot be expanded ({path}).");
                return Err(ApiError::invalid(message, "expand"));
            };
            replace_ids(world, child);
            expand_levels(world, child, rest, path)
        }
        _ => {
            Err(ApiError::invalid(format!("This property cannot be expanded ({path})."), "expand"))
        }
    }
}

/// Replaces an id, or each id of a list, by its object.
fn replace_ids(world: &World, value: &mut Value) {
    match value {
        Value::String(id) => *value = world.find(id).cloned().unwrap_or_else(|| json!(id)),
        Value::Array(ids) => ids.iter_mut().for_each(|id| replace_ids(world, id)),
        _ => {}
    }
}

fn on_request(world: &World, object: &Value, name: &str) -> Option<Value> {
    let id = text(object, "id");
    match (text(object, "object"), name) {
        ("invoice", "payments") => Some(invoices::payments_of(world, id)),
        ("coupon", "applies_to") => {
            Some(json!({ "products": world.coupon_products.get(id).cloned().unwrap_or_default() }))
        }
        ("price", "currency_options") => Some(price::options(world, object)),
        ("checkout.session" | "payment_link", "line_items") => {
            Some(checkout::line_items_of(world, id))
        }
        ("customer", "tax_ids") => Some(tax::ids_of(world, object)),
        ("customer", "subscriptions") => {
            let subscriptions = world.newest_first(Kind::Subscription, Some(id)).cloned().collect();
            Some(list(subscriptions, false, &format!("/v1/customers/{id}/subscriptions")))
        }
        _ => None,
    }
}
