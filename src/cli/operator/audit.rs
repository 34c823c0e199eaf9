//! `licentia audit`: prints the audit log.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::app::App;
use crate::cli::{note, print, print_json, with_app};
use crate::config::Config;
use crate::domain::ids::CustomerId;
use crate::domain::operator::export;
use crate::domain::operator::timeline::Entry;
use crate::domain::page::{Cursor, PageRequest};
use crate::error::Result;
use crate::flows::operator::audit::{Filter, list};

pub const EXAMPLES: &str = "Examples:
  licentia audit
  licentia audit --customer cust_0123… --json
  licentia audit --action license.granted --limit 1000 --format csv > grants.csv
  licentia audit --actor operator";

/// The most entries of a page.
const MAX_PAGE: u64 = 1000;

/// A format for other programs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table; a text that looks like a formula begins with '
    Csv,
    /// One JSON object in each line
    Jsonl,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only entries about this customer
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<CustomerId>,
    /// Only this action, such as `license.granted`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only this actor: customer, operator, system, or admin:akey_…
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// The maximum number of entries to print
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=MAX_PAGE))]
    limit: u64,
    /// The place of the next page, as printed after the previous one
    #[arg(long, value_name = "PLACE")]
    after: Option<Cursor>,
    /// Print a format for other programs
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        let filter = Filter { customer_id: self.customer, action: self.action, actor: self.actor };
        let limit = usize::try_from(self.limit).unwrap_or(1);
        let page = list(app, &filter, &PageRequest { after: self.after, limit }).await?;
        let next = page.next_after.map(|cursor| cursor.to_string());
        if self.json {
            let entries: Vec<_> = page.entries.iter().map(export::json).collect();
            return print_json(&json!({ "entries": entries, "next_after": next }));
        }
        match self.format {
            Some(Format::Csv) => print(export::csv(&page.entries))?,
            Some(Format::Jsonl) => print(export::json_lines(&page.entries))?,
            None => {
                for entry in page.entries {
                    let customer = entry.customer_id.clone();
                    let customer = customer.map_or("-".to_owned(), |id| id.to_string());
                    let Entry { at, by, text, .. } = Entry::of_action(entry);
                    print(format_args!("{at}  {by}  {customer}  {text}\n"))?;
                }
                ExitCode::SUCCESS
            }
        };
        if let Some(next) = next {
            note(format_args!("There are more: --after {next}\n"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
