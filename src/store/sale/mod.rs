//! The tables of selling: subscriptions, changes, orders, buyers, kept purchases, trial cards,
//! events, attempts, leases, and the plans of the last start.

mod accepted_losses;
pub(super) mod account_checks;
mod attempts;
pub(super) mod buyers;
mod changes;
mod deleted_buyers;
pub(super) mod inbox;
pub(super) mod kept;
pub(super) mod leases;
pub(super) mod orders;
pub(super) mod seen_plans;
pub(super) mod subscriptions;
mod trial_cards;
