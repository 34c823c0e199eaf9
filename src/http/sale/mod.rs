//! Plans, checkout, subscriptions, orders, and the webhook endpoint.

use poem_openapi::OpenApi;

mod changes;
pub(super) mod orders;
mod plans;
pub(super) mod subscriptions;
pub(super) mod webhooks;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    (
        plans::PlansApi,
        subscriptions::SubscriptionsApi,
        changes::ChangesApi,
        orders::OrdersApi,
        webhooks::WebhooksApi,
    )
}
