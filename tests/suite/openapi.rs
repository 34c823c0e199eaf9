//! The API description: committed, complete, and correct.

use std::collections::BTreeSet;

use licentia::domain::operator::admin_key::Scope;
use licentia::http::openapi;
use reqwest::Method;
use serde_json::{Value, json};

use licentia_sandbox::Options;

use crate::harness::shop::Shop;

pub const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");

#[test]
fn the_committed_description_is_the_generated_one() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == openapi::text(),
        "openapi/openapi.json is stale; run: cargo run -- openapi > openapi/openapi.json"
    );
}

#[test]
fn every_operation_is_described_completely() {
    let document = openapi::document();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let shown = format!("{method} {path}");
            ids.push(operation["operationId"].as_str().expect(&shown));
            for text in ["summary", "description"] {
                let said = operation[text].as_str().unwrap_or_default();
                assert!(!said.is_empty(), "{shown} has no {text}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let said = parameter["description"].as_str().unwrap_or_default();
                assert!(!said.is_empty(), "{shown}: {} says nothing", parameter["name"]);
                let example = parameter.get("example").or(parameter["schema"].get("example"));
                // Swagger UI would send the example of a key, and every request would be the first.
                let has_example = example.is_some() != (parameter["name"] == "Idempotency-Key");
                assert!(has_example, "{shown}: {} has no example", parameter["name"]);
            }
            assert_eq!(operation["tags"].as_array().expect(&shown).len(), 1, "{shown}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{shown}");
            assert!(responses.contains_key("500") && responses.contains_key("503"), "{shown}");
            for (status, response) in responses {
                let said = response["description"].as_str().unwrap_or_default();
                assert!(!said.is_empty(), "{shown} {status} says nothing");
            }
            if operation["security"] != json!([]) {
                assert!(responses.contains_key("401"), "{shown}");
            }
            if let Some(body) = operation.get("requestBody") {
                let schema = &body["content"]["application/json"]["schema"];
                let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
                let schema = &document["components"]["schemas"][name];
                assert!(schema.get("example").is_some(), "{shown} has no example");
                for (field, schema) in schema["properties"].as_object().unwrap() {
                    assert!(schema.get("description").is_some(), "{name}.{field} says nothing");
                }
            }
        }
    }
    let before = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), before, "an operationId is there twice");
}

#[test]
fn every_operation_states_its_security() {
    let document = openapi::document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut open = 0;
    for (name, operation) in operations(&document) {
        let stated = operation["security"].as_array().unwrap_or_else(|| panic!("{name}"));
        open += usize::from(stated.is_empty());
        for scheme in stated.iter().flat_map(|any| any.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(scheme), "{name}: there is no scheme {scheme}");
        }
    }
    assert!(open >= 5, "only {open} operations need no credential");
}

/// Generators and linters refuse a `nullable` without a type, and a reference within `allOf`.
#[test]
fn every_schema_is_one_of_openapi_3_1() {
    fn check(part: &Value, path: &str) {
        if let Value::Object(members) = part {
            for name in ["nullable", "allOf"] {
                assert!(!members.contains_key(name), "{path} has {name}");
            }
            let is_shape = |name: &String| !name.starts_with("example");
            for (name, member) in members.iter().filter(|(name, _)| is_shape(name)) {
                check(member, &format!("{path}/{name}"));
            }
        } else if let Value::Array(items) = part {
            items.iter().for_each(|item| check(item, path));
        }
    }
    let document = openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    check(&document, "");
}

#[test]
fn each_error_has_an_example_of_its_own() {
    let document = openapi::document();
    let mut shown = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            // `email_taken`: The email address is already in use.
            let said = response["description"].as_str().unwrap();
            let codes: BTreeSet<_> = said.split('`').skip(1).step_by(2).collect();
            let media = &response["content"]["application/problem+json"];
            let examples = media["examples"].as_object().unwrap();
            let own: BTreeSet<_> = examples.keys().map(String::as_str).collect();
            assert_eq!(own, codes, "{name} {status}");
            for (code, reference) in examples {
                let pointer = reference["$ref"].as_str().unwrap().trim_start_matches('#');
                let example = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
                assert_eq!(example["value"]["code"], code.as_str(), "{name}");
                assert_eq!(example["value"]["status"].to_string(), *status, "{name} {code}");
                shown.insert(example["value"]["detail"].as_str().unwrap());
            }
        }
    }
    let examples = document["components"]["examples"].as_object().unwrap();
    assert_eq!(shown.len(), examples.len(), "two codes have the same detail");
}

