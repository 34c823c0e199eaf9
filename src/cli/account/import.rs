//! `licentia import`: imports the vendor's existing customers. The file format is in
//! [`crate::customer_file`], the import itself in [`crate::flows::account::import`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::sale::backfill::show_progress;
use crate::cli::{print, print_json, with_app};
use crate::config::Config;
use crate::customer_file;
use crate::error::{Error, Result};
use crate::flows::Mode;
use crate::flows::account::import::{Report, customers};

pub const EXAMPLES: &str = "Examples:
  licentia import customers customers.csv --dry-run
  licentia import customers customers.csv";

const FORMAT: &str = "Examples:
  licentia import customers customers.csv --dry-run   check the file, change nothing
  licentia import customers customers.csv
  licentia import customers customers.csv --json

The file is CSV in UTF-8. Its first line names the columns, in any order:

  email               required; the customer logs in with it
  name, company_name  the names of the person and the company
  stripe_customer_id  cus_…; it must exist at Stripe
  email_verified      yes or no: does the address belong to the customer? [default: yes]";

/// The most skipped rows that are shown: importing a file a second time skips every row.
const MAX_SHOWN: usize = 100;

#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an account for every customer in a CSV file
    ///
    /// The whole file is checked first, and every problem is reported with its line. If there is a
    /// problem, no customer is imported. Customers who already have an account are listed, skipped
    /// and left unchanged. Imported accounts have no password, license or trial, and no mail is
    /// sent.
    ///
    /// `licentia stripe backfill` issues and mails licenses to customers who pay at Stripe.
    /// Customers with a `stripe_customer_id` also get theirs at the next reconciliation, which the
    /// server runs at startup and daily. For all others use `licentia license issue`.
    #[command(after_help = FORMAT)]
    Customers {
        /// The CSV file
        file: PathBuf,
        /// Check the file and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Print JSON, including the problems of the file
        #[arg(long)]
        json: bool,
    },
}

impl Import {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        let Action::Customers { file, dry_run, json } = self.action;
        let mode = if dry_run { Mode::DryRun } else { Mode::Apply };
        let imported = customer_file::load(&file).and_then(|rows| {
            with_app(config, async |app| {
                customers(app, rows, mode, show_progress("customers listed at Stripe")).await
            })
        });
        match (imported, json) {
            (Ok(report), true) => print_json(&report),
            (Ok(report), false) => print_report(&report, dry_run),
            (Err(Error::Setup(problems)), true) => {
                print_json(&json!({ "problems": problems }))?;
                Err(Error::Setup(problems))
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn print_report(report: &Report, dry_run: bool) -> Result<ExitCode> {
    for skipped in report.skipped.iter().take(MAX_SHOWN) {
        let (line, email) = (skipped.line, &skipped.email);
        print(format_args!("line {line}: {email} already has an account; skipped\n"))?;
    }
    if let Some(more) = report.skipped.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        print(format_args!("… and {more} more; --json lists them\n"))?;
    }
    let done = if dry_run { "would be imported" } else { "imported" };
    let (imported, skipped) = (report.imported, report.skipped.len());
    print(format_args!("{imported} customers {done}, {skipped} skipped.\n"))?;
    if report.linked > 0 {
        let linked = report.linked;
        print(format_args!(
            "{linked} are linked to Stripe. `licentia stripe backfill` issues and mails licenses \
             for their subscriptions.\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
