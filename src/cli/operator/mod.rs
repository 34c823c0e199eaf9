//! Commands for operators: admin keys, mails, events and the schema.

pub(super) mod admin_key;
pub(super) mod audit;
pub(super) mod email;
pub(super) mod events;
pub(super) mod migrate;
