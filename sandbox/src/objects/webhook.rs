//! A blank event and a blank webhook endpoint. Only the shape: every key that Stripe returns, with
//! its value when there is none.

use serde_json::{Value, json};

/// A blank event.
pub fn event() -> Value {
    json!({
        "api_version": null,
        "created": 0,
        "data": null,
        "id": "",
        "livemode": false,
        "object": "event",
        "pending_webhooks": 0,
        "request": {
            "id": null,
            "idempotency_key": null,
        },
        "type": "",
    })
}

/// A blank thin event: no object, only where it is. Its time is a text
/// (<https://docs.stripe.com/events/how-events-work#thin-events>).
pub fn thin_event() -> Value {
    json!({
        "context": null,
        "created": "",
        "id": "",
        "livemode": false,
        "object": "v2.core.event",
        "reason": null,
        "related_object": null,
        "type": "",
    })
}

/// A blank webhook endpoint.
pub fn webhook_endpoint() -> Value {
    json!({
        "api_version": null,
        "application": null,
        "created": 0,
        "description": null,
        "enabled_events": [],
        "id": "",
        "livemode": false,
        "metadata": {},
        "object": "webhook_endpoint",
        "status": "enabled",
        "url": "",
    })
}
