//! Plans, checkout, subscriptions, orders, and the webhook endpoint.

pub(super) mod orders;
pub(super) mod plans;
pub(super) mod subscriptions;
pub(super) mod webhooks;
