//! For operators: admin keys, support for customers and licenses, the audit log, statistics, events
//! that failed, drift, and outgoing webhooks.

pub mod admin_key;
pub mod audit;
pub mod customers;
pub mod drift;
pub mod events;
pub mod licenses;
pub mod outgoing;
pub mod stats;
pub mod support;
pub mod webhooks;
