//! `licentia license`: verifies and inspects licenses offline, and issues grants. The crate
//! `licentia-verify` verifies, and [`crate::flows::operator::licenses`] issues. What support does
//! with a license is in `support.rs`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta};
use clap::{Args, Subcommand};
use licentia_verify::{KeySet, MAX_JWKS_BYTES, MAX_TOKEN_BYTES, Unverified};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::license::support::{Extend, Resend, Revoke};
use crate::cli::{NO, WRONG_CALL, complain, note, print, with_app};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::license::Extras;
use crate::domain::license::grant::{MAX_DAYS, MAX_LIMIT};
use crate::domain::operator::audit::Actor;
use crate::domain::private::Private;
use crate::domain::sale::plan::{InvalidSlug, Slug};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::flows::license::customer_of;
use crate::flows::operator::licenses::{self, Grant};

pub const EXAMPLES: &str = "Examples:
  curl -s http://127.0.0.1:3100/.well-known/jwks.json > jwks.json
  licentia license verify --jwks jwks.json --audience acme-app eyJhbGciOi…
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
    /// Prints the result as JSON. Exits with 0 when the license is valid, with 1 when it is not
    /// (`reason` says why), and with 2 when the arguments or the key set are wrong.
    #[command(after_help = "Examples:
  licentia license verify --jwks jwks.json --audience acme-app eyJhbGciOi…
  licentia license verify --jwks jwks.json --audience acme-app - < license.jwt
  licentia license verify --jwks jwks.json --audience acme-app --now 1798761600 eyJhbGciOi…
  licentia license verify --jwks jwks.json --audience acme-app \\
    --build 2026-11-20T15:00:00Z eyJhbGciOi…")]
    Verify(Verify),
    /// Show the claims of a license without verifying it
    #[command(after_help = "Example:\n  licentia license inspect eyJhbGciOi…")]
    Inspect {
        /// The license, or `-` to read it from standard input
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
    /// A sync with Stripe does not bring it back. The customer gets another one by `issue`, by
    /// `resend --reissue`, or by the next payment.
    #[command(after_help = "Example:\n  licentia license revoke lic_0123…")]
    Revoke(Revoke),
    /// Mail a license to its customer again
    #[command(after_help = "Examples:\n  licentia license resend lic_0123…\n  \
                            licentia license resend lic_0123… --reissue")]
    Resend(Resend),
}

#[derive(Debug, Args)]
struct Verify {
    /// The public keys, as published at /.well-known/jwks.json
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    /// The product that the license must be issued for
    #[arg(long, value_name = "AUD")]
    audience: String,
    /// The issuer that the license must have [default: any with these keys]
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// The time of the verification, in seconds since 1970 [default: now]
    #[arg(long, value_name = "EPOCH")]
    now: Option<u64>,
    /// The time at which the app's build was made, as seconds since 1970 or like
    /// 2026-11-20T15:00:00Z [default: unknown, so every build counts as covered]
    #[arg(long, value_name = "TIME", value_parser = time)]
    build: Option<Timestamp>,
    /// The license, or `-` to read it from standard input
    token: Private,
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
            Action::Verify(verify) => verify.run(),
            Action::Inspect { token } => inspect(token.as_str()),
            Action::Issue(issue) => issue.run(&config()?),
            Action::Extend(extend) => with_app(&config()?, async |app| extend.run(app).await),
            Action::Revoke(revoke) => with_app(&config()?, async |app| revoke.run(app).await),
            Action::Resend(resend) => with_app(&config()?, async |app| resend.run(app).await),
        }
    }
}

impl Verify {
    fn run(self) -> Result<ExitCode> {
        let inputs = read_keys(&self.jwks, &self.audience)
            .and_then(|keys| read_token(self.token.as_str()).map(|token| (keys, token)));
        let (mut keys, token) = match inputs {
            Ok(inputs) => inputs,
            Err(problem) => {
                complain(problem);
                return Ok(ExitCode::from(WRONG_CALL));
            }
        };
        if let Some(issuer) = &self.issuer {
            keys = keys.issued_by(issuer);
        }
        let now = self.now.map(|now| Timestamp::saturating(i64::try_from(now).unwrap_or(i64::MAX)));
        let now = now.unwrap_or_else(|| SystemClock.now());
        let (result, code) = verify(&token, &keys, now, self.build);
        print(format_args!("{result:#}\n"))?;
        Ok(code)
    }
}

/// Returns the result as JSON, and the exit code.
fn verify(
    token: &str,
    keys: &KeySet,
    now: Timestamp,
    build: Option<Timestamp>,
) -> (Value, ExitCode) {
    let changes = |time| Timestamp::from(time).to_string();
    let now = now.to_system_time();
    let verified = match build {
        None => licentia_verify::verify(token, keys, now),
        Some(build) => licentia_verify::verify_build(token, keys, now, build.to_system_time()),
    };
    match verified {
        Ok(license) => {
            let result = json!({
                "valid": true,
                "status": license.state(),
                "changes_at": license.changes_at().map(changes),
                "claims": license.claims(),
            });
            (result, ExitCode::SUCCESS)
        }
        Err(rejection) => {
            let result = json!({
                "valid": false,
                "reason": rejection.code(),
                "message": rejection.to_string(),
                "changes_at": rejection.changes_at().map(changes),
            });
            (result, ExitCode::from(NO))
        }
    }
}

/// Parses seconds since 1970, or a time of RFC 3339.
fn time(text: &str) -> std::result::Result<Timestamp, String> {
    let seconds = text.parse::<u32>().map(i64::from).ok();
    let seconds = seconds.or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp()));
    seconds
        .map(Timestamp::saturating)
        .ok_or_else(|| "use seconds since 1970, or a time such as 2026-11-20T15:00:00Z".to_owned())
}

fn read_keys(path: &Path, audience: &str) -> std::result::Result<KeySet, String> {
    let file = path.display();
    let text =
        read_text(path, MAX_JWKS_BYTES as u64).map_err(|error| format!("{file}: {error}"))?;
    KeySet::from_jwks(&text, audience).map_err(|error| format!("{file}: {error}"))
}

/// Returns the license on the command line, or from standard input for `-`.
fn read_token(argument: &str) -> std::result::Result<String, String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    // One byte over the limit, so that a license that is too long is refused instead of cut off.
    let limit = MAX_TOKEN_BYTES as u64 + 1;
    let read = std::io::stdin().take(limit).read_to_string(&mut text);
    read.map_err(|error| format!("standard input: {error}"))?;
    Ok(text.trim().to_owned())
}

fn inspect(argument: &str) -> Result<ExitCode> {
    let inspected = read_token(argument).and_then(|token| {
        licentia_verify::inspect(token.as_str()).map_err(|error| error.to_string())
    });
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
