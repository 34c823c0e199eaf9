//! A blank tax id, and the settings of Stripe Tax. Only the shape: every key that Stripe returns,
//! with its value when there is none.

use serde_json::{Value, json};

use super::parts::address;
use super::with;

/// A blank tax id of a customer.
pub fn tax_id() -> Value {
    json!({
        "country": null,
        "created": 0,
        "customer": "",
        "customer_account": null,
        "id": "",
        "livemode": false,
        "object": "tax_id",
        "owner": null,
        "type": "",
        "value": "",
        "verification": {
            "status": "pending",
            "verified_address": null,
            "verified_name": null,
        },
    })
}

/// Returns the settings of Stripe Tax. They are pending while the address of the head office is
/// missing (<https://docs.stripe.com/api/tax/settings/object#tax_settings-status>).
pub fn tax_settings(is_active: bool) -> Value {
    let head_office = is_active
        .then(|| json!({ "address": with(address(), json!({ "country": "US", "state": "CA" })) }));
    let details = if is_active {
        json!({ "active": {} })
    } else {
        json!({ "pending": { "missing_fields": ["head_office"] } })
    };
    json!({
        "defaults": {
            "provider": "stripe",
            "tax_behavior": null,
            "tax_code": "txcd_10000000",
        },
        "head_office": head_office,
        "livemode": false,
        "object": "tax.settings",
        "status": if is_active { "active" } else { "pending" },
        "status_details": details,
    })
}
