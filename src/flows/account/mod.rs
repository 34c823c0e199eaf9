//! Accounts: sign-up, login, changes, and the import of customers.

pub mod customer;
pub mod import;
pub mod session;
pub mod signup;
