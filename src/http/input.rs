//! JSON request bodies, validated against the API description. All problems are reported at once,
//! each with its field name. The framework's own JSON parser accepts the number 7 as `"7"`, stops
//! at the first problem, and does not always name the field.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use poem::{FromRequest, Request, RequestBody};
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, impl_apirequest_for_payload,
};
use serde_json::Value;

use crate::error::Error;

/// The maximum number of problems reported for one body. It limits the size of the response.
const MAX_PROBLEMS: usize = 10;

/// The longest name of an unknown field in a message, in characters.
const MAX_NAME: usize = 40;

/// A required request body.
pub struct Input<T>(pub T);

impl<T: Type> Payload for Input<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ParseFromJSON> ParsePayload for Input<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        let malformed = |problem: String| Error::InvalidRequest(problem);
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
        let problems = problems::<T>(&value);
        if !problems.is_empty() {
            return Err(malformed(problems.join("; ")).into());
        }
        let parsed = T::parse_from_json(Some(value));
        Ok(Self(parsed.map_err(|error| malformed(error.into_message()))?))
    }
}

impl_apirequest_for_payload!(Input<T>, T: ParseFromJSON);

/// An optional request body.
pub struct OptionalInput<T>(pub Option<T>);

impl<'a, T: ParseFromJSON> ApiExtractor<'a> for OptionalInput<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let meta = <Input<T> as ApiExtractor>::request_meta();
        meta.map(|meta| MetaRequest { required: false, ..meta })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = <Vec<u8> as FromRequest>::from_request(request, body).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        let mut body = RequestBody::new(bytes.into());
        let input = <Input<T> as ApiExtractor>::from_request(request, &mut body, options).await?;
        Ok(Self(Some(input.0)))
    }
}

/// Returns the schema of `T`. It is cached, because building it takes longer than a small request.
fn schema_of<T: Type>() -> Option<Arc<MetaSchema>> {
    static CACHE: RwLock<BTreeMap<String, Arc<MetaSchema>>> = RwLock::new(BTreeMap::new());
    let MetaSchemaRef::Reference(name) = T::schema_ref() else { return None };
    let cached = CACHE.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    if cached.is_some() {
        return cached;
    }
    let mut registry = Registry::new();
    T::register(&mut registry);
    let schema = Arc::new(registry.schemas.remove(&name)?);
    CACHE.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&schema));
    Some(schema)
}

/// Returns every problem of a body that does not match the schema of `T`.
fn problems<T: Type>(body: &Value) -> Vec<String> {
    let Some(schema) = schema_of::<T>() else { return Vec::new() };
    let Value::Object(members) = body else {
        return vec![format!("the body is {}; an object is expected", kind(body))];
    };
    let known = || schema.properties.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (mut problems, mut unknown) = (Vec::new(), false);
    for name in &schema.required {
        if !members.contains_key(*name) {
            problems.push(format!("`{name}` is missing"));
        }
    }
    for (name, value) in members {
        match schema.properties.iter().find(|(property, _)| property == name) {
            None => {
                let name: String = name.chars().take(MAX_NAME).collect();
                problems.push(format!("there is no field `{name}`"));
                unknown = true;
            }
            Some((_, MetaSchemaRef::Inline(property))) => {
                let problem = problem(property, value);
                problems.extend(problem.map(|problem| format!("`{name}` {problem}")));
            }
            Some((_, MetaSchemaRef::Reference(_))) => {}
        }
    }
    problems.truncate(MAX_PROBLEMS);
    if unknown {
        problems.push(format!("known fields are {}", known()));
    }
    problems
}

