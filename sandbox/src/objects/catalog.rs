//! Blank products and prices, and the plan that a subscription item still includes. Only the shape:
//! every key that Stripe returns, with its value when there is none.

use serde_json::{Value, json};

/// A blank product.
pub fn product() -> Value {
    json!({
        "active": true,
        "created": 0,
        "default_price": null,
        "description": null,
        "id": "",
        "images": [],
        "livemode": false,
        "marketing_features": [],
        "metadata": {},
        "name": "",
        "object": "product",
        "package_dimensions": null,
        "shippable": null,
        "statement_descriptor": null,
        "tax_code": null,
        "type": "service",
        "unit_label": null,
        "updated": 0,
        "url": null,
    })
}

/// A blank price.
pub fn price() -> Value {
    json!({
        "active": true,
        "billing_scheme": "per_unit",
        "created": 0,
        "currency": "",
        "custom_unit_amount": null,
        "id": "",
        "livemode": false,
        "lookup_key": null,
        "metadata": {},
        "nickname": null,
        "object": "price",
        "product": "",
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": null,
            "usage_type": "licensed",
            "trial_period_days": null,
        },
        "tax_behavior": "unspecified",
        "tiers_mode": null,
        "transform_quantity": null,
        "type": "recurring",
        "unit_amount": 0,
        "unit_amount_decimal": "0",
    })
}

/// A blank plan.
pub fn plan() -> Value {
    json!({
        "active": true,
        "amount": 0,
        "amount_decimal": "0",
        "billing_scheme": "per_unit",
        "created": 0,
        "currency": "",
        "id": "",
        "interval": "month",
        "interval_count": 1,
        "livemode": false,
        "metadata": {},
        "meter": null,
        "nickname": null,
        "object": "plan",
        "product": "",
        "tiers_mode": null,
        "transform_usage": null,
        "trial_period_days": null,
        "usage_type": "licensed",
    })
}
