//! A blank subscription and its item. Only the shape: every key that Stripe returns, with its value
//! when there is none.

use serde_json::{Value, json};

/// A blank subscription.
pub fn subscription() -> Value {
    json!({
        "application": null,
        "application_fee_percent": null,
        "automatic_tax": {
            "enabled": false,
            "liability": null,
            "disabled_reason": null,
        },
        "billing_cycle_anchor": 0,
        "billing_cycle_anchor_config": null,
        "billing_mode": {
            "type": "flexible",
            "flexible": {
                "proration_discounts": "included",
            },
        },
        "billing_schedules": [],
        "billing_thresholds": null,
        "cancel_at": null,
        "cancel_at_period_end": false,
        "canceled_at": null,
        "cancellation_details": {
            "comment": null,
            "feedback": null,
            "reason": null,
        },
        "collection_method": "charge_automatically",
        "created": 0,
        "currency": "",
        "customer": "",
        "customer_account": null,
        "days_until_due": null,
        "default_payment_method": null,
        "default_source": null,
        "default_tax_rates": [],
        "description": null,
        "discounts": [],
        "ended_at": null,
        "id": "",
        "invoice_settings": {
            "account_tax_ids": null,
            "issuer": {
                "type": "self",
            },
            "custom_fields": null,
            "description": null,
            "footer": null,
        },
        "items": null,
        "latest_invoice": null,
        "livemode": false,
        "managed_payments": {
            "enabled": false,
        },
        "metadata": {},
        "next_pending_invoice_item_invoice": null,
        "object": "subscription",
        "on_behalf_of": null,
        "pause_collection": null,
        "payment_settings": {
            "payment_method_options": null,
            "payment_method_types": null,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": null,
        "pending_setup_intent": null,
        "pending_update": null,
        "schedule": null,
        "start_date": 0,
        "status": "incomplete",
        "test_clock": null,
        "transfer_data": null,
        "trial_end": null,
        "trial_settings": {
            "end_behavior": {
                "missing_payment_method": "create_invoice",
            },
        },
        "trial_start": null,
    })
}

/// A blank subscription item.
pub fn subscription_item() -> Value {
    json!({
        "billing_thresholds": null,
        "created": 0,
        "current_period_end": 0,
        "current_period_start": 0,
        "discounts": [],
        "id": "",
        "metadata": {},
        "object": "subscription_item",
        "plan": null,
        "price": null,
        "quantity": 1,
        "subscription": "",
        "tax_rates": [],
    })
}
