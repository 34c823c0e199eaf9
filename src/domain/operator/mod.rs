//! The rules for operators: admin keys and the audit log.

pub mod admin_key;
pub mod audit;
