//! `licentia reconcile`: compares everybody with Stripe.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{NO, print, progress, wait};
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::Result;
use crate::flows::reconcile::{AT_ONCE, Report, everybody};
use crate::flows::settle::Intent;
use crate::random::Random;

pub const EXAMPLES: &str = "Examples:
  licentia reconcile --dry-run      only look
  licentia reconcile --json

Exits with 0 when nothing was found or everything is repaired, with 1 when something is left.";

#[derive(Debug, Args)]
pub struct Reconcile {
    /// Change nothing; exit with 1 if something differs
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl Reconcile {
    pub fn run(&self, config: &Config) -> Result<ExitCode> {
        let intent = if self.dry_run { Intent::Look } else { Intent::Repair };
        let report = wait(async {
            let app = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
            let report = everybody(&app, intent, AT_ONCE, progress("customers compared")).await;
            app.store.close().await;
            report
        })?;
        if self.json {
            let text = serde_json::to_string_pretty(&report).unwrap_or_default();
            print(format_args!("{text}\n"))?;
        } else {
            self.tell(&report)?;
        }
        let left = !report.failed.is_empty() || (self.dry_run && !report.drifted.is_empty());
        Ok(if left { ExitCode::from(NO) } else { ExitCode::SUCCESS })
    }

    fn tell(&self, report: &Report) -> Result<ExitCode> {
        for drifted in &report.drifted {
            print(format_args!("{}: {}\n", drifted.customer_id, drifted.changes.join("; ")))?;
        }
        if let Some(error) = &report.events_error {
            eprintln!("error: the events that were missed cannot be listed: {error}");
        }
        for failed in &report.failed {
            eprintln!("error: {}: {}", failed.customer_id, failed.error);
        }
        let done = if self.dry_run { "would be repaired" } else { "repaired" };
        print(format_args!(
            "{} customers compared with Stripe: {} {done}, {} failed; {} events had been missed.\n",
            report.checked,
            report.drifted.len(),
            report.failed.len(),
            report.missed_events
        ))
    }
}
