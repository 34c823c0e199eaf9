//! Accounts: sign-up, login, changes, verified addresses, and the import of customers.

pub mod address;
pub mod customer;
pub mod import;
pub(in crate::flows) mod mail_link;
pub mod session;
pub mod signup;
