//! The tables of users, customers, their former addresses, login sessions, links in mails, pending
//! sign-ups, remembered trials, and counted attempts.

pub(super) mod attempts;
pub(super) mod customers;
pub(super) mod former_addresses;
pub(super) mod mail_links;
pub(super) mod pending_signups;
pub(super) mod sessions;
pub(super) mod trial_addresses;
