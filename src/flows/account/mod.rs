//! Accounts: sign-up, login, changes, passwords, verified addresses, counted attempts,
//! and the import of customers.

pub mod address;
pub mod attempts;
pub mod customer;
pub mod export;
pub mod import;
pub(in crate::flows) mod mail_link;
pub mod password;
pub mod pending;
pub mod session;
pub mod signup;
pub(in crate::flows) mod trial_memory;
