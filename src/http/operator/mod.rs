//! The admin API, health checks and metrics.

pub(super) mod admin;
pub(super) mod health;
pub(super) mod metrics;
