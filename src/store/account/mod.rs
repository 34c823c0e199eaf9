//! The tables of users, customers and login sessions.

pub(super) mod customers;
pub(super) mod sessions;
