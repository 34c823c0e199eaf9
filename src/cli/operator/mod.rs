//! Commands for operators: customers, admin keys, the audit log, mails, events, outgoing webhooks
//! and the schema.

pub(super) mod admin_key;
pub(super) mod audit;
mod changes;
pub(super) mod customer;
pub(super) mod email;
pub(super) mod events;
pub(super) mod json;
pub(super) mod migrate;
pub(super) mod webhook;
