//! The tables of users, customers, login sessions and links in mails.

pub(super) mod customers;
pub(super) mod mail_links;
pub(super) mod sessions;
