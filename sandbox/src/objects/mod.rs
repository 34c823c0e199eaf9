//! The shape of every Stripe object that the sandbox answers; no rule of Stripe's is here.

mod catalog;
mod checkout;
mod credit;
mod customer;
mod discount;
mod invoice;
mod kind;
mod offer;
mod parts;
mod payment;
mod payment_record;
mod portal;
mod schedule;
mod subscription;
mod webhook;

pub use catalog::plan;
pub use credit::{balance_transaction, credit_note_line_item};
pub use invoice::line_item;
pub use kind::Kind;
pub use schedule::{schedule_item, schedule_phase};
pub use subscription::subscription_item;

use serde_json::{Value, json};

/// Puts `fields` over `object`'s own, key by key.
pub fn with(mut object: Value, fields: Value) -> Value {
    put(&mut object, fields);
    object
}

/// Puts `fields` over `object`'s own, in place.
pub fn put(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}

/// A text of an object, or nothing at all: what is null or missing reads as empty.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A number of an object; what is null or missing reads as zero.
pub fn integer(object: &Value, key: &str) -> i64 {
    object[key].as_i64().unwrap_or_default()
}

/// Stripe's list object.
pub fn list(data: Vec<Value>, has_more: bool, url: &str) -> Value {
    let mut list = json!({ "object": "list", "has_more": has_more, "url": url });
    // Moved, where `json!` would copy all of it.
    list["data"] = data.into();
    list
}
