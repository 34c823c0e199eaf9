//! The rules of accounts: customers, passwords and login sessions.

pub mod customer;
pub mod password;
pub mod session;
