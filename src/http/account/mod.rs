//! Sign-up, login and the account.

pub(super) mod customers;
pub(super) mod sessions;
