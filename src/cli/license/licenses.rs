//! `licentia license`: inspects licenses offline, and issues grants
//! ([`crate::flows::operator::licenses`]). Verifying and explaining is in `check.rs`. What support
//! does with a license is in `support.rs`.

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::{ArgGroup, Args, Subcommand};
use licentia_verify::Unverified;
use serde_json::json;

use crate::app::App;
use crate::cli::license::check::Given;
use crate::cli::license::support::{Extend, Resend, Revoke};
use crate::cli::license::texts;
use crate::cli::{NO, complain, note, print, with_app};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::license::Extras;
use crate::domain::license::grant::{MAX_DAYS, MAX_LIMIT};
use crate::domain::operator::audit::Actor;
use crate::domain::private::Private;
use crate::domain::sale::plan::{InvalidSlug, Slug};
use crate::error::{Error, Result};
use crate::flows::license::customer_of;
use crate::flows::operator::licenses::{self, Grant};

pub const EXAMPLES: &str = "Examples:
  curl -s http://127.0.0.1:3100/.well-known/jwks.json > jwks.json
  licentia license verify --jwks jwks.json --audience acme-app eyJhbGciOi…
  licentia license explain license.json
  licentia license inspect eyJhbGciOi…
  licentia license issue --email ada@example.com --plan professional --days 365
  licentia license extend ada@example.com --days 14
  licentia license revoke lic_0123…
  licentia license resend lic_0123…";

#[derive(Debug, Args)]
pub struct LicenseCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Verify a license offline, as an app does
    ///
    /// Prints the verdict as JSON, with times in seconds since 1970. Exits with 0 when the license
    /// is valid, with 1 when it is not (`code` says why), and with 2 when an argument or a file is
    /// wrong.
    #[command(
        mut_arg("audience", |audience| audience.required(true)),
        group(ArgGroup::new("trust").args(["jwks", "root"]).required(true)),
        after_help = "Examples:
  licentia license verify --jwks jwks.json --audience acme-app eyJhbGciOi…
  licentia license verify --jwks jwks.json --audience acme-app license.json
  licentia license verify --root root.jwk --keys keys.jwt --status status.jwt \\
    --memory memory.json --audience acme-app - < license.jwt
  licentia license verify --jwks jwks.json --audience acme-app \\
    --now 2027-11-20T15:00:00Z --build 2026-11-20T15:00:00Z license.jwt"
    )]
    Verify(Given),
    /// Explain in sentences what a license says, whether it is valid, and until when
    ///
    /// Takes the arguments of `verify`; only the license is required. Without --jwks or --root, it
    /// shows what the license says, and nothing is checked. The exit codes are those of `verify`; a
    /// license that was not checked counts as valid if it can be read.
    #[command(after_help = "Examples:
  licentia license explain eyJhbGciOi…
  licentia license explain --jwks jwks.json --audience acme-app license.json
  licentia license explain --jwks jwks.json --now 2027-11-20T15:00:00Z --json license.jwt")]
    Explain {
        #[command(flatten)]
        given: Given,
        /// Print JSON: the verdict and the sentences
        #[arg(long)]
        json: bool,
    },
    /// Show the claims of a license without verifying it
    #[command(after_help = "Example:\n  licentia license inspect eyJhbGciOi…")]
    Inspect {
        /// The license or `license.json`: its text, a file that has it, or `-` for standard input
        token: Private,
    },
    /// Grant a customer a license and print it
    ///
    /// For a gift, a partner, or a sale made elsewhere. It replaces the customer's current license,
    /// unless that would shorten what the customer has: that needs --replace.
    #[command(after_help = "Examples:
  licentia license issue --email ada@example.com --plan professional --days 365
  licentia license issue --customer cust_… --plan professional --forever --json
  licentia license issue --email ada@example.com --plan starter --days 30 --feature beta \\
    --limit seats=10 --note \"A gift for a talk\" --replace")]
    #[command(visible_alias = "grant")]
    Issue(Issue),
    /// Extend the current license of a customer and mail the new one
    #[command(after_help = "Example:\n  licentia license extend ada@example.com --days 14")]
    Extend(Extend),
    /// Revoke one license, current or former
    ///
    /// With the current one, those that it replaced are revoked too. A sync with Stripe does not
    /// bring it back. The customer gets another one by `issue`, by `resend --reissue`, or by the
    /// next payment.
    #[command(after_help = "Example:\n  licentia license revoke lic_0123…")]
    Revoke(Revoke),
    /// Mail a license to its customer again
    #[command(after_help = "Examples:\n  licentia license resend lic_0123…\n  \
                            licentia license resend lic_0123… --reissue")]
    Resend(Resend),
}

