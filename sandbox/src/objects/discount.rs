//! Blank coupons, promotion codes and discounts. Only the shape: every key that Stripe returns,
//! with its value when there is none.

use serde_json::{Value, json};

/// A blank coupon.
pub fn coupon() -> Value {
    json!({
        "amount_off": null,
        "created": 0,
        "currency": null,
        "duration": "once",
        "duration_in_months": null,
        "id": "",
        "livemode": false,
        "max_redemptions": null,
        "metadata": {},
        "name": null,
        "object": "coupon",
        "percent_off": null,
        "redeem_by": null,
        "times_redeemed": 0,
        "valid": true,
    })
}

/// A blank promotion code.
pub fn promotion_code() -> Value {
    json!({
        "active": true,
        "code": "",
        "created": 0,
        "customer": null,
        "customer_account": null,
        "expires_at": null,
        "id": "",
        "livemode": false,
        "max_redemptions": null,
        "metadata": {},
        "object": "promotion_code",
        "promotion": {
            "coupon": null,
            "type": "coupon",
        },
        "restrictions": {
            "first_time_transaction": false,
            "minimum_amount": null,
            "minimum_amount_currency": null,
        },
        "times_redeemed": 0,
    })
}

/// A blank discount. Discounts have no time of creation, but of their start.
pub fn discount() -> Value {
    json!({
        "checkout_session": null,
        "customer": null,
        "customer_account": null,
        "end": null,
        "id": "",
        "invoice": null,
        "invoice_item": null,
        "object": "discount",
        "promotion_code": null,
        "source": {
            "coupon": null,
            "type": "coupon",
        },
        "start": 0,
        "subscription": null,
        "subscription_item": null,
    })
}
