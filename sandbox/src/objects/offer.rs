//! Blank payment links and quotes. Only the shape: every key that Stripe returns, with its value
//! when there is none.

use serde_json::{Value, json};

use super::parts::custom_text;

/// A blank payment link.
pub fn payment_link() -> Value {
    json!({
        "active": true,
        "after_completion": {
            "hosted_confirmation": {
                "custom_message": null,
            },
            "type": "hosted_confirmation",
        },
        "allow_promotion_codes": false,
        "application": null,
        "application_fee_amount": null,
        "application_fee_percent": null,
        "automatic_tax": {
            "enabled": false,
            "liability": null,
        },
        "billing_address_collection": "auto",
        "consent_collection": null,
        "created": 0,
        "currency": "",
        "custom_fields": [],
        "custom_text": custom_text(),
        "customer_creation": "if_required",
        "id": "",
        "inactive_message": null,
        "invoice_creation": null,
        "livemode": false,
        "managed_payments": {
            "enabled": false,
        },
        "metadata": {},
        "object": "payment_link",
        "on_behalf_of": null,
        "payment_intent_data": null,
        "payment_method_collection": "always",
        "payment_method_options": null,
        "payment_method_types": null,
        "phone_number_collection": {
            "enabled": false,
        },
        "restrictions": null,
        "shipping_address_collection": null,
        "shipping_options": [],
        "submit_type": "auto",
        "subscription_data": {
            "description": null,
            "invoice_settings": {
                "issuer": {
                    "type": "self",
                },
            },
            "metadata": {},
            "trial_period_days": null,
            "trial_settings": null,
        },
        "tax_id_collection": {
            "enabled": false,
            "required": "never",
        },
        "transfer_data": null,
        "url": "",
    })
}

/// A blank quote.
pub fn quote() -> Value {
    json!({
        "amount_subtotal": 0,
        "amount_total": 0,
        "application": null,
        "application_fee_amount": null,
        "application_fee_percent": null,
        "automatic_tax": {
            "enabled": false,
            "liability": null,
            "provider": null,
            "status": null,
        },
        "collection_method": "charge_automatically",
        "computed": {
            "recurring": null,
            "upfront": {
                "amount_subtotal": 0,
                "amount_total": 0,
                "total_details": total_details(),
            },
        },
        "created": 0,
        "currency": "",
        "customer": null,
        "customer_account": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": [],
        "expires_at": 0,
        "footer": null,
        "from_quote": null,
        "header": null,
        "id": "",
        "invoice": null,
        "invoice_settings": {
            "custom_fields": null,
            "days_until_due": null,
            "description": null,
            "footer": null,
            "issuer": {
                "type": "self",
            },
        },
        "livemode": false,
        "metadata": {},
        "number": null,
        "object": "quote",
        "on_behalf_of": null,
        "status": "draft",
        "status_transitions": {
            "accepted_at": null,
            "canceled_at": null,
            "finalized_at": null,
        },
        "subscription": null,
        "subscription_data": {
            "billing_mode": {
                "type": "flexible",
            },
            "description": null,
            "effective_date": null,
            "metadata": {},
            "trial_period_days": null,
        },
        "subscription_schedule": null,
        "test_clock": null,
        "total_details": total_details(),
        "transfer_data": null,
    })
}

fn total_details() -> Value {
    json!({ "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 })
}
