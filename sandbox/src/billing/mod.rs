//! What Stripe does with money and time: subscriptions, their invoices, and the payments of those.
//! Every function changes the world and makes the events that Stripe would make. No file uses one that
//! uses it: payments know no invoices, invoices no subscriptions; `collection` ties them together, and
//! what uses that is above it.

pub mod actions;
pub mod checkout;
pub mod collection;
pub mod customer;
pub mod ending;
pub mod invoice;
pub mod payment;
mod period;
pub mod plan_change;
mod renewal;
pub mod reversal;
pub mod schedule;
pub mod session;
pub mod subscription;
pub mod time;
