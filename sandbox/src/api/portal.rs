//! `/v1/billing_portal`: sessions, and the configuration that they use. The portal's pages are in
//! `pages::portal`.

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{Route, matches, require, require_param, take_fields, take_metadata};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, text};
use crate::world::World;

/// Handles the calls that only `/v1/billing_portal/sessions` has.
pub fn sessions(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    (route == ("POST", &[])).then(|| create_session(world, params))
}

/// Handles the calls that only `/v1/billing_portal/configurations` has.
pub fn configurations(
    world: &mut World,
    route: Route<'_>,
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create_configuration(world, params),
        ("GET", []) => list_configurations(world, params),
        ("POST", [id]) => update_configuration(world, id, params),
        _ => return None,
    })
}

fn create_session(world: &mut World, params: &mut Params) -> ApiResult {
    let customer = params.required("customer")?;
    let configuration = params.text("configuration")?;
    let mut fields = Map::new();
    take_fields(params, Kind::PortalSession, &["return_url", "locale"], &mut fields)?;
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

/// Returns the account's default configuration, which Stripe creates by itself.
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
    take_settings(params, &mut fields)?;
    fields.insert("is_default".to_owned(), false.into());
    fields.insert("updated".to_owned(), world.now.into());
    let event = "billing_portal.configuration.created";
    let id = world.create(Kind::PortalConfiguration, fields.into(), event);
    Ok(world.get(Kind::PortalConfiguration, &id).clone())
}

fn update_configuration(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::PortalConfiguration, id)?;
    let mut fields = Map::new();
    take_settings(params, &mut fields)?;
    let event = "billing_portal.configuration.updated";
    world.change(Kind::PortalConfiguration, id, fields.into(), event);
    Ok(world.get(Kind::PortalConfiguration, id).clone())
}

/// Takes a configuration's fields. The features are ignored: the sandbox's portal offers all of
/// them.
fn take_settings(params: &mut Params, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    take_fields(params, Kind::PortalConfiguration, &["default_return_url", "name"], fields)?;
    take_metadata(params, &json!({}), fields)?;
    params.ignore(&["features", "business_profile", "login_page"]);
    params.finish()
}

fn list_configurations(world: &mut World, params: &mut Params) -> ApiResult {
    default_configuration(world);
    let matching = matches(params, Kind::PortalConfiguration, &["active", "is_default"])?;
    list(world, Kind::PortalConfiguration, params, matching)
}
