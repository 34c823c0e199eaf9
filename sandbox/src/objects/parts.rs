//! Blank parts that several objects share. The objects are in the other files.

use serde_json::{Value, json};

/// A blank address.
pub fn address() -> Value {
    json!({
        "city": null,
        "country": null,
        "line1": null,
        "line2": null,
        "postal_code": null,
        "state": null,
    })
}

/// The blank billing details of a payment method or a charge.
pub fn billing_details() -> Value {
    json!({ "address": address(), "email": null, "name": null, "phone": null, "tax_id": null })
}

/// The blank texts that a vendor can add to the checkout page.
pub fn custom_text() -> Value {
    json!({
        "after_submit": null,
        "shipping_address": null,
        "submit": null,
        "terms_of_service_acceptance": null,
    })
}
