//! Commands about licenses and signing keys.

pub(super) mod keys;
pub(super) mod licenses;
pub(super) mod status;
mod support;
