//! What the resources have in common: finding an object, and reading the usual parameters.

use serde_json::{Map, Value};

use super::params::Params;
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{Kind, text};
use crate::world::World;

/// Stripe's word for a kind of object, for messages.
pub fn noun(kind: Kind) -> String {
    text(&kind.blank(), "object").to_owned()
}

/// The object that the path names.
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

/// Takes texts into an object's fields; an empty one unsets the field.
pub fn take_texts(
    params: &mut Params,
    names: &[&str],
    fields: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    for name in names {
        if let Some(text) = params.text(name)? {
            let value = if text.is_empty() { Value::Null } else { text.into() };
            fields.insert((*name).to_owned(), value);
        }
    }
    Ok(())
}

/// Takes metadata into an object's fields, over what was there; an empty value removes a key.
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
