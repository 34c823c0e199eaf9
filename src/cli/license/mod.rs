//! Commands about licenses and signing keys.

mod check;
pub(super) mod keys;
pub(super) mod licenses;
mod memory;
mod root;
pub(super) mod status;
mod support;
mod texts;
