//! The command line. Each subcommand parses its arguments, calls the same flows as the API, and
//! prints the result. It decides nothing by itself.
//!
//! Exit codes: 0 success; 1 failure, with the reason on standard error; 2 wrong arguments.

mod account;
#[cfg(feature = "demo")]
mod demo;
mod license;
mod log;
mod operator;
mod sale;
mod serve;

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

/// Exit code: the command ran, and the result is negative (invalid, failed, or work left to do).
const NO: u8 = 1;
/// Exit code: the command line or its input is wrong. clap uses the same code.
const WRONG_CALL: u8 = 2;

/// A licensing backend that you run yourself
///
/// Customers sign up and get a signed license. Their apps verify it offline. Without any
/// configuration, Licentia uses a SQLite file and creates its signing key on the first start.
#[derive(Debug, Parser)]
#[command(
    name = "licentia",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  licentia serve\n  licentia --config /etc/licentia.toml serve\n\n\
        Every setting can also be given as an environment variable: LICENTIA_LISTEN=0.0.0.0:3100"
)]
pub struct Cli {
    /// The configuration file [default: licentia.toml, if it exists]
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
    /// Try everything on this machine, with a Stripe double and temporary state
    ///
    /// Starts Licentia, a Stripe double and a mail inbox in one process, on loopback. Of the
    /// configuration, only `listen` and `log` are used. All state is removed at the end.
    #[cfg(feature = "demo")]
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Migrate the database schema up or down, or show its version
    #[command(after_help = operator::migrate::EXAMPLES)]
    Migrate(operator::migrate::Migrate),
    /// Replace signing keys, and manage the root key and the key bundle
    #[command(after_help = license::keys::EXAMPLES, subcommand_required = true)]
    Keys(license::keys::Keys),
    /// Create, list and revoke admin keys for /api/admin
    #[command(name = "admin-key", after_help = operator::admin_key::EXAMPLES, subcommand_required = true)]
    AdminKey(operator::admin_key::AdminKeyCommand),
    /// Find, show and change a customer
    #[command(after_help = operator::customer::EXAMPLES, subcommand_required = true)]
    Customer(operator::customer::CustomerCommand),
    /// Print the audit log
    #[command(after_help = operator::audit::EXAMPLES)]
    Audit(operator::audit::Audit),
    /// Preview mails, send a test mail, and list or retry failed mails
    #[command(after_help = operator::email::EXAMPLES)]
    Email(operator::email::EmailCommand),
    /// Add and manage outgoing webhooks, and list or replay their deliveries
    #[command(after_help = operator::webhook::EXAMPLES, subcommand_required = true)]
    Webhook(operator::webhook::WebhookCommand),
    /// List, show and replay Stripe events that could not be processed
    #[command(after_help = operator::events::EXAMPLES, subcommand_required = true)]
    Events(operator::events::Events),
    /// Compare every customer with Stripe and repair the differences
    #[command(after_help = sale::reconcile::EXAMPLES)]
    Reconcile(sale::reconcile::Reconcile),
    /// Import existing customers
    #[command(after_help = account::import::EXAMPLES, subcommand_required = true)]
    Import(account::import::Import),
    /// Connect your Stripe account and its customers
    #[command(after_help = sale::stripe::EXAMPLES, subcommand_required = true)]
    Stripe(sale::stripe::StripeCommand),
    /// Compare the plans file with Stripe, or with another plans file
    #[command(after_help = sale::plans::EXAMPLES, subcommand_required = true)]
    Plans(sale::plans::PlansCommand),
    /// Verify, inspect, issue, extend, revoke or resend licenses
    #[command(after_help = license::licenses::EXAMPLES, subcommand_required = true)]
    License(license::licenses::LicenseCommand),
    /// Write the lists of revoked licenses to files
    #[command(after_help = license::status::EXAMPLES, subcommand_required = true)]
    Status(license::status::StatusCommand),
    /// Print the API description (OpenAPI 3.1, JSON)
    #[command(after_help = "Example:\n  licentia openapi > openapi.json")]
    Openapi,
}

