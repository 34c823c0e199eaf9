//! The rules of the product as pure functions and types: no I/O, no async, no clock, no randomness.
//!
//! The types are parsed at the edge, so that a value of such a type is always valid.

pub mod account;
pub mod column;
pub mod contact;
pub mod count;
pub mod idempotency;
pub mod ids;
pub mod license;
pub mod message;
pub mod operator;
pub mod outbox;
pub mod page;
pub mod private;
pub mod queue;
pub mod retry;
pub mod sale;
pub mod secret;
pub mod server_identity;
pub mod text_enum;
pub mod time;
