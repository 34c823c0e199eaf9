//! The shape of every Stripe object that the sandbox returns. Stripe's rules are in `billing`.

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
mod tax;
mod webhook;

pub use catalog::plan;
pub use credit::{balance_transaction, credit_note_line_item};
pub use invoice::line_item;
pub use kind::Kind;
pub use parts::address;
pub use schedule::{schedule_item, schedule_phase};
pub use subscription::subscription_item;
pub use tax::tax_settings;

use serde_json::{Value, json};

/// Returns `object` with `fields` in place of its own.
pub fn with(mut object: Value, fields: Value) -> Value {
    put(&mut object, fields);
    object
}

/// Replaces fields of `object` by `fields`.
pub fn put(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}

/// Returns a text field; empty if it is null or missing.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// Returns a number field; zero if it is null or missing.
pub fn integer(object: &Value, key: &str) -> i64 {
    object[key].as_i64().unwrap_or_default()
}

/// Returns Stripe's list object.
pub fn list(data: Vec<Value>, has_more: bool, url: &str) -> Value {
    let mut list = json!({ "object": "list", "has_more": has_more, "url": url });
    // Moved, because `json!` would copy the data.
    list["data"] = data.into();
    list
}
