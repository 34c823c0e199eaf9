//! Licentia: a licensing backend that software vendors run themselves.
//!
//! Dependencies point one way: [`cli`] and [`http`] call [`flows`]; flows use [`store`] and
//! [`keys`]; all of them use [`domain`], which is pure. `ARCHITECTURE.md` has the whole picture.

// The check that a call to Stripe is `Send` visits every type in async-stripe's errors.
#![recursion_limit = "256"]
// These macros panic when standard output or standard error cannot be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod http;

pub mod flows;
pub mod worker;

pub mod app;
pub mod clock;
pub mod config;
pub mod customer_file;
pub mod fail_point;
pub mod files;
pub mod intake;
pub mod keys;
pub mod mailer;
pub mod metrics;
pub mod outgoing;
pub mod passwords;
pub mod plans;
pub mod random;
pub mod request_id;
pub mod settings;
pub mod status_lists;
pub mod store;
pub mod stripe;
pub mod sync_limit;
pub mod tasks;
pub mod templates;

pub mod domain;
pub mod error;
