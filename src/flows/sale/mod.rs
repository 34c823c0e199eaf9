//! Selling: checkout, changes of a subscription, the sync with Stripe, unknown buyers, orders,
//! plans.

pub mod account_check;
pub mod backfill;
pub mod buyer_claim;
pub mod buyers;
pub mod change;
pub mod checkout;
pub mod claim;
pub mod inbox;
pub(super) mod lease;
mod link;
pub mod order;
pub mod plans;
pub mod preview;
mod promotion;
pub mod reconcile;
mod schedule;
pub mod settle;
pub mod setup;
mod single_payments;
pub(super) mod stripe_customer;
pub mod subscription;
pub mod sync;
mod trial;
mod unclaimed;
mod waiting_invoice;
mod waiting_purchases;
pub mod webhook;
