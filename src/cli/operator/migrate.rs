//! `licentia migrate`: migrates the schema ahead of time, shows its version, or reverts it. The
//! server itself migrates at startup. The migrations are in [`crate::store::migrate`].

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{print, wait};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::migrate::Step;
use crate::store::{IfMissing, Store};

pub const EXAMPLES: &str = "Examples:
  licentia migrate              apply all missing migrations (the same as `up`)
  licentia migrate status
  licentia migrate down         revert the newest migration
  licentia migrate down --to 0  revert all migrations";

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Apply all missing migrations (the default)
    #[command(after_help = "Example:\n  licentia migrate up")]
    Up,
    /// Revert migrations; the data in their tables is lost
    #[command(after_help = "Examples:\n  licentia migrate down\n  licentia migrate down --to 0")]
    Down {
        /// Keep the migrations up to this version [default: all but the newest]
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
        /// Confirm that customer data will be deleted
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations the database has
    #[command(after_help = "Example:\n  licentia migrate status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Migrate {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        wait(async {
            let action = self.action.unwrap_or(Action::Up);
            let if_missing = match action {
                Action::Up => IfMissing::Create,
                Action::Down { .. } | Action::Status { .. } => IfMissing::Refuse,
            };
            let store = Store::open(&config.database_url, if_missing).await?;
            let done = match action {
                Action::Up => up(&store).await,
                Action::Down { to, yes } => down(&store, to, yes).await,
                Action::Status { json } => status(&store, json).await,
            };
            store.close().await;
            done
        })
    }
}

async fn up(store: &Store) -> Result<ExitCode> {
    let before = newest(&store.migration_status().await?);
    store.migrate_up().await?;
    let after = newest(&store.migration_status().await?);
    if before == after {
        return print(format_args!("The schema is up to date at version {after}.\n"));
    }
    print(format_args!("The schema was migrated from version {before} to {after}.\n"))
}

async fn down(store: &Store, to: Option<i64>, yes: bool) -> Result<ExitCode> {
    let steps = store.migration_status().await?;
    let before = newest(&steps);
    let earlier = steps.iter().map(|step| step.version).filter(|version| *version < before);
    let to = to.unwrap_or_else(|| earlier.max().unwrap_or(0)).max(0);
    if to >= before {
        return print(format_args!("Nothing to revert: the schema is at version {before}.\n"));
    }
    let customers = match steps.first() {
        Some(first) if first.applied => store.read().await?.count_customers().await?,
        _ => 0,
    };
    if customers > 0 && !yes {
        return Err(Error::setup(format!(
            "reverting version {before} to {to} permanently deletes data of {customers} customers; \
             take a backup, then add --yes"
        )));
    }
    store.migrate_down_to(to).await?;
    print(format_args!("The schema was reverted from version {before} to {to}.\n"))
}

async fn status(store: &Store, json: bool) -> Result<ExitCode> {
    let steps = store.migration_status().await?;
    if json {
        let migrations = serde_json::json!({ "version": newest(&steps), "migrations": steps });
        return print(format_args!("{migrations:#}\n"));
    }
    let mut text = String::new();
    for Step { version, description, applied } in &steps {
        let state = if *applied { "applied" } else { "missing" };
        text.push_str(&format!("{version:>4}  {state}  {description}\n"));
    }
    print(text)
}

fn newest(steps: &[Step]) -> i64 {
    steps.iter().filter(|step| step.applied).map(|step| step.version).max().unwrap_or(0)
}
