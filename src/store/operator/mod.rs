//! The tables of admin keys and of the audit log.

pub(super) mod admin_keys;
pub(super) mod audit;