#[derive(Debug, Args)]
struct Issue {
    #[command(flatten)]
    recipient: Recipient,
    /// The plan's id
    #[arg(long, value_name = "PLAN")]
    plan: String,
    #[command(flatten)]
    validity: Validity,
    /// A feature in addition to the plan's; can be given several times
    #[arg(long, value_name = "FEATURE")]
    feature: Vec<Slug>,
    /// A limit that replaces the plan's; can be given several times
    #[arg(long, value_name = "NAME=NUMBER", value_parser = limit)]
    limit: Vec<(Slug, u64)>,
    /// A note for support
    #[arg(long, value_name = "TEXT")]
    note: Option<Private>,
    /// Also if it shortens what the customer has
    #[arg(long)]
    replace: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Recipient {
    /// The customer's id
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<CustomerId>,
    /// The customer's email address
    #[arg(long, value_name = "EMAIL")]
    email: Option<Email>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Validity {
    /// The license is valid for this many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
    days: Option<i64>,
    /// The license never expires
    #[arg(long)]
    forever: bool,
}

/// Returns the name and the number of a limit.
fn limit(text: &str) -> std::result::Result<(Slug, u64), String> {
    let (name, number) = text.split_once('=').ok_or("use NAME=NUMBER")?;
    let name = name.parse().map_err(|error: InvalidSlug| error.to_string())?;
    let number = number.parse().ok().filter(|number| *number <= MAX_LIMIT);
    Ok((name, number.ok_or_else(|| format!("use a number from 0 to {MAX_LIMIT}"))?))
}

impl LicenseCommand {
    pub fn run(self, config: impl FnOnce() -> Result<Config>) -> Result<ExitCode> {
        match self.action {
            Action::Verify(given) => given.verify(),
            Action::Explain { given, json } => given.explain(json),
            Action::Inspect { token } => inspect(token.as_str()),
            Action::Issue(issue) => issue.run(&config()?),
            Action::Extend(extend) => with_app(&config()?, async |app| extend.run(app).await),
            Action::Revoke(revoke) => with_app(&config()?, async |app| revoke.run(app).await),
            Action::Resend(resend) => with_app(&config()?, async |app| resend.run(app).await),
        }
    }
}

fn inspect(argument: &str) -> Result<ExitCode> {
    let inspected = texts::license(argument)
        .and_then(|license| licentia_verify::inspect(&license).map_err(|error| error.to_string()));
    match inspected {
        Ok(Unverified { header, claims }) => {
            let output = json!({ "verified": false, "header": header, "claims": claims });
            print(format_args!("{output:#}\n"))
        }
        Err(problem) => {
            complain(problem);
            Ok(ExitCode::from(NO))
        }
    }
}

impl Issue {
    fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.issue(app).await)
    }

    async fn issue(self, app: &App) -> Result<ExitCode> {
        let customer_id = match (&self.recipient.customer, &self.recipient.email) {
            (Some(id), _) => id.clone(),
            (None, Some(email)) => customer_of(app, email).await?,
            (None, None) => return Err(Error::NotFound("customer")),
        };
        let extras = Extras {
            features: self.feature.into_iter().collect(),
            limits: self.limit.into_iter().collect(),
            paid_until: None,
            note: self.note,
        };
        let grant = Grant {
            plan: licenses::plan(app, &self.plan)?,
            expires: self.validity.days.map(|days| app.now() + TimeDelta::days(days)),
            extras,
            replace: self.replace,
        };
        let license = licenses::grant(app, Actor::Operator, &customer_id, &grant).await?;
        if !self.json {
            if license.term().ends() != Some(license.token_expires_at) {
                let until = license.token_expires_at;
                note(format_args!(
                    "This license token expires on {until}; the app refreshes it online before.\n"
                ));
            }
            return print(format_args!("{}\n", license.token.expose()));
        }
        let issued = json!({
            "license_id": license.license_id.as_str(),
            "customer_id": license.customer_id.as_str(),
            "plan": license.plan,
            "expires_at": license.expires_at.map(|time| time.to_string()),
            "token_expires_at": license.token_expires_at.to_string(),
            "token": license.token.expose(),
        });
        print(format_args!("{issued:#}\n"))
    }
}
