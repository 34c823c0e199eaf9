//! For operators: admin keys, events that failed, and drift.

pub mod admin_key;
pub mod drift;
pub mod events;
