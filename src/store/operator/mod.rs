//! The tables of admin keys, of the audit log, of outgoing webhooks, and of the secrets of the
//! database; and what support reads of a customer.

pub(super) mod admin_keys;
pub(super) mod audit;
pub mod search;
pub(super) mod secrets;
pub(super) mod stats;
pub(super) mod webhooks;
