//! `licentia import`: brings in customers whom the vendor has already.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::backfill::show_progress;
use super::{print, print_json, with_app};
use crate::config::Config;
use crate::customer_file;
use crate::error::{Error, Result};
use crate::flows::Mode;
use crate::flows::import::{Report, customers};

pub const EXAMPLES: &str = "Examples:
  licentia import customers customers.csv --dry-run
  licentia import customers customers.csv";

const FORMAT: &str = "Examples:
  licentia import customers customers.csv --dry-run   only check the file
  licentia import customers customers.csv
  licentia import customers customers.csv --json

The file is CSV in UTF-8. Its first line names the columns, in any order:

  email               required; also the login
  name, company_name  the person's and the company's
  stripe_customer_id  cus_…, which is looked up at Stripe
  email_verified      yes or no [default: yes, you know the address to be theirs]";

/// Skipped rows that are shown: who runs a file a second time skips all of it.
const MAX_SHOWN: usize = 100;

#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an account for every customer in a CSV file
    ///
    /// The whole file is checked first, and every problem told with its line; if there is one, nobody is
    /// imported. Who has an account already is skipped and told, and nothing of theirs is changed.
    /// Imported customers have no password, so that nobody can log in to their accounts, no license and no
    /// trial, and nobody is mailed. Who pays at Stripe gets license and mail by
    /// `licentia stripe backfill`; who has a `stripe_customer_id` also when the server next compares
    /// everybody with Stripe, which it does at its start and daily. For others there is
    /// `licentia license issue`.
    #[command(after_help = FORMAT)]
    Customers {
        /// The CSV file
        file: PathBuf,
        /// Only check the file, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Answer in JSON, the problems of a file too
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
            (Ok(report), false) => tell(&report, dry_run),
            (Err(Error::Setup(problems)), true) => {
                print_json(&json!({ "problems": problems }))?;
                Err(Error::Setup(problems))
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn tell(report: &Report, dry_run: bool) -> Result<ExitCode> {
    for skipped in report.skipped.iter().take(MAX_SHOWN) {
        print(format_args!("line {}: {} has an account, skipped\n", skipped.line, skipped.email))?;
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
            "{linked} are linked to Stripe: `licentia stripe backfill` fetches what they pay for, and \
             mails them their licenses.\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
