//! A double of Stripe, and a mail inbox, for tests and for a demo without an account.
//!
//! It implements Stripe's HTTP API closely enough for the official SDKs. It has hosted pages for
//! checkout and the billing portal, a clock that can be advanced, signed webhooks, faults that can
//! be switched on, and an SMTP server that stores mails. Everything is in memory, and it listens
//! on loopback only. Do not use real cards, keys or customers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use licentia_sandbox::{Card, Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options::default()).await?;
//! // … the service under test creates a Checkout session at `sandbox.url()` …
//! sandbox.pay("cs_test_…", Card::Paid)?;
//! sandbox.settled().await; // Every webhook has been delivered.
//! sandbox.advance_days(31); // The subscription renews.
//! # Ok(())
//! # }
//! ```

// Each of Stripe's objects is one `json!`, and the largest exceed the default limit.
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
pub use double::{Double, Interval, NewPrice, PriceOptions, TaxBehavior};
pub use faults::{ApiFault, DeliveryFault, MailFault, Times};
pub use mail::{Attachment, Mail};
pub use options::{
    API_VERSION, AccountSettings, AfterRetries, Behavior, CancelField, CouponDuration, Options,
    Pause, Proration, SECRET_KEY, Sending, SignatureTime, StartTime, TaxStatus,
};
pub use sandbox::{Sandbox, StartError};
pub use sender::Webhook;
pub use signature::sign;
pub use smtp::MAX_MAIL_BYTES;
pub use switches::Faults;
pub use world::BuyerDetails;
