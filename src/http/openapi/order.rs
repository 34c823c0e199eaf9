//! The order of the description. Swagger UI shows tags, operations and security schemes in the
//! order of the document: what a newcomer needs is first.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The names that come first, in this order.
const FIRST: [&str; 12] = [
    "openapi",
    "info",
    "servers",
    "tags",
    // Tags.
    "Customers",
    "Plans",
    "Licenses",
    "Subscriptions",
    "Keys",
    // Paths.
    "/api/customers/signup",
    "/api/customers/login",
    // Security schemes.
    "session",
];
/// The names that come last, after all that are not listed.
const LAST: [&str; 2] = ["Administration", "admin_key"];

/// Returns the position of a name. Names with the same position keep their order.
fn position(name: &str) -> usize {
    let first = FIRST.iter().position(|first| *first == name);
    first.unwrap_or(FIRST.len() + usize::from(LAST.contains(&name)))
}

/// Sorts the tags of a document.
pub fn sort_tags(document: &mut Value) {
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| tag["name"].as_str().map(position));
    }
}

/// A value that is serialized with its members in this order.
pub struct Ordered<'a>(pub &'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| position(name));
                serializer.collect_map(members.into_iter().map(|(name, value)| (name, Self(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Self)),
            value => value.serialize(serializer),
        }
    }
}
