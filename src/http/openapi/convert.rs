//! Converts the document of poem-openapi, OpenAPI 3.0, to OpenAPI 3.1.
//!
//! A reference in OpenAPI 3.0 has no description of its own, so poem-openapi puts the reference
//! and a schema without a type into `allOf`. Client generators refuse that. In OpenAPI 3.1, a
//! reference can have a description, and `null` is a type
//! (<https://spec.openapis.org/oas/v3.1.1.html#schema-object>).

use serde_json::{Map, Value, json};

/// The version of the converted document.
const VERSION: &str = "3.1.0";

/// Converts a document from OpenAPI 3.0 to 3.1.
pub fn to_3_1(document: &mut Value) {
    document["openapi"] = json!(VERSION);
    convert(document);
}

fn convert(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(convert),
        Value::Object(members) => {
            // An example is data, not a schema.
            let parts = members.iter_mut().filter(|(name, _)| !name.starts_with("example"));
            parts.for_each(|(_, part)| convert(part));
            unwrap_reference(members);
            allow_null(members);
        }
        _ => {}
    }
}

/// Replaces `allOf` of a reference and its description by the described reference.
fn unwrap_reference(schema: &mut Map<String, Value>) {
    let Some([reference, about]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return;
    };
    let (Some(target), Some(about)) = (reference.get("$ref").cloned(), about.as_object().cloned())
    else {
        return;
    };
    schema.remove("allOf");
    schema.extend(about);
    if schema.remove("nullable") == Some(json!(true)) {
        schema.insert("anyOf".to_owned(), json!([{ "$ref": target }, { "type": "null" }]));
    } else {
        schema.insert("$ref".to_owned(), target);
    }
}

/// Replaces `nullable` by the type `null`.
fn allow_null(schema: &mut Map<String, Value>) {
    if schema.get("type").is_some_and(Value::is_string)
        && schema.remove("nullable") == Some(json!(true))
    {
        let types = json!([schema["type"], "null"]);
        schema.insert("type".to_owned(), types);
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(mut schema: Value) -> Value {
        convert(&mut schema);
        schema
    }

    #[test]
    fn a_described_reference_keeps_its_description() {
        let wrapped = |about: Value| json!({ "allOf": [{ "$ref": "#/a" }, about] });
        assert_eq!(
            converted(wrapped(json!({ "description": "An A." }))),
            json!({ "$ref": "#/a", "description": "An A." })
        );
        assert_eq!(
            converted(wrapped(json!({ "description": "An A, or none.", "nullable": true }))),
            json!({
                "anyOf": [{ "$ref": "#/a" }, { "type": "null" }],
                "description": "An A, or none."
            })
        );
        let several = json!({ "allOf": [{ "$ref": "#/a" }, { "$ref": "#/b" }, { "$ref": "#/c" }] });
        assert_eq!(converted(several.clone()), several);
    }

    #[test]
    fn null_is_a_type_and_an_example_is_left_alone() {
        assert_eq!(
            converted(json!({ "type": "string", "nullable": true, "enum": ["a"] })),
            json!({ "type": ["string", "null"], "enum": ["a", null] })
        );
        let example = json!({ "example": { "type": "event", "nullable": true } });
        assert_eq!(converted(example.clone()), example);
    }
}
