//! A blank record of a payment outside of Stripe. Only the shape: every key that Stripe returns,
//! with its value when there is none.

use serde_json::{Value, json};

use super::parts::address;

/// A blank payment record.
pub fn payment_record() -> Value {
    let nothing = json!({ "currency": "", "value": 0 });
    json!({
        "amount": nothing,
        "amount_authorized": nothing,
        "amount_canceled": nothing,
        "amount_failed": nothing,
        "amount_guaranteed": nothing,
        "amount_refunded": nothing,
        "amount_requested": nothing,
        "application": null,
        "created": 0,
        "customer_details": {
            "customer": null,
            "email": null,
            "name": null,
            "phone": null,
        },
        "customer_presence": null,
        "description": null,
        "id": "",
        "latest_payment_attempt_record": null,
        "livemode": false,
        "metadata": {},
        "object": "payment_record",
        "payment_method_details": {
            "billing_details": {
                "address": address(),
                "email": null,
                "name": null,
                "phone": null,
            },
            "payment_method": null,
            "type": "custom",
        },
        "processor_details": {
            "type": "custom",
        },
        "reported_by": "self",
        "shipping_details": null,
    })
}
