//! For operators: admin keys, customers, events that failed, and drift.

pub mod admin_key;
pub mod audit;
pub mod customers;
pub mod drift;
pub mod events;
pub mod licenses;
pub mod stats;
pub mod support;
