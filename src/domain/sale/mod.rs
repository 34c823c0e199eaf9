//! The rules of sales: plans, what Stripe's state means for a customer, and orders.

pub mod accepted_loss;
pub mod addon_ids;
pub mod attempt;
pub mod buyer;
pub mod change;
pub mod discount;
pub mod entitlement;
pub mod inbox;
pub mod invoice;
pub mod matching;
pub mod order;
pub mod plan;
pub mod plan_diff;
pub mod policy;
pub mod preview;
pub mod promotion;
pub mod selection;
pub mod settlement;
pub mod stripe_failure;
pub mod stripe_ids;
pub mod stripe_page;
pub mod stripe_state;
pub mod subscription;
pub mod trial;
pub mod unclaimed;
pub mod webhook;
