//! `licentia plans`: compares the plans file with Stripe and with another file. The flows are
//! [`crate::flows::sale::setup`] and [`crate::flows::sale::plans`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::{
    NO, WRONG_CALL, complain, print, print_json, print_notes, problems, stripe_of, wait,
};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::plan_diff::{LicenseChange, PlansSnapshot};
use crate::error::Result;
use crate::flows::sale::account_check;
use crate::flows::sale::plans::changed_licenses;
use crate::flows::sale::setup::{self, Comparison};
use crate::plans;
use crate::store::{IfMissing, Store};
use crate::stripe::Stripe;

pub const EXAMPLES: &str = "Examples:
  licentia plans check                        compare the plans file with Stripe
  licentia plans diff plans.toml new.toml     whose license changes, and how";

const CHECK_EXAMPLES: &str = "Example:
  licentia plans check --json

Exits with 0 when everything matches, 1 when something differs at Stripe, 2 when the plans file is
wrong.";

const DIFF_EXAMPLES: &str = "Example:
  licentia plans diff plans.toml new.toml

Licenses change at their next refresh or sync after the server has started with the new file. Exits
with 0 when no license would change, 1 when one would, 2 when a file is wrong.";

#[derive(Debug, Args)]
pub struct PlansCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Compare the plans file with the prices at Stripe
    ///
    /// Reports each price of a plan or an add-on that Stripe does not have, that is archived there
    /// or whose product is, that Stripe Tax would refuse, or that has another amount, interval or
    /// currency. Also names the payment links whose buyers get no account or no invoice; these
    /// notes do not change the exit code. It changes nothing.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show whose license another plans file would change, and how
    ///
    /// Compares what each license that works now grants by the two files, trials and grants
    /// included, and lists what the new file no longer grants. Also names the licenses that another
    /// `[policy]` gives back. It changes nothing.
    #[command(after_help = DIFF_EXAMPLES)]
    Diff {
        /// The plans file in use
        old: PathBuf,
        /// The plans file to compare it with
        new: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl PlansCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action {
            Action::Check { json } => check(config, json),
            Action::Diff { old, new, json } => diff(config, &old, &new, json),
        }
    }
}

fn check(config: &Config, json: bool) -> Result<ExitCode> {
    let [catalog] = match load([config.plans_file.as_deref()]) {
        Ok(catalogs) => catalogs,
        Err(code) => return Ok(code),
    };
    let stripe = Stripe::new(stripe_of(config)?, Arc::new(SystemClock))?;
    let Comparison { differences, notes } = wait(async {
        let mut compared = setup::compare_prices(&stripe, &catalog).await?;
        compared.differences.extend(account_check::untaxed_prices(&stripe, &catalog).await?);
        compared.notes.extend(setup::payment_link_notes(&stripe, &catalog).await?);
        Ok(compared)
    })?;
    if json {
        print_json(&json!({ "differences": differences, "notes": notes }))?;
    } else if differences.is_empty() {
        print("The prices match those at Stripe.\n")?;
    }
    if !json {
        print_notes(&notes)?;
    }
    for difference in differences.iter().filter(|_| !json) {
        complain(difference);
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn diff(config: &Config, old: &Path, new: &Path, json: bool) -> Result<ExitCode> {
    let [old, new] = match load([Some(old), Some(new)]) {
        Ok(catalogs) => catalogs,
        Err(code) => return Ok(code),
    };
    let (mut changed, mut as_json) = (0, Vec::new());
    let report = |change: LicenseChange| {
        changed += 1;
        if json {
            as_json.push(change_json(&change));
            return Ok(());
        }
        let LicenseChange { customer_id, license_id, plan, .. } = &change;
        let differences = texts(&change).join("; ");
        print(format_args!("{customer_id} {license_id} {plan}: {differences}\n")).map(drop)
    };
    let count = wait(async {
        let store = Store::open(&config.database_url, IfMissing::Refuse).await?;
        store.must_be_current().await?;
        let count = changed_licenses(&store, (&old, &new), SystemClock.now(), report).await;
        store.close().await;
        count
    })?;
    let removals = PlansSnapshot::of(&old).removals(&new);
    let removals: Vec<_> = removals.iter().map(ToString::to_string).collect();
    if json {
        print_json(&json!({ "licenses": count, "changes": as_json, "removals": removals }))?;
    } else {
        print_notes(&removals)?;
        print(format_args!("{changed} of {count} licenses would change.\n"))?;
    }
    Ok(if changed == 0 { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Reads plans files. Reports the problems of all; then the exit code is the error.
fn load<const N: usize>(files: [Option<&Path>; N]) -> std::result::Result<[Catalog; N], ExitCode> {
    let (read, failed): (Vec<_>, Vec<_>) =
        files.into_iter().map(plans::load).partition(Result::is_ok);
    for error in failed.iter().filter_map(|result| result.as_ref().err()) {
        problems(error).iter().for_each(complain);
    }
    let read: Vec<_> = read.into_iter().flatten().collect();
    read.try_into().map_err(|_| ExitCode::from(WRONG_CALL))
}

fn texts(change: &LicenseChange) -> Vec<String> {
    change.differences.iter().map(ToString::to_string).collect()
}

fn change_json(change: &LicenseChange) -> Value {
    json!({
        "customer_id": change.customer_id.as_str(),
        "license_id": change.license_id.as_str(),
        "plan": change.plan,
        "changes": texts(change),
    })
}
