//! Helpers for the files of the resources: find an object, read the usual parameters, update an
//! object. Lists are in `list`, the resources themselves in `routes`.

use serde_json::{Map, Value};

use super::params::Params;
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, text};
use crate::world::World;

/// A call's method, and the segments of its path below the resource's own path.
pub type Route<'a> = (&'a str, &'a [&'a str]);

/// Returns Stripe's name of a kind of object, for messages.
pub fn noun(kind: Kind) -> String {
    text(&kind.blank(), "object").to_owned()
}

/// Returns the object that the path names.
pub fn retrieve(world: &World, kind: Kind, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    match world.get(kind, id) {
        Value::Null => Err(ApiError::no_such(&noun(kind), id, "id")),
        object => Ok(object.clone()),
    }
}

/// Checks that the path names an object that was not deleted.
pub fn require(world: &World, kind: Kind, id: &str) -> Result<(), ApiError> {
    require_param(world, kind, id, "id")
}

/// Checks that a parameter names an object that was not deleted.
pub fn require_param(world: &World, kind: Kind, id: &str, param: &str) -> Result<(), ApiError> {
    if world.exists(kind, id) {
        return Ok(());
    }
    Err(ApiError::no_such(&noun(kind), id, param))
}

/// Checks that the path names an object with this status.
pub fn require_status(world: &World, kind: Kind, id: &str, needed: &str) -> Result<(), ApiError> {
    require(world, kind, id)?;
    let status = text(world.get(kind, id), "status");
    if status == needed {
        return Ok(());
    }
    Err(ApiError::invalid(format!("This {} is {status}, not {needed}.", noun(kind)), ""))
}

/// Takes the parameters with these names, and returns whether an object's fields of the same names
/// have their values.
pub fn matches(
    params: &mut Params,
    kind: Kind,
    names: &[&'static str],
) -> Result<impl Fn(&Value) -> bool + use<>, ApiError> {
    let mut wanted = Map::new();
    take(params, kind, names, &mut wanted)?;
    Ok(move |object: &Value| wanted.iter().all(|(name, value)| object[name] == *value))
}

/// Takes the parameters with these names into an object's fields. An empty text unsets its field.
pub fn take_fields(
    params: &mut Params,
    kind: Kind,
    names: &[&str],
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let mut taken = Map::new();
    take(params, kind, names, &mut taken)?;
    let unset = |value| if value == "" { Value::Null } else { value };
    fields.extend(taken.into_iter().map(|(name, value)| (name, unset(value))));
    Ok(())
}

/// Takes the parameters that are there. A field that is a boolean in the blank object is one here;
/// every other is a text.
fn take(
    params: &mut Params,
    kind: Kind,
    names: &[&str],
    taken: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    if names.is_empty() {
        return Ok(());
    }
    let blank = kind.blank();
    for name in names {
        let value: Value = if blank[*name].is_boolean() {
            params.boolean(name)?.into()
        } else {
            params.text(name)?.into()
        };
        if !value.is_null() {
            taken.insert((*name).to_owned(), value);
        }
    }
    Ok(())
}

/// Takes metadata into an object's fields, merged with what it was before. An empty value removes
/// its key.
pub fn take_metadata(
    params: &mut Params,
    before: &Value,
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let Some(changes) = params.metadata("metadata")? else { return Ok(()) };
    let mut metadata = before["metadata"].as_object().cloned().unwrap_or_default();
    for (key, value) in changes {
        if key.is_empty() {
            metadata.clear(); // `metadata=` removes everything.
        } else if value == "" {
            metadata.remove(&key);
        } else {
            metadata.insert(key, value);
        }
    }
    fields.insert("metadata".to_owned(), metadata.into());
    Ok(())
}

/// Updates the metadata and these fields of the object that the path names, and announces `event`.
/// Returns the object.
pub fn update(
    world: &mut World,
    kind: Kind,
    id: &str,
    params: &mut Params,
    names: &[&str],
    event: &str,
) -> ApiResult {
    require(world, kind, id)?;
    let mut fields = Map::new();
    take_fields(params, kind, names, &mut fields)?;
    take_metadata(params, world.get(kind, id), &mut fields)?;
    params.finish()?;
    world.change(kind, id, fields.into(), event);
    Ok(world.get(kind, id).clone())
}
