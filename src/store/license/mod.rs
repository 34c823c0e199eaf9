//! The tables of licenses, of status lists, and of the signing keys with the root key and the key
//! bundles.

mod licenses;
mod signing_keys;
mod status_lists;
