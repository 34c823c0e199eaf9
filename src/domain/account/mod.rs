//! The rules of accounts: customers, passwords, sessions, links in mails, and counted attempts.

pub mod attempts;
pub mod customer;
pub mod mail_link;
pub mod metadata;
pub mod password;
pub mod session;
pub mod signup;
