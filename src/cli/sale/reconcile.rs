//! `licentia reconcile`: compares every customer with Stripe once, repairs drift and prints it. The
//! flow is [`crate::flows::sale::reconcile`].

use std::process::ExitCode;

use clap::Args;

use crate::cli::{NO, complain, print, print_json, progress, stripe_of, with_app};
use crate::config::Config;
use crate::domain::sale::buyer::UnknownBuyer;
use crate::error::Result;
use crate::flows::Mode;
use crate::flows::sale::reconcile::{AT_ONCE, Alerted, Report, run as reconcile};

pub const EXAMPLES: &str = "Examples:
  licentia reconcile --dry-run      show the drift, change nothing
  licentia reconcile --json

Exits with 0 when there is no drift or all of it was repaired. Exits with 1 when a part failed (a
customer could not be compared, the missed events or the account's subscriptions could not be
listed, or the result could not be recorded), or when a customer needs your action. For example,
they pay twice, pay for something without effect, pay for a price of no plan and have no license, or
pay for a plan without a linked account. The notes say what to do.";

#[derive(Debug, Args)]
pub struct Reconcile {
    /// Change nothing; exit with 1 if there is drift or an event was missed
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reconcile {
    pub fn run(&self, config: &Config) -> Result<ExitCode> {
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Apply };
        stripe_of(config)?;
        let report = with_app(config, async |app| {
            reconcile(app, mode, AT_ONCE, progress("customers compared")).await
        })?;
        if self.json { print_json(&report) } else { self.print_report(&report) }?;
        Ok(if self.is_done(&report) { ExitCode::SUCCESS } else { ExitCode::from(NO) })
    }

    fn is_done(&self, report: &Report) -> bool {
        let has_drift = !report.drifted.is_empty() || report.missed_events > 0;
        let needs_action = report.need_action() > 0 || !report.unknown_buyers.is_empty();
        !(report.is_unfinished() || needs_action || (self.dry_run && has_drift))
    }

    fn print_report(&self, report: &Report) -> Result<ExitCode> {
        for drifted in &report.drifted {
            print(format_args!("{}: {}\n", drifted.customer_id, drifted.changes.join("; ")))?;
        }
        for Alerted { customer_id, alerts, .. } in &report.alerts {
            for alert in alerts {
                print(format_args!("note: {customer_id}: {alert}\n"))?;
            }
        }
        for UnknownBuyer { buyer_id, plan, .. } in &report.unknown_buyers {
            print(format_args!(
                "note: {buyer_id} pays for {plan} and is not linked: \
                 `licentia stripe claim {buyer_id}`\n"
            ))?;
        }
        if let Some(error) = &report.buyers_error {
            complain(format_args!("the unknown buyers cannot be found: {error}"));
        }
        if let Some(error) = &report.record_error {
            complain(format_args!("the result cannot be recorded: {error}"));
        }
        for failed in &report.failed {
            complain(format_args!("{}: {}", failed.customer_id, failed.error));
        }
        let done = if self.dry_run { "would be repaired" } else { "repaired" };
        let missed = match &report.events_error {
            Some(error) => {
                complain(format_args!("missed events cannot be listed or stored: {error}"));
                String::new()
            }
            None => format!("; {} events were missed", report.missed_events),
        };
        print(format_args!(
            "{} customers compared with Stripe: {} {done}, {} failed, {} need your action{missed}.\n",
            report.checked,
            report.drifted.len(),
            report.failed.len(),
            report.need_action() + report.unknown_buyers.len(),
        ))
    }
}
