//! A double of Stripe, and a mail inbox, for tests and for a demo without an account.
//!
//! It speaks Stripe's HTTP API closely enough for the official SDKs, has hosted pages for checkout
//! and for the billing portal, a clock that can be moved, signed webhooks, faults that can be
//! switched on, and an SMTP server that keeps what arrives. Everything is in memory, and it listens
//! on loopback only. It is no place for real cards, keys or customers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use licentia_sandbox::{Card, Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options::default()).await?;
//! // … the service under test opens a checkout session at `sandbox.url()` …
//! sandbox.pay("cs_test_…", Card::Paid)?;
//! sandbox.settled().await; // Every webhook was answered.
//! sandbox.advance_days(31); // The subscription renews.
//! # Ok(())
//! # }
//! ```

// The largest of Stripe's objects are written as one `json!` each.
#![recursion_limit = "256"]

mod api;
mod api_error;
mod billing;
mod card;
mod clock;
mod connections;
mod deliveries;
mod double;
mod faults;
mod idempotency;
mod mail;
mod objects;
mod options;
mod pages;
mod sandbox;
mod sender;
mod server;
mod shared;
mod signature;
mod smtp;
mod switches;
mod world;

pub use api::Call;
pub use billing::checkout::Paid;
pub use billing::checks::ActionError;
pub use billing::credit::CreditNote;
pub use card::Card;
pub use clock::Clock;
pub use deliveries::{Delivery, DeliveryState, Order};
pub use double::{Double, Interval, NewPrice};
pub use faults::{ApiFault, DeliveryFault, MailFault, Times};
pub use mail::{Attachment, Mail};
pub use options::{
    API_VERSION, AfterRetries, Behavior, CancelField, CouponDuration, Options, Pause, SECRET_KEY,
    Sending, SignatureTime, StartTime,
};
pub use sandbox::{Sandbox, StartError};
pub use sender::Webhook;
pub use signature::sign;
pub use smtp::MAX_MAIL_BYTES;
pub use switches::Faults;