impl Cli {
    /// Runs the command. Returns the exit code.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let config = || Config::load(self.config.as_deref(), environment());
        let done = match self.command {
            Command::Serve => {
                let done = config().and_then(|config| serve::run(&config, self.config.as_deref()));
                let format = || Config::log_format(self.config.as_deref(), environment());
                return done.unwrap_or_else(|error| serve::fail(&error, format()));
            }
            #[cfg(feature = "demo")]
            Command::Demo(demo) => config().and_then(|config| demo.run(&config)),
            Command::Migrate(migrate) => config().and_then(|config| migrate.run(&config)),
            Command::Keys(keys) => config().and_then(|config| keys.run(&config)),
            Command::AdminKey(admin_key) => config().and_then(|config| admin_key.run(&config)),
            Command::Customer(customer) => config().and_then(|config| customer.run(&config)),
            Command::Audit(audit) => config().and_then(|config| audit.run(&config)),
            Command::Email(email) => config().and_then(|config| email.run(&config)),
            Command::Webhook(webhook) => config().and_then(|config| webhook.run(&config)),
            Command::Events(events) => config().and_then(|config| events.run(&config)),
            Command::Reconcile(reconcile) => config().and_then(|config| reconcile.run(&config)),
            Command::Import(import) => config().and_then(|config| import.run(&config)),
            Command::Stripe(stripe) => config().and_then(|config| stripe.run(&config)),
            Command::Plans(plans) => config().and_then(|config| plans.run(&config)),
            Command::License(license) => license.run(config),
            Command::Status(status) => config().and_then(|config| status.run(&config)),
            Command::Openapi => print(crate::http::openapi::text()),
        };
        done.unwrap_or_else(|error| fail(&error))
    }
}

/// Returns the environment. Invalid Unicode is replaced, so that the setting's own parser reports
/// it.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Prints an error, each problem on its own line.
fn fail(error: &Error) -> ExitCode {
    for problem in problems(error) {
        complain(problem);
    }
    ExitCode::from(NO)
}

fn problems(error: &Error) -> Vec<String> {
    match error {
        Error::Setup(problems) => problems.clone(),
        other => vec![other.to_string()],
    }
}

/// Prints what does not change the exit code.
fn print_notes(notes: &[String]) -> Result<()> {
    notes.iter().try_for_each(|note| print(format_args!("note: {note}\n")).map(drop))
}

/// Writes an error line to standard error.
fn complain(problem: impl Display) {
    note(format_args!("error: {problem}\n"));
}

/// Writes warnings to standard error.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| note(format_args!("warning: {warning}\n")));
}

/// Writes to standard error. A failure to write is ignored: there is nowhere to report it.
fn note(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// Writes to standard output. A closed pipe is not an error.
fn print(text: impl Display) -> Result<ExitCode> {
    match write_out(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Internal(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Writes to standard output and flushes it. A closed pipe is an error.
fn write_out(text: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Progress is shown after each of this many items.
const SHOWN_EVERY: usize = 10;

/// A progress line on a terminal. Dropping it erases the line.
struct Progress {
    label: &'static str,
    shown: Cell<usize>,
    terminal: bool,
}

impl Progress {
    fn show(&self, count: usize) {
        if self.terminal && count >= self.shown.get() + SHOWN_EVERY {
            self.shown.set(count);
            note(format_args!("{START_OF_EMPTY_LINE}{count} {}", self.label));
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

/// Moves the cursor to the start of the line and erases the line (ECMA-48: CR, EL).
const START_OF_EMPTY_LINE: &str = "\r\x1b[K";

/// Returns a function that shows a count on the terminal. Dropping the function erases the line.
fn progress(label: &'static str) -> impl Fn(usize) {
    let terminal = std::io::stderr().is_terminal();
    let progress = Progress { label, shown: Cell::new(0), terminal };
    move |count| progress.show(count)
}

/// Writes a value to standard output as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<ExitCode> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Error::Internal(format!("no JSON: {error}")))?;
    print(format_args!("{text}\n"))
}

/// Runs asynchronous work to its end.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Internal(format!("no runtime: {error}")))?;
    runtime.block_on(work)
}

/// Opens the app, runs `act` on it, and closes the database even after an error.
fn with_app<T>(config: &Config, act: impl AsyncFnOnce(&App) -> Result<T>) -> Result<T> {
    wait(async {
        let opened = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
        let (app, warnings) = opened;
        warn(&warnings);
        let done = act(&app).await;
        app.store.close().await;
        done
    })
}

/// Returns the Stripe settings, for a command that cannot work without them.
///
/// # Errors
/// [`Error::Setup`] when no secret key is set.
fn stripe_of(config: &Config) -> Result<&StripeConfig> {
    config.stripe.as_ref().ok_or_else(|| {
        Error::setup("`stripe.secret_key` is not set; set LICENTIA_STRIPE__SECRET_KEY")
    })
}
