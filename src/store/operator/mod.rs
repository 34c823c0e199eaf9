//! The tables of admin keys, of the audit log, and of outgoing webhooks; and what support reads of
//! a customer.

pub(super) mod admin_keys;
pub(super) mod audit;
pub mod search;
pub(super) mod stats;
pub(super) mod webhooks;
