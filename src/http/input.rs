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

/// The schema of a body, and those that it refers to.
struct Schemas {
    body: MetaSchema,
    others: BTreeMap<String, MetaSchema>,
}

impl Schemas {
    fn resolve<'s>(&'s self, schema: &'s MetaSchemaRef) -> Option<&'s MetaSchema> {
        match schema {
            MetaSchemaRef::Inline(schema) => Some(schema),
            MetaSchemaRef::Reference(name) => self.others.get(name),
        }
    }
}

/// Returns the schema of `T`. It is cached, because building it takes longer than a small request.
fn schemas_of<T: Type>() -> Option<Arc<Schemas>> {
    static CACHE: RwLock<BTreeMap<String, Arc<Schemas>>> = RwLock::new(BTreeMap::new());
    let MetaSchemaRef::Reference(name) = T::schema_ref() else { return None };
    let cached = CACHE.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    if cached.is_some() {
        return cached;
    }
    let mut registry = Registry::new();
    T::register(&mut registry);
    let body = registry.schemas.remove(&name)?;
    let schemas = Arc::new(Schemas { body, others: registry.schemas });
    CACHE.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&schemas));
    Some(schemas)
}

/// Returns every problem of a body that does not match the schema of `T`.
fn problems<T: Type>(body: &Value) -> Vec<String> {
    let Some(schemas) = schemas_of::<T>() else { return Vec::new() };
    let schema = &schemas.body;
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
            Some((_, property)) => {
                let problem = problem(property, value, &schemas);
                problems.extend(problem.map(|problem| format!("`{name}` {problem}")));
            }
        }
    }
    problems.truncate(MAX_PROBLEMS);
    if unknown {
        problems.push(format!("known fields are {}", known()));
    }
    problems
}

/// Returns the problem of one field. The message does not contain the value, which may be secret.
fn problem(schema: &MetaSchemaRef, value: &Value, schemas: &Schemas) -> Option<String> {
    let schema = schemas.resolve(schema)?;
    if value.is_null() && schema.nullable {
        return None;
    }
    let found = kind(value);
    match (schema.ty, value) {
        (_, Value::String(_)) if !schema.enum_items.is_empty() => {
            let allowed: Vec<_> = schema.enum_items.iter().filter_map(Value::as_str).collect();
            let is_allowed = schema.enum_items.contains(value);
            (!is_allowed).then(|| format!("is unknown; use one of {}", allowed.join(", ")))
        }
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
        ("integer", value) => out_of_range(schema, value.as_f64()?),
        ("boolean", value) if !value.is_boolean() => {
            Some(format!("is {found}; true or false is expected"))
        }
        ("array", Value::Array(entries)) => {
            if let Some(most) = schema.max_items.filter(|most| entries.len() > *most) {
                return Some(format!("has too many entries; use at most {most}"));
            }
            let items = schema.items.as_deref()?;
            let mut problems = entries.iter().filter_map(|entry| problem(items, entry, schemas));
            problems.next().map(|problem| format!("has an entry that {problem}"))
        }
        ("array", _) => Some(format!("is {found}; a list is expected")),
        ("object", Value::Object(members)) => {
            let values = schema.additional_properties.as_deref()?;
            let mut problems = members.values().filter_map(|value| problem(values, value, schemas));
            problems.next().map(|problem| format!("has a value that {problem}"))
        }
        ("object", _) => Some(format!("is {found}; an object is expected")),
        _ => None,
    }
}

/// Returns the problem of a whole number outside the range of its field: what the description
/// states, or at least what its type holds.
fn out_of_range(schema: &MetaSchema, number: f64) -> Option<String> {
    let is_unsigned = schema.format.is_some_and(|format| format.starts_with("uint"));
    let least = schema.minimum.or(is_unsigned.then_some(0.0));
    let low = least.filter(|least| number < *least);
    let high = schema.maximum.filter(|most| number > *most);
    low.map(|least| format!("is too low; use {least} or more"))
        .or(high.map(|most| format!("is too high; use at most {most}")))
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
        #[oai(validator(max_items = 3))]
        tags: Option<Vec<String>>,
        facts: Option<BTreeMap<String, String>>,
        #[oai(validator(minimum(value = "1"), maximum(value = "9")))]
        copies: Option<u32>,
        shelf: Option<u32>,
        format: Option<Format>,
    }

    #[derive(Debug, poem_openapi::Enum)]
    #[oai(rename_all = "snake_case")]
    enum Format {
        Paper,
        Ebook,
    }

    #[test]
    fn a_body_that_matches_the_schema_passes() {
        for good in [
            json!({ "name": "book", "count": 1 }),
            json!({ "name": "äöüß", "count": -1, "note": null, "gift": true }),
            json!({ "name": "book", "count": 1, "tags": ["a"], "facts": { "a": "b" } }),
            json!({ "name": "book", "count": 1, "copies": 9, "shelf": 0, "format": "ebook" }),
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
                "known fields are name, count, note, gift, tags, facts, copies, shelf, format",
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
        let bad = json!({
            "name": "book", "count": 1, "tags": ["a", "b", "c", "d"], "copies": 0, "shelf": -1,
            "format": "audio"
        });
        assert_eq!(
            problems::<Order>(&bad),
            [
                "`copies` is too low; use 1 or more",
                "`format` is unknown; use one of paper, ebook",
                "`shelf` is too low; use 0 or more",
                "`tags` has too many entries; use at most 3",
            ]
        );
        let bad = json!({ "name": "book", "count": 1, "copies": 10, "format": 7 });
        assert_eq!(
            problems::<Order>(&bad),
            ["`copies` is too high; use at most 9", "`format` is a number; a text is expected",]
        );
        let many: serde_json::Map<_, _> =
            (0..5000).map(|n| (format!("{n:060}"), Value::Null)).collect();
        let reported = problems::<Order>(&many.into());
        assert_eq!(reported.len(), MAX_PROBLEMS + 1);
        assert!(reported.join("; ").len() < 1000, "{reported:?}");
        assert_eq!(problems::<Order>(&json!([])), ["the body is a list; an object is expected"]);
    }
}
