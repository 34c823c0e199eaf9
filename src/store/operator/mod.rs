//! The tables of admin keys, of the audit log, and of the secrets of the database.

pub(super) mod admin_keys;
pub(super) mod audit;
pub(super) mod secrets;
