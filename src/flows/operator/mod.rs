//! For operators: admin keys, customers, events that failed, and drift.

pub mod admin_key;
pub mod customers;
pub mod drift;
pub mod events;
