//! `licentia stripe`: connects the Stripe account: webhook endpoint, prices and customers. The
//! steps of the setup are in [`crate::flows::sale::setup`].

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::cli::sale::backfill::{self, Backfill};
use crate::cli::sale::claim::{self, Claim};
use crate::cli::{NO, complain, print, print_notes, stripe_of, wait};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Origin, StripeConfig};
use crate::domain::sale::webhook::EVENT_TYPES;
use crate::error::{Error, Result};
use crate::flows::sale::setup::{self, EndpointOutcome};
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
    /// Create the webhook endpoint, and check the plans against the prices at Stripe
    ///
    /// The endpoint gets exactly the events that Licentia needs, in its API version. The endpoint's
    /// secret is shown only once: set it as LICENTIA_STRIPE__WEBHOOK_SECRET. Run the command again
    /// after an update of Licentia or a change of plans: it updates an existing endpoint. Exits
    /// with 1 when a price differs, the account cannot do what `[checkout]` asks for, or the
    /// secret key lacks a permission.
    #[command(after_help = SETUP_EXAMPLES)]
    Setup {
        /// The URL at which Stripe reaches the server [default: `public_url`]
        #[arg(long)]
        url: Option<Origin>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Link Stripe customers to the customers in the database
    ///
    /// Use it if you sold through Stripe before, or after you restored a backup. A Stripe customer
    /// is linked to the customer that its `metadata.customer_id` names, or else to the customer
    /// with the same verified email address (an imported one; signing up does not verify an
    /// address). Linked customers get what they pay for: the license is issued and mailed. The
    /// command sets `metadata.customer_id` at Stripe, unless you use it for something else.
    ///
    /// Only certain matches are linked. Every other Stripe customer is listed with the possible
    /// remedies. You can repeat the command; it continues where it was interrupted.
    #[command(after_help = backfill::EXAMPLES)]
    Backfill(Backfill),
    /// Link one Stripe customer, or list the buyers that are not linked
    ///
    /// Use it for purchases by a payment link, a quote or the dashboard, and for the cases that the
    /// backfill lists. Without an option, it links the Stripe customer by the rules of the
    /// backfill: by `metadata.customer_id`, or by a verified email address. The linked customer
    /// gets what the Stripe customer pays for: the license is issued and mailed. If it is
    /// interrupted, run it again.
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
        let (made, problems, notes) = wait(async {
            let mut problems = setup::missing_rights(&stripe, &catalog).await?;
            let compared = setup::compare_prices(&stripe, &catalog).await?;
            problems.extend(compared.differences);
            let now = SystemClock.now();
            problems.extend(setup::unsupported_options(&stripe, &catalog, now).await?);
            let mut notes = compared.notes;
            notes.extend(setup::codes_in_calls(&stripe, &catalog).await?);
            let made = setup::endpoint(&stripe, &Random::from_system()?, &url).await?;
            Ok((made, problems, notes))
        })?;
        if json {
            print_as_json(&url, &made, (&problems, &notes))?;
        } else {
            print_report(&url, &made, (&problems, &notes))?;
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
    }
}

/// Returns the URL of the webhook endpoint.
///
/// # Errors
/// [`Error::Setup`] unless it has TLS: Stripe calls it over the internet. The double needs none.
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

fn print_report(
    url: &str,
    made: &EndpointOutcome,
    (problems, notes): (&[String], &[String]),
) -> Result<()> {
    let events = EVENT_TYPES.len();
    match made {
        EndpointOutcome::New(endpoint) => {
            let secret = secret_of(endpoint).unwrap_or("(not shown by Stripe)");
            print(format_args!(
                "Created the webhook endpoint {url}: {events} events, version {API_VERSION}.\n\
                 Its secret is shown only once:\n\n  \
                 LICENTIA_STRIPE__WEBHOOK_SECRET={secret}\n\n"
            ))?;
        }
        EndpointOutcome::Updated(_) => {
            print(format_args!(
                "The webhook endpoint {url} already existed; it now has the {events} events.\n\
                 Its secret has not changed. Stripe's dashboard shows it and can roll it.\n"
            ))?;
        }
    }
    if problems.is_empty() {
        print(
            "The secret key can read what a sale needs, the prices match those at Stripe, and the \
             account can do what `[checkout]` asks for.\n",
        )?;
    }
    print_notes(notes)?;
    for problem in problems {
        complain(problem);
    }
    Ok(())
}

/// Returns the endpoint's secret, which Stripe sends only when it creates the endpoint.
fn secret_of(endpoint: &Endpoint) -> Option<&str> {
    endpoint.secret.as_ref().map(ExposeSecret::expose_secret)
}

fn print_as_json(
    url: &str,
    made: &EndpointOutcome,
    (problems, notes): (&[String], &[String]),
) -> Result<ExitCode> {
    let (is_new, endpoint) = match made {
        EndpointOutcome::New(endpoint) => (true, endpoint),
        EndpointOutcome::Updated(endpoint) => (false, endpoint),
    };
    let report = json!({
        "url": url,
        "endpoint": endpoint.id,
        "created": is_new,
        "secret": secret_of(endpoint),
        "api_version": API_VERSION,
        "events": EVENT_TYPES,
        "problems": problems,
        "notes": notes,
    });
    print(format_args!("{report:#}\n"))
}
