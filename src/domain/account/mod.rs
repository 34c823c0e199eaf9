//! The rules of accounts: customers, passwords, login sessions and links in mails.

pub mod customer;
pub mod mail_link;
pub mod password;
pub mod session;
pub mod signup;
