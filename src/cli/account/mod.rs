//! Commands about accounts.

pub(super) mod import;
