//! The admin API, health checks and metrics.

use poem_openapi::OpenApi;

mod admin;
mod health;
pub(super) mod metrics;

/// Returns the operations of this area.
pub(super) fn apis() -> impl OpenApi + 'static {
    (admin::apis(), health::HealthApi, metrics::MetricsApi)
}