#[test]
fn the_description_begins_with_what_a_newcomer_needs() {
    let text = openapi::text();
    let order = |names: &[&str], within: &str| {
        let (_, part) = text.split_once(within).unwrap();
        let at = |name: &&str| part.find(&format!("\"{name}\": {{")).expect(name);
        assert!(names.iter().map(at).is_sorted(), "{names:?}");
    };
    let paths = ["/api/customers/signup", "/api/customers/login", "/.well-known/jwks.json"];
    order(&paths, "\"paths\": {");
    order(&["session", "license", "admin_key"], "\"securitySchemes\": {");
    let document = openapi::document();
    let tags = document["tags"].as_array().unwrap();
    assert_eq!(tags.first().unwrap()["name"], "Customers");
    assert_eq!(tags.last().unwrap()["name"], "Administration");
}

/// Objects that only contain others are covered by the others' examples.
#[test]
fn every_response_has_an_example() {
    let document = openapi::document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let is_shown = |schema: &Value| schema.get("example").is_some() || schema.get("$ref").is_some();
    for (name, schema) in schemas {
        let properties = schema["properties"].as_object().into_iter().flatten();
        let refers = |property: &Value| {
            let text = property.to_string();
            text.contains("$ref")
        };
        let holds_others = properties.map(|(_, property)| property).any(refers);
        let is_value = schema.get("properties").is_none();
        let small = matches!(
            name.as_str(),
            "Price" | "Health" | "VerifiedLicense" | "Backlog" | "Reconciliation"
        );
        assert!(is_shown(schema) || holds_others || is_value || small, "{name} has no example");
    }
}

/// Returns the schemas that a part of the description refers to, directly or indirectly.
fn schemas_of(part: &Value, document: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                let name = name.rsplit('/').next().unwrap().to_owned();
                if found.insert(name.clone()) {
                    schemas_of(&document["components"]["schemas"][name], document, found);
                }
            }
            members.values().for_each(|member| schemas_of(member, document, found));
        }
        Value::Array(items) => items.iter().for_each(|item| schemas_of(item, document, found)),
        _ => {}
    }
}

#[test]
fn only_responses_for_administrators_have_fields_for_stripe_ids() {
    let document = openapi::document();
    let mut shown = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/admin/") {
            schemas_of(item, &document, &mut shown);
        }
    }
    assert!(!shown.contains("Event"), "customers are shown events");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut fields = 0;
    for (name, schema) in schemas.iter().filter(|(name, _)| shown.contains(*name)) {
        for (field, _) in schema["properties"].as_object().into_iter().flatten() {
            assert!(!field.contains("stripe"), "{name}.{field}");
            fields += 1;
        }
    }
    assert!(fields > 50, "only {fields} fields were looked at");
}

/// The operations whose example cannot work unchanged, each with the reason.
const NEEDS_MORE: [(&str, &str); 10] = [
    ("previewChange", "there is no subscription"),
    ("changeSubscription", "there is no subscription"),
    ("cancelSubscription", "there is no subscription"),
    ("createWebhook", "its host is looked up"),
    ("updateWebhook", "there is no webhook"),
    ("linkStripe", "Stripe has no such customer"),
    ("receiveStripeEvent", "only Stripe can sign an event"),
    ("verifyEmail", "only the mail has the token"),
    ("undoEmailChange", "only the mail has the token"),
    ("resetPassword", "only the mail has the token"),
];

/// Returns every operation with its method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((format!("{method} {path}"), operation));
        }
    }
    operations
}

/// Returns the example of the body of a request.
pub fn request_example(document: &Value, operation: &Value) -> Value {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
    document["components"]["schemas"][name]["example"].clone()
}

/// Swagger UI sends this when a user presses *Execute* without a change.
#[tokio::test]
async fn every_example_of_a_request_works_unchanged() {
    // Not the port of the committed description.
    let elsewhere = [("LICENTIA_PUBLIC_URL", "http://127.0.0.1:4100")];
    let shop = Shop::open_with(Options::default(), &elsewhere).await;
    let app = &shop.app;
    let document = app.client.get("/openapi.json").await.body;
    let example = |operation: &Value| request_example(&document, operation);
    // The sign-up is first, because the other examples are about its customer.
    let signup = example(&document["paths"]["/api/customers/signup"]["post"]);
    let signed_up = app.client.post("/api/customers/signup", &signup).await;
    assert_eq!(signed_up.status, 201, "{}", signed_up.text);
    let me = app.client.with_token(signed_up.text("/access_token"));
    // The examples for administrators are about another customer, because one changes the address.
    let other = app.sign_up("ada@example.com").await;
    let admin = app.admin(Scope::Admin).await;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let done = path.ends_with("/signup");
            let needs_more = NEEDS_MORE.iter().any(|(id, _)| operation["operationId"] == *id);
            if operation.get("requestBody").is_none() || done || needs_more {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let caller = if path.starts_with("/api/admin/") { &admin } else { &me };
            let path = path.replace("{customer_id}", other.text("/customer/customer_id"));
            let path = path.replace("{license_id}", other.text("/license/license_id"));
            let answer = caller.send(method, &path, Some(&example(operation))).await;
            assert!((200..300).contains(&answer.status), "{path}: {}", answer.text);
            tried += 1;
        }
    }
    assert!(tried >= 5, "only {tried} examples were tried");
}
