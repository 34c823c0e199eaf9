//! `/v1/webhook_endpoints`. Only the response that creates an endpoint has its secret. Events are
//! sent in `sender`.

use serde_json::{Map, Value, json};

use super::params::Params;
use super::resource::{Route, require, take_fields, take_metadata};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, with};
use crate::world::World;

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create(world, params),
        ("POST", [id]) => update(world, id, params),
        ("DELETE", [id]) => delete(world, id, params),
        _ => return None,
    })
}

fn create(world: &mut World, params: &mut Params) -> ApiResult {
    let mut fields = Map::new();
    let url = checked_url(params.required("url")?)?;
    if !params.has("enabled_events") {
        return Err(ApiError::missing("enabled_events"));
    }
    take_settings(params, &Value::Null, &mut fields)?;
    fields.insert("url".to_owned(), url.into());
    let (id, secret) = add(world, fields.into());
    Ok(with(world.get(Kind::WebhookEndpoint, &id).clone(), json!({ "secret": secret })))
}

/// Creates an endpoint. Returns its id and its secret.
pub fn add(world: &mut World, fields: Value) -> (String, String) {
    let id = world.insert(Kind::WebhookEndpoint, fields);
    let secret = world.id("whsec_");
    world.webhook_secrets.insert(id.clone(), vec![secret.clone()]);
    (id, secret)
}

/// Accepts only plain HTTP, because every receiver is on this machine.
fn checked_url(url: String) -> Result<String, ApiError> {
    let parsed = url::Url::parse(&url).ok().filter(|url| url.scheme() == "http");
    if parsed.is_none_or(|url| url.host().is_none()) {
        let message = "Invalid URL: the sandbox delivers webhooks over plain http only.";
        return Err(ApiError::coded("url_invalid", message, "url"));
    }
    Ok(url)
}

fn take_settings(
    params: &mut Params,
    before: &Value,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    take_fields(params, Kind::WebhookEndpoint, &["api_version", "description"], fields)?;
    take_metadata(params, before, fields)?;
    let events = params.texts("enabled_events")?;
    if !events.is_empty() {
        fields.insert("enabled_events".to_owned(), events.into());
    }
    params.ignore(&["connect"]);
    params.finish()
}

fn update(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::WebhookEndpoint, id)?;
    let mut fields = Map::new();
    if let Some(url) = params.text("url")? {
        fields.insert("url".to_owned(), checked_url(url)?.into());
    }
    if let Some(disabled) = params.boolean("disabled")? {
        fields.insert("status".to_owned(), if disabled { "disabled" } else { "enabled" }.into());
    }
    take_settings(params, world.get(Kind::WebhookEndpoint, id), &mut fields)?;
    world.set(Kind::WebhookEndpoint, id, fields.into());
    Ok(world.get(Kind::WebhookEndpoint, id).clone())
}

fn delete(world: &mut World, id: &str, params: &Params) -> ApiResult {
    require(world, Kind::WebhookEndpoint, id)?;
    params.finish()?;
    let deleted = json!({ "id": id, "object": "webhook_endpoint", "deleted": true });
    world.update(Kind::WebhookEndpoint, id, |object| *object = deleted.clone());
    Ok(deleted)
}
