//! Licenses, and the keys that verify them.

pub(super) mod keys;
pub(super) mod licenses;
