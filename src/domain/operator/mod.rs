//! The rules for operators: admin keys, the audit log, what support sees of a customer, and
//! outgoing webhooks.

pub mod admin_key;
pub mod audit;
pub mod export;
pub mod search;
pub mod stats;
pub mod timeline;
pub mod webhook;
pub mod webhook_delivery;
pub mod webhook_event;
pub mod webhook_target;
pub mod why;
