//! `licentia demo`: what it refuses, what it prints, and how it ends. What it runs is set up by
//! `demo/stage.rs`; the walk through it is in `demo/walk.rs`. No part of the service uses any of it.

mod begin;
mod client;
mod customer;
mod later;
mod proof;
mod purchase;
mod stage;
mod walk;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::log::Log;
use super::{NO, print, serve, wait};
use crate::config::{Config, StripeMode};
use crate::error::{Error, Result};
use customer::{Customer, PASSWORD};
use stage::Stage;

pub const EXAMPLES: &str = "Examples:
  licentia demo
  licentia demo --walk
  LICENTIA_LISTEN=127.0.0.1:4100 licentia demo

It stops on Ctrl-C or SIGTERM, and removes everything that it made.";

/// Who is there from the beginning.
const ADA: &str = "ada@example.com";

/// The default, which tells of every request, would drown what the demo itself says.
const CHATTY: &str = "info";
const QUIET: &str = "warn";

#[derive(Debug, Args)]
pub struct Demo {
    /// Walk from the sign-up to the refund without hands, and prove each step
    ///
    /// On free ports. Exits with 0 when every step holds, with 1 when one does not.
    #[arg(long)]
    walk: bool,
}

impl Demo {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        must_be_harmless(config)?;
        let _log = Log::start(if config.log == CHATTY { QUIET } else { &config.log })?;
        wait(self.stage(config))
    }

    async fn stage(self, config: &Config) -> Result<ExitCode> {
        let mut listen = config.listen;
        if self.walk {
            listen.set_port(0);
        }
        // Heard from the beginning, and heeded when there is something to clear away.
        let stop = serve::stop_signal();
        let stage = Stage::set_up(listen).await?;
        let done = tokio::select! {
            done = self.play(&stage) => done.map(|()| ExitCode::SUCCESS),
            // A walk that was cut short proved nothing.
            () = stop => Ok(ExitCode::from(if self.walk { NO } else { 0 })),
        };
        // What failed on the way matters more than what fails at the end.
        let ended = stage.end().await;
        done.and_then(|code| ended.map(|()| code))
    }

    async fn play(&self, stage: &Stage) -> Result<()> {
        if self.walk {
            return walk::walk(stage).await;
        }
        let seeded = Customer::sign_up(stage, ADA).await;
        seeded.map_err(|unproven| Error::Internal(format!("{ADA} cannot sign up: {unproven}")))?;
        print(guide(stage))?;
        // Until somebody stops it.
        std::future::pending().await
    }
}

/// A demo is played where real money is not, and where nobody else can reach it.
fn must_be_harmless(config: &Config) -> Result<()> {
    let mut problems = Vec::new();
    if config.stripe.as_ref().is_some_and(|stripe| stripe.mode == StripeMode::Live) {
        problems.push(
            "`stripe.secret_key` is a live key, and the demo does not run beside one: unset it \
             (LICENTIA_STRIPE__SECRET_KEY), or run the demo elsewhere"
                .to_owned(),
        );
    }
    if !config.listen.ip().is_loopback() {
        problems.push(format!(
            "`listen` is {}, which other machines can reach, and everybody knows the demo's \
             password: set it (LICENTIA_LISTEN) to a loopback address, like 127.0.0.1:3100",
            config.listen
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Setup(problems)) }
}

/// Where everything is, and what to try.
fn guide(stage: &Stage) -> String {
    let (version, url, stripe) = (env!("CARGO_PKG_VERSION"), &stage.url, stage.sandbox.url());
    let product = &stage.app.plans.product;
    let program = std::env::args().next().unwrap_or_else(|| "licentia".to_owned());
    // The example in Swagger UI comes back to the default address.
    let example = SocketAddr::from((Ipv4Addr::LOCALHOST, 3100));
    let urls = if *url == format!("http://{example}") {
        String::new()
    } else {
        format!(",\n     with {url}/docs as `success_url` and `cancel_url`")
    };
    format!(
        "Licentia {version}, a demo. No card is charged, no mail leaves this machine, and nothing is\n\
         left when it stops (Ctrl-C).\n\
         \n\
         \x20 Swagger UI  {url}/docs\n\
         \x20 Stripe      {stripe}/ (a double: customers, webhooks, the clock, faults)\n\
         \x20 Mail        {stripe}/mail\n\
         \x20 Login       {ADA} / {PASSWORD}\n\
         \n\
         Try this, in Swagger UI unless it says otherwise:\n\
         \x20 1. Log in as Ada (logIn), or sign up as somebody else (signUp). Put the `access_token`\n\
         \x20    into Authorize.\n\
         \x20 2. Buy `professional` (openCheckout){urls}.\n\
         \x20 3. Open the `checkout_url` and pay with 4242 4242 4242 4242.\n\
         \x20 4. Read the mail: the new license is attached. getCurrentLicense answers the same one.\n\
         \x20 5. Verify it offline: save license.jwt from the mail's page, then\n\
         \x20      curl -s {url}/.well-known/jwks.json > jwks.json\n\
         \x20      {program} license verify --jwks jwks.json --audience {product} - < license.jwt\n\
         \x20 6. Move the clock a month ahead, on Stripe's page: it renews, and a mail says so.\n\
         \x20    Sessions end after a month: log in again. A license of then needs --now EPOCH to\n\
         \x20    verify, for this machine's clock has not moved.\n\
         \x20 7. Refund the newest payment: Stripe's page, the customer, Refund. The license is taken\n\
         \x20    back, as verifyLicense says.\n\
         \x20 8. Sign up as somebody else, buy, and cancel in the portal (openPortal): the license works\n\
         \x20    until the end of the period.\n"
    )
}
