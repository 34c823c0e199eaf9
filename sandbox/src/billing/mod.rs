//! What Stripe does with money and time: subscriptions, their invoices, and the payments of those.
//! Every function changes the world and makes the events that Stripe would make.

pub mod actions;
pub mod checkout;
mod customer;
mod invoice;
mod payment;
mod period;
mod plan_change;
mod reversal;
pub mod schedule;
pub mod subscription;
pub mod time;

pub use customer::{attach_card, create as create_customer, delete as delete_customer};
pub use invoice::{pay as pay_invoice, void as void_invoice};
pub use payment::Presence;
pub use plan_change::change_price;
pub use reversal::refund;
pub use schedule::release as release_schedule;
