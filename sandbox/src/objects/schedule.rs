//! A blank subscription schedule and its phase. Only the shape: every key that Stripe returns, with
//! its value when there is none.

use serde_json::{Value, json};

/// A blank subscription schedule.
pub fn subscription_schedule() -> Value {
    json!({
        "application": null,
        "billing_mode": {
            "type": "flexible",
            "flexible": {
                "proration_discounts": "included",
            },
        },
        "canceled_at": null,
        "completed_at": null,
        "created": 0,
        "current_phase": null,
        "customer": "",
        "customer_account": null,
        "default_settings": {
            "application_fee_percent": null,
            "automatic_tax": {
                "enabled": false,
                "liability": null,
                "disabled_reason": null,
            },
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": null,
            "collection_method": "charge_automatically",
            "default_payment_method": null,
            "description": null,
            "invoice_settings": {
                "account_tax_ids": null,
                "days_until_due": null,
                "issuer": {
                    "type": "self",
                },
                "custom_fields": null,
                "description": null,
                "footer": null,
            },
            "on_behalf_of": null,
            "transfer_data": null,
        },
        "end_behavior": "release",
        "id": "",
        "livemode": false,
        "metadata": {},
        "object": "subscription_schedule",
        "phases": [],
        "released_at": null,
        "released_subscription": null,
        "status": "not_started",
        "subscription": null,
        "test_clock": null,
    })
}

/// A blank phase of a schedule.
pub fn schedule_phase() -> Value {
    json!({
        "add_invoice_items": [],
        "application_fee_percent": null,
        "billing_cycle_anchor": null,
        "billing_thresholds": null,
        "collection_method": null,
        "currency": "",
        "default_payment_method": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": [],
        "end_date": 0,
        "invoice_settings": null,
        "items": [],
        "metadata": {},
        "on_behalf_of": null,
        "proration_behavior": "none",
        "start_date": 0,
        "transfer_data": null,
        "trial_end": null,
    })
}

/// A blank item of a phase.
pub fn schedule_item() -> Value {
    json!({
        "billing_thresholds": null,
        "discounts": [],
        "metadata": {},
        "plan": null,
        "price": "",
        "quantity": 1,
        "tax_rates": [],
    })
}
