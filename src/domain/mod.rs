//! The rules of the product as pure functions and types: no I/O, no async, no clock, no randomness.
//!
//! The types are parsed at the edge, so that a value of such a type is always valid.

pub mod admin_key;
pub mod attempt;
pub mod audit;
pub mod buyer;
pub mod column;
pub mod contact;
pub mod customer;
pub mod entitlement;
pub mod ids;
pub mod inbox;
pub mod invoice;
pub mod license;
pub mod matching;
pub mod message;
pub mod order;
pub mod outbox;
pub mod password;
pub mod plan;
pub mod policy;
pub mod queue;
pub mod retry;
pub mod session;
pub mod settlement;
pub mod stripe_failure;
pub mod stripe_ids;
pub mod stripe_state;
pub mod subscription;
pub mod text_enum;
pub mod time;
pub mod webhook;
