//! Commands about licenses and signing keys.

pub(super) mod keys;
pub(super) mod licenses;
mod root;
pub(super) mod status;
mod support;
