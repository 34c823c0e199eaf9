//! A blank customer and a blank payment method. Only the shape: every key that Stripe returns, with
//! its value when there is none.

use serde_json::{Value, json};

use super::parts::{address, billing_details};

/// A blank customer.
pub fn customer() -> Value {
    json!({
        "address": address(),
        "balance": 0,
        "created": 0,
        "currency": null,
        "default_source": null,
        "delinquent": false,
        "description": null,
        "discount": null,
        "email": null,
        "id": "",
        "invoice_prefix": "",
        "invoice_settings": {
            "custom_fields": null,
            "default_payment_method": null,
            "footer": null,
            "rendering_options": null,
        },
        "livemode": false,
        "metadata": {},
        "name": null,
        "next_invoice_sequence": 1,
        "object": "customer",
        "phone": null,
        "preferred_locales": [],
        "shipping": null,
        "tax_exempt": "none",
        "test_clock": null,
    })
}

/// A blank payment method.
pub fn payment_method() -> Value {
    json!({
        "allow_redisplay": "always",
        "billing_details": billing_details(),
        "card": {
            "brand": "visa",
            "checks": {
                "address_line1_check": null,
                "address_postal_code_check": null,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": "visa",
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": "sandbox",
            "funding": "credit",
            "generated_from": null,
            "last4": "4242",
            "networks": {
                "available": ["visa"],
                "preferred": null,
            },
            "three_d_secure_usage": {
                "supported": true,
            },
            "wallet": null,
            "regulated_status": null,
        },
        "created": 0,
        "customer": null,
        "customer_account": null,
        "id": "",
        "livemode": false,
        "metadata": {},
        "object": "payment_method",
        "type": "card",
    })
}
