//! The sandbox through its public interface: HTTP, SMTP, and webhooks received on a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod credit_notes;
mod currencies;
mod discounts;
mod faults;
mod forgiven;
mod harness;
mod item_changes;
mod life;
mod mail;
mod metered;
mod money_back;
mod one_time;
mod oracles;
mod other_sales;
mod pages;
mod part_payments;
mod pending_updates;
mod previews;
mod promotion_codes;
mod quantities;
mod schedules;
mod sent_invoices;
mod shapes;
mod taxes;
mod trials;
mod webhooks;
