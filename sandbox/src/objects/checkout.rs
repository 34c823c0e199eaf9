//! A blank checkout session. Only the shape: every key that Stripe returns, with its value when
//! there is none.

use serde_json::{Value, json};

use super::parts::custom_text;

/// A blank checkout session.
pub fn checkout_session() -> Value {
    json!({
        "adaptive_pricing": {
            "enabled": false,
        },
        "after_expiration": null,
        "allow_promotion_codes": null,
        "amount_subtotal": null,
        "amount_total": null,
        "automatic_tax": {
            "enabled": false,
            "liability": null,
            "status": null,
            "provider": null,
        },
        "billing_address_collection": null,
        "cancel_url": "",
        "client_reference_id": null,
        "client_secret": null,
        "collected_information": null,
        "consent": null,
        "consent_collection": null,
        "created": 0,
        "currency": null,
        "currency_conversion": null,
        "custom_fields": [],
        "custom_text": custom_text(),
        "customer": null,
        "customer_account": null,
        "customer_creation": null,
        "customer_details": null,
        "customer_email": null,
        "discounts": null,
        "expires_at": 0,
        "id": "",
        "integration_identifier": null,
        "invoice": null,
        "invoice_creation": null,
        "livemode": false,
        "locale": null,
        "managed_payments": {
            "enabled": false,
        },
        "metadata": {},
        "mode": "subscription",
        "name_collection": null,
        "object": "checkout.session",
        "origin_context": null,
        "payment_intent": null,
        "payment_link": null,
        "payment_method_collection": "always",
        "payment_method_configuration_details": null,
        "payment_method_options": {
            "card": {
                "request_three_d_secure": "automatic",
            },
        },
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": null,
        "phone_number_collection": {
            "enabled": false,
        },
        "recovered_from": null,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled",
            "payment_method_save": null,
        },
        "setup_intent": null,
        "shipping_address_collection": null,
        "shipping_cost": null,
        "shipping_options": [],
        "status": "open",
        "submit_type": null,
        "subscription": null,
        "success_url": "",
        "tax_id_collection": null,
        "total_details": {
            "amount_discount": 0,
            "amount_shipping": 0,
            "amount_tax": 0,
        },
        "ui_mode": "hosted_page",
        "url": "",
        "wallet_options": null,
    })
}
