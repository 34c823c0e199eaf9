//! A blank session and a blank configuration of the billing portal. Only the shape: every key that
//! Stripe returns, with its value when there is none.

use serde_json::{Value, json};

/// A blank portal session.
pub fn portal_session() -> Value {
    json!({
        "configuration": "",
        "created": 0,
        "customer": "",
        "customer_account": null,
        "flow": null,
        "id": "",
        "livemode": false,
        "locale": null,
        "object": "billing_portal.session",
        "on_behalf_of": null,
        "return_url": "",
        "url": "",
    })
}

/// A blank portal configuration.
pub fn portal_configuration() -> Value {
    json!({
        "active": true,
        "application": null,
        "business_profile": {
            "headline": null,
            "privacy_policy_url": null,
            "terms_of_service_url": null,
        },
        "created": 0,
        "default_return_url": null,
        "features": {
            "customer_update": {
                "allowed_updates": [],
                "enabled": false,
            },
            "invoice_history": {
                "enabled": true,
            },
            "payment_method_update": {
                "enabled": true,
                "payment_method_configuration": null,
            },
            "subscription_cancel": {
                "cancellation_reason": {
                    "enabled": false,
                    "options": [],
                },
                "enabled": true,
                "mode": "at_period_end",
                "proration_behavior": "none",
            },
            "subscription_update": {
                "default_allowed_updates": ["price"],
                "enabled": true,
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {
                    "conditions": [],
                },
                "trial_update_behavior": "end_trial",
                "billing_cycle_anchor": null,
            },
        },
        "id": "",
        "is_default": true,
        "livemode": false,
        "login_page": {
            "enabled": false,
            "url": null,
        },
        "metadata": {},
        "name": null,
        "object": "billing_portal.configuration",
        "updated": 0,
    })
}
