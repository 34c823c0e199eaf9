//! The tables of users, customers, login sessions, links in mails, and counted attempts.

pub(super) mod customers;
pub(super) mod mail_links;
pub(super) mod sessions;
pub(super) mod throttle;
