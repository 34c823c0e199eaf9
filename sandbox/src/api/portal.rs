//! `/v1/billing_portal`: sessions, and the one configuration that they use.

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{require, require_param, retrieve, take_metadata, take_texts};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, text};
use crate::world::World;

/// Answers the calls of this resource; nothing if there is no such address.
pub fn route(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("POST", ["sessions"]) => create_session(world, params),
        ("POST", ["configurations"]) => create_configuration(world, params),
        ("GET", ["configurations"]) => list_configurations(world, params),
        ("GET", ["configurations", id]) => retrieve(world, Kind::PortalConfiguration, id, params),
        ("POST", ["configurations", id]) => update_configuration(world, id, params),
        _ => return None,
    })
}

fn create_session(world: &mut World, params: &mut Params) -> ApiResult {
    let customer = params.required("customer")?;
    let configuration = params.text("configuration")?;
    let mut fields = Map::new();
    take_texts(params, &["return_url", "locale"], &mut fields)?;
    params.ignore(&["flow_data"]);
    params.finish()?;
    require_param(world, Kind::Customer, &customer, "customer")?;
    let configuration = match configuration {
        Some(id) => {
            require_param(world, Kind::PortalConfiguration, &id, "configuration")?;
            id
        }
        None => default_configuration(world),
    };
    let id = world.id(Kind::PortalSession.prefix());
    let own = json!({
        "configuration": configuration,
        "customer": customer,
        "url": format!("{}/portal/{id}", world.url),
    });
    fields.extend(own.as_object().cloned().unwrap_or_default());
    world.insert_as(Kind::PortalSession, &id, fields.into());
    world.announce(Kind::PortalSession, &id, "billing_portal.session.created");
    Ok(world.get(Kind::PortalSession, &id).clone())
}

/// The account's own configuration; Stripe has one from the start.
fn default_configuration(world: &mut World) -> String {
    let default = world
        .newest_first(Kind::PortalConfiguration, None)
        .find(|configuration| configuration["is_default"] == true)
        .map(|configuration| text(configuration, "id").to_owned());
    match default {
        Some(id) => id,
        None => world.insert(Kind::PortalConfiguration, json!({ "updated": world.now })),
    }
}

fn create_configuration(world: &mut World, params: &mut Params) -> ApiResult {
    default_configuration(world);
    let mut fields = Map::new();
    take_fields(params, &mut fields)?;
    fields.insert("is_default".to_owned(), false.into());
    fields.insert("updated".to_owned(), world.now.into());
    let event = "billing_portal.configuration.created";
    let id = world.create(Kind::PortalConfiguration, fields.into(), event);
    Ok(world.get(Kind::PortalConfiguration, &id).clone())
}

fn update_configuration(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::PortalConfiguration, id)?;
    let mut fields = Map::new();
    take_fields(params, &mut fields)?;
    let event = "billing_portal.configuration.updated";
    world.change(Kind::PortalConfiguration, id, fields.into(), event);
    Ok(world.get(Kind::PortalConfiguration, id).clone())
}

/// The sandbox's portal always offers everything, so the features are taken and left alone.
fn take_fields(params: &mut Params, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    take_texts(params, &["default_return_url", "name"], fields)?;
    take_metadata(params, &json!({}), fields)?;
    params.ignore(&["features", "business_profile", "login_page"]);
    params.finish()
}

fn list_configurations(world: &mut World, params: &mut Params) -> ApiResult {
    default_configuration(world);
    let is_default = params.boolean("is_default")?;
    let active = params.boolean("active")?;
    list(world, Kind::PortalConfiguration, params, |configuration| {
        is_default.is_none_or(|wanted| configuration["is_default"] == wanted)
            && active.is_none_or(|wanted| configuration["active"] == wanted)
    })
}
