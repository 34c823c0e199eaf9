//! Commands for operators: admin keys, mails, events, outgoing webhooks and the schema.

pub(super) mod admin_key;
pub(super) mod audit;
pub(super) mod email;
pub(super) mod events;
pub(super) mod migrate;
pub(super) mod webhook;
