//! `licentia demo`: its arguments, its preconditions and its printed guide. `demo/stage.rs` starts
//! the servers, and `demo/walk.rs` is the automatic walk. The service itself uses none of this.

mod begin;
mod client;
mod customer;
mod later;
mod proof;
mod purchase;
mod selling;
mod stage;
mod walk;

use std::process::ExitCode;

use clap::Args;

use super::log::Log;
use super::{NO, print, serve, wait};
use crate::config::{Config, StripeMode};
use crate::error::{Error, Result};
use customer::{Customer, PASSWORD};
use stage::{CODE, Stage};

pub const EXAMPLES: &str = "Examples:
  licentia demo
  licentia demo --walk
  LICENTIA_LISTEN=127.0.0.1:4100 licentia demo

The demo stops on Ctrl-C or SIGTERM, and removes everything that it created.";

/// The customer who is signed up at the start.
const ADA: &str = "ada@example.com";

/// The default log filter logs every request, which would hide the demo's own output.
const DEFAULT_LOG: &str = "info";
const QUIET_LOG: &str = "warn";

#[derive(Debug, Args)]
pub struct Demo {
    /// Run every step from sign-up to refund automatically and check each one
    ///
    /// Uses free ports. Exits with 0 when every step passes, with 1 when one fails.
    #[arg(long)]
    walk: bool,
}

impl Demo {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        check_is_harmless(config)?;
        let _log = Log::start(
            if config.log == DEFAULT_LOG { QUIET_LOG } else { &config.log },
            config.log_format,
        )?;
        wait(self.stage(config))
    }

    async fn stage(self, config: &Config) -> Result<ExitCode> {
        let mut listen = config.listen;
        if self.walk {
            listen.set_port(0);
        }
        // The handlers are installed first, so that an early Ctrl-C still removes the state.
        let stop = serve::stop_signal();
        let stage = Stage::set_up(listen).await?;
        let done = tokio::select! {
            done = self.perform(&stage) => done.map(|()| ExitCode::SUCCESS),
            // An interrupted walk has failed.
            () = stop => Ok(ExitCode::from(if self.walk { NO } else { 0 })),
        };
        // An error of the walk matters more than one of the cleanup.
        let ended = stage.end().await;
        done.and_then(|code| ended.map(|()| code))
    }

    async fn perform(&self, stage: &Stage) -> Result<()> {
        if self.walk {
            return walk::walk(stage).await;
        }
        let seeded = Customer::sign_up(stage, ADA).await;
        seeded.map_err(|unproven| Error::Internal(format!("{ADA} cannot sign up: {unproven}")))?;
        print(guide(stage))?;
        // Runs until a signal stops it.
        std::future::pending().await
    }
}

/// Refuses to run the demo beside a live Stripe key, or where other machines can reach it.
fn check_is_harmless(config: &Config) -> Result<()> {
    let mut problems = Vec::new();
    if config.stripe.as_ref().is_some_and(|stripe| stripe.mode == StripeMode::Live) {
        problems.push(
            "`stripe.secret_key` is a live key, and the demo does not run with one: unset it \
             (LICENTIA_STRIPE__SECRET_KEY), or run the demo on another machine"
                .to_owned(),
        );
    }
    if !config.listen.ip().is_loopback() {
        problems.push(format!(
            "`listen` is {}, which other machines can reach, and the demo's password is public: \
             set it (LICENTIA_LISTEN) to a loopback address, like 127.0.0.1:3100",
            config.listen
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Setup(problems)) }
}

/// Returns the printed guide: the addresses, and steps to try.
fn guide(stage: &Stage) -> String {
    let (version, url, stripe) = (env!("CARGO_PKG_VERSION"), &stage.url, stage.sandbox.url());
    let product = &stage.app.plans.product;
    let program = std::env::args().next().unwrap_or_else(|| "licentia".to_owned());
    format!(
        "Licentia {version} demo. No card is charged, no mail leaves this machine, and all data\n\
         is removed when it stops (Ctrl-C).\n\
         \n\
         \x20 Swagger UI  {url}/docs\n\
         \x20 Stripe      {stripe}/ (a double: customers, webhooks, clock, faults)\n\
         \x20 Mail        {stripe}/mail\n\
         \x20 Login       {ADA} / {PASSWORD}\n\
         \n\
         Steps to try, in Swagger UI unless noted otherwise:\n\
         \x20 1. Sign up with the example (signUp), or log in as Ada (logIn). Enter the\n\
         \x20    `access_token` under Authorize.\n\
         \x20 2. Buy `professional` with the example (openCheckout).\n\
         \x20 3. Open the `checkout_url` and pay with 4242 4242 4242 4242.\n\
         \x20 4. Read the mail: the new license is attached. getCurrentLicense returns the same\n\
         \x20    one.\n\
         \x20 5. Verify it offline: save license.jwt from the mail's page, then run\n\
         \x20      curl -s {url}/.well-known/jwks.json > jwks.json\n\
         \x20      {program} license verify --jwks jwks.json --audience {product} - < license.jwt\n\
         \x20 6. Move the clock a month ahead on Stripe's page: the subscription renews, and a\n\
         \x20    mail arrives. Login sessions end after a month, so log in again. The renewed\n\
         \x20    license needs --now EPOCH to verify, because this machine's clock has not moved.\n\
         \x20 7. Refund the newest payment: Stripe's page, the customer, Refund. The license is\n\
         \x20    revoked; verifyLicense shows it.\n\
         \x20 8. Sign up as another customer, buy, and cancel in the portal (openPortal): the\n\
         \x20    license works until the end of the period.\n\
         \x20 9. Buy `studio`: a perpetual license with a year of updates. Or buy 3 seats of\n\
         \x20    `team` with the `promotion_code` {CODE}, then preview and change to 5\n\
         \x20    (previewChange, changeSubscription).\n"
    )
}
