//! Stripe's rules of billing: subscriptions, invoices, payments, and the passing of time. Every
//! function changes the state and creates the events that Stripe would. Dependencies go one way:
//! payments do not know invoices, and invoices do not know subscriptions. `collection` connects the
//! three. The parameters of the API are read in `api`.

pub mod actions;
pub mod balance;
pub mod buyer;
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
pub mod invoice_item;
mod invoice_payment;
pub mod item_change;
pub mod metered;
pub mod money_actions;
pub mod offer;
pub mod one_time;
pub mod payment;
pub mod pending_update;
mod period;
pub mod plan_change;
pub mod preview;
pub mod price;
pub mod promotion;
mod proration;
pub mod renewal;
pub mod resumption;
pub mod reversal;
pub mod sales_actions;
pub mod schedule;
pub mod session;
pub mod subscription;
pub mod tax;
pub mod time;
pub mod trial;
