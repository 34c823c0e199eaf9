//! The rules of the product, pure: no I/O, no async, no clock, no randomness.
//!
//! A value of one of these types has been checked; what parses is what may exist.

pub mod admin_key;
pub mod contact;
pub mod ids;
pub mod invoice;
pub mod license;
pub mod matching;
pub mod message;
pub mod password;
pub mod plan;
pub mod policy;
pub mod retry;
pub mod stripe_ids;
pub mod subscription;
pub mod time;
pub mod webhook;
