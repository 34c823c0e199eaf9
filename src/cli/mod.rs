//! The command line: one subcommand, one function. Each calls the same flows as the API.
//!
//! Exit codes: 0 it worked, 1 it did not (the reason is on standard error), 2 the call was wrong.

mod admin_key;
mod backfill;
mod claim;
#[cfg(feature = "demo")]
mod demo;
mod email;
mod events;
mod import;
mod keys;
mod license;
mod log;
mod migrate;
mod reconcile;
mod serve;
mod stripe;

use std::cell::Cell;
use std::fmt::Display;
use std::future::Future;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, StripeConfig};
use crate::error::{Error, Result};
use crate::random::Random;

/// It worked, and the answer is no.
const NO: u8 = 1;
/// The call was wrong.
const WRONG_CALL: u8 = 2;

/// A licensing backend that you run yourself.
///
/// Customers sign up and get a signed license; their apps verify it offline. With nothing
/// configured it uses a SQLite file, and makes its signing key on the first start.
#[derive(Debug, Parser)]
#[command(
    name = "licentia",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  licentia serve\n  licentia --config /etc/licentia.toml serve\n\n\
        Every setting can also be an environment variable: LICENTIA_LISTEN=0.0.0.0:3100"
)]
pub struct Cli {
    /// The configuration file [default: licentia.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server
    #[command(after_help = serve::EXAMPLES)]
    Serve,
    /// Show it all on this machine, with a double of Stripe and throw-away state
    ///
    /// Starts Licentia, a double of Stripe and a mail inbox in one process, on loopback. Nothing that
    /// is configured is used but `listen` (and `log`), and nothing is left behind.
    #[cfg(feature = "demo")]
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Bring the database schema up or down, or show where it is
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(migrate::Migrate),
    /// Make and list signing keys
    #[command(after_help = keys::EXAMPLES, subcommand_required = true)]
    Keys(keys::Keys),
    /// Make, list and revoke the keys that open /api/admin
    #[command(name = "admin-key", after_help = admin_key::EXAMPLES, subcommand_required = true)]
    AdminKey(admin_key::AdminKeyCommand),
    /// Preview the mails, send a test mail, or retry the mails that were given up
    #[command(after_help = email::EXAMPLES)]
    Email(email::EmailCommand),
    /// Show and replay the events from Stripe that could not be worked on
    #[command(after_help = events::EXAMPLES, subcommand_required = true)]
    Events(events::Events),
    /// Compare every customer with Stripe, and repair what differs
    #[command(after_help = reconcile::EXAMPLES)]
    Reconcile(reconcile::Reconcile),
    /// Bring in customers whom you have already
    #[command(after_help = import::EXAMPLES, subcommand_required = true)]
    Import(import::Import),
    /// Connect the account at Stripe, and the customers that it has
    #[command(after_help = stripe::EXAMPLES, subcommand_required = true)]
    Stripe(stripe::StripeCommand),
    /// Verify, read or issue licenses
    #[command(after_help = license::EXAMPLES, subcommand_required = true)]
    License(license::LicenseCommand),
    /// Print the API description (OpenAPI 3.0, JSON)
    #[command(after_help = "Example:\n  licentia openapi > openapi.json")]
    Openapi,
}

impl Cli {
    /// Runs the command. Answers the exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let config = || Config::load(self.config.as_deref(), environment());
        let done = match self.command {
            Command::Serve => config().and_then(|config| serve::run(&config)),
            #[cfg(feature = "demo")]
            Command::Demo(demo) => config().and_then(|config| demo.run(&config)),
            Command::Migrate(migrate) => config().and_then(|config| migrate.run(&config)),
            Command::Keys(keys) => config().and_then(|config| keys.run(&config)),
            Command::AdminKey(admin_key) => config().and_then(|config| admin_key.run(&config)),
            Command::Email(email) => config().and_then(|config| email.run(&config)),
            Command::Events(events) => config().and_then(|config| events.run(&config)),
            Command::Reconcile(reconcile) => config().and_then(|config| reconcile.run(&config)),
            Command::Import(import) => config().and_then(|config| import.run(&config)),
            Command::Stripe(stripe) => config().and_then(|config| stripe.run(&config)),
            Command::License(license) => license.run(config),
            Command::Openapi => print(crate::http::openapi::text()),
        };
        done.unwrap_or_else(|error| fail(&error))
    }
}

/// The environment. A variable of ours that is not Unicode reads as one that fits nothing.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Says what went wrong, every problem on a line of its own.
fn fail(error: &Error) -> ExitCode {
    let text = error.to_string();
    let problems = match error {
        Error::Setup(problems) => problems.iter().map(String::as_str).collect(),
        _ => vec![text.as_str()],
    };
    for problem in problems {
        complain(problem);
    }
    ExitCode::from(NO)
}

/// Writes an error to standard error.
fn complain(problem: impl Display) {
    note(format_args!("error: {problem}\n"));
}

/// Writes to standard error. If it cannot be written, nobody can be told.
fn note(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// Writes to standard output. A reader that has gone away is no error.
fn print(text: impl Display) -> Result<ExitCode> {
    match write_out(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Internal(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes to standard output, all the way.
fn write_out(text: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// How often progress is shown, in pieces of work.
const SHOWN_EVERY: usize = 10;

/// On a terminal, shows how far something is; what is dropped leaves an empty line for what comes next.
struct Progress {
    what: &'static str,
    shown: Cell<usize>,
    terminal: bool,
}

impl Progress {
    fn show(&self, count: usize) {
        if self.terminal && count >= self.shown.get() + SHOWN_EVERY {
            self.shown.set(count);
            note(format_args!("{START_OF_EMPTY_LINE}{count} {}", self.what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.get() > 0 {
            note(START_OF_EMPTY_LINE);
        }
    }
}

/// Back to the beginning, and erase to the end (ECMA-48: CR, EL).
const START_OF_EMPTY_LINE: &str = "\r\x1b[K";

/// On a terminal, shows how far something is while the answer lives.
fn progress(what: &'static str) -> impl Fn(usize) {
    let terminal = std::io::stderr().is_terminal();
    let progress = Progress { what, shown: Cell::new(0), terminal };
    move |count| progress.show(count)
}

/// Writes as JSON, for machines.
fn print_json(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Error::Internal(format!("no JSON: {error}")))?;
    print(format_args!("{text}\n"))
}

/// Runs what needs to wait for databases and networks.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Internal(format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

/// Opens what is there, acts on it, and closes the database whatever came of that.
fn with_app<T>(config: &Config, act: impl AsyncFnOnce(&App) -> Result<T>) -> Result<T> {
    wait(async {
        let app = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
        let done = act(&app).await;
        app.store.close().await;
        done
    })
}

/// The account at Stripe, for a command that is nothing without it.
fn stripe_of(config: &Config) -> Result<&StripeConfig> {
    config.stripe.as_ref().ok_or_else(|| {
        Error::setup("`stripe.secret_key` is not set; set LICENTIA_STRIPE__SECRET_KEY")
    })
}
