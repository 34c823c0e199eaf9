//! Commands about accounts.

mod changes;
pub(super) mod customer;
pub(super) mod import;
pub(super) mod json;
