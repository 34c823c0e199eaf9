//! The rules for operators: admin keys, the audit log, and what support sees of a customer.

pub mod admin_key;
pub mod audit;
pub mod export;
pub mod search;
pub mod stats;
pub mod timeline;
pub mod why;
