//! Commands about selling: Stripe, plans, buyers, reconciliation.

pub(super) mod backfill;
pub(super) mod claim;
pub(super) mod plans;
pub(super) mod reconcile;
pub(super) mod stripe;
