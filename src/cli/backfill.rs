//! `licentia stripe backfill`: links the customers whom Stripe has to those who are here.

use std::process::ExitCode;

use clap::Args;

use super::{NO, complain, print, print_json, progress, with_app};
use crate::config::Config;
use crate::error::Result;
use crate::flows::Mode;
use crate::flows::backfill::{Done, Left, Newcomers, Progress, Report, everybody};

pub const EXAMPLES: &str = "Examples:
  licentia stripe backfill --dry-run            only look
  licentia stripe backfill
  licentia stripe backfill --create --dry-run   who would get an account?
  licentia stripe backfill --json

Exits with 0 when nobody who pays is left without a link; with 1 when somebody is, when
something failed, or when --dry-run found something to do.";

#[derive(Debug, Args)]
pub struct Backfill {
    /// Change nothing, neither here nor at Stripe; exit with 1 if there is something to do
    #[arg(long)]
    dry_run: bool,
    /// Make an account for everybody who pays for one of your plans and has none
    ///
    /// It has the address that Stripe has, and no password; the license is mailed to it.
    #[arg(long)]
    create: bool,
    /// Answer in JSON, with everybody who is left, also those who pay for nothing
    #[arg(long)]
    json: bool,
}

impl Backfill {
    pub fn run(&self, config: &Config) -> Result<ExitCode> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Apply };
        let newcomers = if self.create { Newcomers::Create } else { Newcomers::Tell };
        let report = with_app(config, async |app| {
            let progress = show_progress("customers and subscriptions listed at Stripe");
            everybody(app, mode, newcomers, progress).await
        })?;
        if self.json { print_json(&report) } else { self.tell(&report) }?;
        let to_do = self.dry_run && !report.done.is_empty();
        let left = to_do || !report.failed.is_empty() || report.paying_left().next().is_some();
        Ok(if left { ExitCode::from(NO) } else { ExitCode::SUCCESS })
    }

    fn tell(&self, report: &Report) -> Result<ExitCode> {
        for done in &report.done {
            print(format_args!("{}\n", shown(done)))?;
            for alert in &done.alerts {
                print(format_args!("note: {}: {alert}\n", done.stripe_customer_id))?;
            }
        }
        for Left { stripe_customer_id, email, plan, message, .. } in report.paying_left() {
            let (who, plan) = (named(stripe_customer_id, email.as_deref()), paid(plan.as_deref()));
            print(format_args!("left: {who}{plan}: {message}\n"))?;
        }
        for failed in &report.failed {
            complain(format_args!("{}: {}", failed.stripe_customer_id, failed.error));
        }
        for (price, count) in &report.unknown_prices {
            print(format_args!(
                "note: {count} live subscriptions are to {price}, which no plan has; if it sells one, \
                 put it under the plan's `prices` or `former_prices`, else under `other_prices`, \
                 and run this again\n"
            ))?;
        }
        let (done, then) = if self.dry_run {
            ("would be worked on", "Licenses that are due would be issued and mailed.\n")
        } else {
            ("worked on", "The server mails the licenses that were issued.\n")
        };
        let paying = report.paying_left().count();
        print(format_args!(
            "{} customers at Stripe: {} linked already, {} {done}, {} failed, {paying} left to you.\n",
            report.customers,
            report.settled,
            report.done.len(),
            report.failed.len(),
        ))?;
        if report.left.len() > paying {
            let idle = report.left.len() - paying;
            print(format_args!(
                "{idle} more pay for no plan and cannot be linked for sure; --json lists them.\n"
            ))?;
        }
        if report.done.iter().any(|done| done.plan.is_some()) {
            print(then)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// On a terminal, how far it is.
pub fn show_progress(listed: &'static str) -> impl Fn(Progress) {
    let (listed, done) = (progress(listed), progress("customers worked on"));
    move |progress| match progress {
        Progress::Listed(count) => listed(count),
        Progress::Done(count) => done(count),
    }
}

pub fn shown(done: &Done) -> String {
    let who = named(&done.stripe_customer_id, done.email.as_deref());
    let plan = paid(done.plan.as_deref());
    let whom = done.customer_id.as_deref().unwrap_or("cust_…");
    let action = match done.action {
        "linked_by_metadata" => "linked by its metadata",
        "linked_by_email" => "linked by its verified address",
        "created" => "a new account",
        "claimed" => "linked as you said",
        _ => "linked before, and brought in line now",
    };
    let changes: Vec<_> = done.changes.iter().map(|change| format!("; {change}")).collect();
    format!("{who}{plan} -> {whom}: {action}{}", changes.concat())
}

pub fn named(stripe_customer_id: &str, email: Option<&str>) -> String {
    let email = email.map(|email| format!(" ({email})")).unwrap_or_default();
    format!("{stripe_customer_id}{email}")
}

pub fn paid(plan: Option<&str>) -> String {
    plan.map(|plan| format!(", who pays for {plan}")).unwrap_or_default()
}
