//! `licentia stripe`: connects the account at Stripe.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use super::backfill::{self, Backfill};
use super::claim::{self, Claim};
use super::{NO, complain, print, stripe_of, wait};
use crate::clock::SystemClock;
use crate::config::{Config, Origin, StripeConfig};
use crate::domain::webhook::EVENT_TYPES;
use crate::error::{Error, Result};
use crate::flows::setup::{self, Made};
use crate::http::WEBHOOK_PATH;
use crate::plans;
use crate::random::Random;
use crate::stripe::{API_VERSION, Endpoint, Stripe};

pub const EXAMPLES: &str = "Examples:
  LICENTIA_STRIPE__SECRET_KEY=sk_test_… licentia stripe setup --url https://licenses.acme.example
  licentia stripe setup --json
  licentia stripe backfill --dry-run
  licentia stripe claim cus_Qx1…";

const SETUP_EXAMPLES: &str = "Examples:
  LICENTIA_STRIPE__SECRET_KEY=sk_test_… licentia stripe setup --url https://licenses.acme.example
  licentia stripe setup --json";

#[derive(Debug, Args)]
pub struct StripeCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the webhook endpoint, and compare the plans with the prices at Stripe
    ///
    /// The endpoint gets exactly the events that are needed, in the API version that is understood.
    /// Its secret is shown once: set it as LICENTIA_STRIPE__WEBHOOK_SECRET. Run it again after an
    /// update or a change of plans: an endpoint that is there is brought up to date. Exits with 1
    /// when a price differs, or the key may not do what a sale needs.
    #[command(after_help = SETUP_EXAMPLES)]
    Setup {
        /// The URL under which Stripe reaches the server [default: `public_url`]
        #[arg(long)]
        url: Option<Origin>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Link the customers whom Stripe has to those who are here
    ///
    /// For customers who are at Stripe and not here, or here without a link: you sold by Stripe before,
    /// or restored a backup. A customer at Stripe is linked to the one here whom `metadata.customer_id`
    /// names at Stripe, or else to the one with the same email address, if it is verified here: imported,
    /// not merely signed up with. Who is linked gets what they pay for: the license is issued and
    /// mailed. `metadata.customer_id` is set at Stripe, unless you use it for something else. Nothing is
    /// guessed: who cannot be recognised for sure is listed, with what you can do. Run it again as often
    /// as you like; it goes on where it was cut short.
    #[command(after_help = backfill::EXAMPLES)]
    Backfill(Backfill),
    /// Link one Stripe customer, or list those who bought a plan and are linked to nobody here
    ///
    /// For a purchase by a payment link, a quote or the dashboard, and for what the backfill or a note
    /// left to you. Without an option, it links the Stripe customer as the backfill does: by
    /// `metadata.customer_id`, or by a verified email address. Whom it is linked to gets what it pays
    /// for: the license is issued and mailed. Run it again if it was cut short.
    #[command(after_help = claim::EXAMPLES)]
    Claim(Claim),
}

impl StripeCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        let stripe_config = stripe_of(config)?;
        let (url, json) = match self.action {
            Action::Setup { url, json } => (url, json),
            Action::Backfill(backfill) => return backfill.run(config),
            Action::Claim(claim) => return claim.run(config),
        };
        let url = endpoint_url(url, config, stripe_config)?;
        let catalog = plans::load(config.plans_file.as_deref())?;
        let stripe = Stripe::new(stripe_config, Arc::new(SystemClock))?;
        let (made, wrong) = wait(async {
            let mut wrong = setup::missing_rights(&stripe).await?;
            wrong.extend(setup::wrong_prices(&stripe, &catalog).await?);
            Ok((setup::endpoint(&stripe, &Random::from_system()?, &url).await?, wrong))
        })?;
        if json { tell_json(&url, &made, &wrong) } else { tell(&url, &made, &wrong) }?;
        Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
    }
}

/// Stripe calls over the internet, with TLS; its double calls on this machine.
fn endpoint_url(url: Option<Origin>, config: &Config, stripe: &StripeConfig) -> Result<String> {
    let base = url.unwrap_or_else(|| config.public_url.clone());
    if !base.is_https() && stripe.api_url.is_none() {
        return Err(Error::setup(format!(
            "Stripe cannot reach {base}; give the server's public address, \
             --url https://licenses.acme.example, or set `public_url`"
        )));
    }
    Ok(format!("{base}{WEBHOOK_PATH}"))
}

fn tell(url: &str, made: &Made, wrong: &[String]) -> Result<ExitCode> {
    let events = EVENT_TYPES.len();
    match made {
        Made::New(endpoint) => {
            let secret = secret_of(endpoint).unwrap_or("(not shown by Stripe)");
            print(format_args!(
                "The webhook endpoint {url} is made: {events} events, version {API_VERSION}.\n\
                 Its secret is shown this once:\n\n  \
                 LICENTIA_STRIPE__WEBHOOK_SECRET={secret}\n\n"
            ))?;
        }
        Made::Updated(_) => {
            print(format_args!(
                "The webhook endpoint {url} was there; it has the right {events} events now.\n\
                 Its secret stays as it is; Stripe's dashboard shows it, and can roll it.\n"
            ))?;
        }
    }
    if wrong.is_empty() {
        return print(
            "The key may read what it must, and the prices of the plans are those at Stripe.\n",
        );
    }
    for problem in wrong {
        complain(problem);
    }
    Ok(ExitCode::from(NO))
}

/// The one time that it is shown.
fn secret_of(endpoint: &Endpoint) -> Option<&str> {
    endpoint.secret.as_ref().map(ExposeSecret::expose_secret)
}

fn tell_json(url: &str, made: &Made, wrong: &[String]) -> Result<ExitCode> {
    let (new, endpoint) = match made {
        Made::New(endpoint) => (true, endpoint),
        Made::Updated(endpoint) => (false, endpoint),
    };
    let told = json!({
        "url": url,
        "endpoint": endpoint.id,
        "created": new,
        "secret": secret_of(endpoint),
        "api_version": API_VERSION,
        "events": EVENT_TYPES,
        "problems": wrong,
    });
    print(format_args!("{told:#}\n"))
}