/// Returns the problem of one field. The message does not contain the value, which may be secret.
fn problem(schema: &MetaSchema, value: &Value) -> Option<String> {
    if value.is_null() && schema.nullable {
        return None;
    }
    let found = kind(value);
    match (schema.ty, value) {
        ("string", Value::String(text)) => {
            let length = text.chars().count();
            let short = schema.min_length.filter(|least| length < *least);
            let long = schema.max_length.filter(|most| length > *most);
            short
                .map(|least| format!("is too short; use {least} characters or more"))
                .or(long.map(|most| format!("is too long; use at most {most} characters")))
        }
        ("string", _) => Some(format!("is {found}; a text is expected")),
        ("integer", value) if !value.is_i64() && !value.is_u64() => {
            Some(format!("is {found}; a whole number is expected"))
        }
        ("boolean", value) if !value.is_boolean() => {
            Some(format!("is {found}; true or false is expected"))
        }
        ("array", Value::Array(entries)) => {
            let mut problems = entries.iter().filter_map(|entry| within(&schema.items, entry));
            problems.next().map(|problem| format!("has an entry that {problem}"))
        }
        ("array", _) => Some(format!("is {found}; a list is expected")),
        ("object", Value::Object(members)) => {
            let values = &schema.additional_properties;
            let mut problems = members.values().filter_map(|value| within(values, value));
            problems.next().map(|problem| format!("has a value that {problem}"))
        }
        ("object", _) => Some(format!("is {found}; an object is expected")),
        _ => None,
    }
}

/// Returns the problem of an entry of a list, or of a value of an object.
fn within(schema: &Option<Box<MetaSchemaRef>>, value: &Value) -> Option<String> {
    match schema.as_deref() {
        Some(MetaSchemaRef::Inline(schema)) => problem(schema, value),
        Some(MetaSchemaRef::Reference(_)) | None => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, poem_openapi::Object)]
    #[oai(deny_unknown_fields)]
    struct Order {
        #[oai(validator(min_length = 2, max_length = 4))]
        name: String,
        count: i64,
        #[oai(nullable)]
        note: Option<String>,
        gift: Option<bool>,
        tags: Option<Vec<String>>,
        facts: Option<BTreeMap<String, String>>,
    }

    #[test]
    fn a_body_that_matches_the_schema_passes() {
        for good in [
            json!({ "name": "book", "count": 1 }),
            json!({ "name": "äöüß", "count": -1, "note": null, "gift": true }),
            json!({ "name": "book", "count": 1, "tags": ["a"], "facts": { "a": "b" } }),
        ] {
            assert_eq!(problems::<Order>(&good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_fields() {
        let bad = json!({ "name": 7, "gift": "yes", "note": [], "coupon": "x" });
        assert_eq!(
            problems::<Order>(&bad),
            [
                "`count` is missing",
                "there is no field `coupon`",
                "`gift` is a text; true or false is expected",
                "`name` is a number; a text is expected",
                "`note` is a list; a text is expected",
                "known fields are name, count, note, gift, tags, facts",
            ]
        );
        let bad = json!({ "name": "book", "count": 1, "tags": ["a", 1], "facts": { "a": null } });
        assert_eq!(
            problems::<Order>(&bad),
            [
                "`facts` has a value that is null; a text is expected",
                "`tags` has an entry that is a number; a text is expected",
            ]
        );
        let bad = json!({ "name": "book", "count": 1, "tags": {}, "facts": [] });
        assert_eq!(
            problems::<Order>(&bad),
            ["`facts` is a list; an object is expected", "`tags` is an object; a list is expected"]
        );
        let bad = json!({ "name": "b", "count": 1.5, "gift": null });
        assert_eq!(
            problems::<Order>(&bad),
            [
                "`count` is a number; a whole number is expected",
                "`gift` is null; true or false is expected",
                "`name` is too short; use 2 characters or more",
            ]
        );
        let many: serde_json::Map<_, _> =
            (0..5000).map(|n| (format!("{n:060}"), Value::Null)).collect();
        let reported = problems::<Order>(&many.into());
        assert_eq!(reported.len(), MAX_PROBLEMS + 1);
        assert!(reported.join("; ").len() < 1000, "{reported:?}");
        assert_eq!(problems::<Order>(&json!([])), ["the body is a list; an object is expected"]);
    }
}
