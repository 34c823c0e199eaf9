//! The tables of users, customers, their former addresses, login sessions and links in mails.

pub(super) mod customers;
pub(super) mod former_addresses;
pub(super) mod mail_links;
pub(super) mod sessions;
