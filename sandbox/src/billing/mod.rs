//! What Stripe does with money and time: subscriptions, their invoices, and the payments of those.
//! Every function changes the world and makes the events that Stripe would make. No file uses one
//! that uses it: payments know no invoices, invoices no subscriptions; `collection` ties them
//! together, and what uses that is above it.

pub mod actions;
pub mod balance;
pub mod checkout;
pub mod checks;
pub mod collection;
pub mod credit;
pub mod customer;
pub mod discount;
pub mod dispute;
pub mod ending;
pub mod invoice;
pub mod invoice_actions;
mod invoice_payment;
pub mod money_actions;
pub mod offer;
pub mod payment;
mod period;
pub mod plan_change;
pub mod renewal;
pub mod reversal;
pub mod sales_actions;
pub mod schedule;
pub mod session;
pub mod subscription;
pub mod time;
