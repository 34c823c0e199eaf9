//! `licentia stripe backfill`: links Stripe customers to the customers in the database. The flow is
//! [`crate::flows::sale::backfill`], and [`crate::domain::sale::matching`] decides the matches.

use std::process::ExitCode;

use clap::Args;

use crate::cli::{NO, complain, print, print_json, progress, with_app};
use crate::config::Config;
use crate::domain::contact::Email;
use crate::domain::sale::buyer::BuyerId;
use crate::error::Result;
use crate::flows::Mode;
use crate::flows::sale::backfill::{Done, Newcomers, Progress, Report, Undecided, run as backfill};

pub const EXAMPLES: &str = "Examples:
  licentia stripe backfill --dry-run            show the links, change nothing
  licentia stripe backfill
  licentia stripe backfill --create --dry-run   show the accounts that would be created
  licentia stripe backfill --json

Exits with 0 when every paying Stripe customer is linked. Exits with 1 when a paying one is not,
when something failed, or when --dry-run found something to do.";

#[derive(Debug, Args)]
pub struct Backfill {
    /// Change nothing in the database or at Stripe; exit with 1 if there is something to do
    #[arg(long)]
    dry_run: bool,
    /// Create an account for every customer who pays for one of your plans and has none
    ///
    /// The account gets the address from Stripe and no password. The license is mailed to it.
    #[arg(long)]
    create: bool,
    /// Print JSON, including the unmatched customers who pay for no plan
    #[arg(long)]
    json: bool,
}

impl Backfill {
    pub fn run(&self, config: &Config) -> Result<ExitCode> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Apply };
        let newcomers = if self.create { Newcomers::Create } else { Newcomers::ReportOnly };
        let report = with_app(config, async |app| {
            let progress = show_progress("customers and subscriptions listed at Stripe");
            backfill(app, mode, newcomers, progress).await
        })?;
        if self.json { print_json(&report) } else { self.print_report(&report) }?;
        let has_changes = self.dry_run && !report.done.is_empty();
        let needs_action = report.paying_undecided().next().is_some();
        let is_done = !has_changes && !needs_action && report.failed.is_empty();
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::from(NO) })
    }

    fn print_report(&self, report: &Report) -> Result<ExitCode> {
        for done in &report.done {
            print(format_args!("{}\n", description(done)))?;
            for alert in &done.alerts {
                print(format_args!("note: {}: {alert}\n", done.buyer))?;
            }
        }
        for Undecided { buyer, email, plan, message, .. } in report.paying_undecided() {
            let customer = stripe_customer(buyer, email.as_ref());
            let plan = paid_plan(plan.as_deref());
            print(format_args!("not linked: {customer}{plan}: {message}\n"))?;
        }
        for failed in &report.failed {
            complain(format_args!("{}: {}", failed.stripe_customer_id, failed.error));
        }
        for (price, count) in &report.unknown_prices {
            print(format_args!(
                "note: {count} live subscriptions have the price {price}, which is not in the \
                 plans file; add it to the `prices` or `former_prices` of a plan, or to \
                 `other_prices` if it is for another product, and run the command again\n"
            ))?;
        }
        let (done, outlook) = if self.dry_run {
            ("would be processed", "Licenses would be issued and mailed.\n")
        } else {
            ("processed", "The server mails the licenses that were issued.\n")
        };
        let paying = report.paying_undecided().count();
        print(format_args!(
            "{} Stripe customers: {} already linked, {} {done}, {} failed, {paying} need your \
             action.\n",
            report.customers,
            report.settled,
            report.done.len(),
            report.failed.len(),
        ))?;
        if report.undecided.len() > paying {
            let idle = report.undecided.len() - paying;
            print(format_args!(
                "{idle} more pay for no plan and have no certain match; --json lists them.\n"
            ))?;
        }
        if report.done.iter().any(|done| done.plan.is_some()) {
            print(outlook)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns a function that shows the progress on a terminal.
pub fn show_progress(listed: &'static str) -> impl Fn(Progress) {
    let (listed, done) = (progress(listed), progress("customers processed"));
    move |progress| match progress {
        Progress::Listed(count) => listed(count),
        Progress::Done(count) => done(count),
    }
}

pub fn description(done: &Done) -> String {
    let stripe_customer = stripe_customer(&done.buyer, done.email.as_ref());
    let plan = paid_plan(done.plan.as_deref());
    let customer = done.customer_id.as_deref().unwrap_or("cust_…");
    let action = match done.action {
        "linked_by_metadata" => "linked by metadata",
        "linked_by_email" => "linked by verified email",
        "created" => "account created",
        "claimed" => "linked by your claim",
        _ => "already linked, synced now",
    };
    let changes: Vec<_> = done.changes.iter().map(|change| format!("; {change}")).collect();
    format!("{stripe_customer}{plan} -> {customer}: {action}{}", changes.concat())
}

pub fn stripe_customer(buyer: &BuyerId, email: Option<&Email>) -> String {
    let email = email.map(|email| format!(" ({email})")).unwrap_or_default();
    format!("{buyer}{email}")
}

pub fn paid_plan(plan: Option<&str>) -> String {
    plan.map(|plan| format!(", pays for {plan}")).unwrap_or_default()
}
