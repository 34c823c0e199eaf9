//! `licentia status`: the lists of revoked licenses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{print, print_json, with_app};
use crate::config::Config;
use crate::domain::license::status_list;
use crate::error::{Error, Result};
use crate::flows::license::status_list::{all, signed};

pub const EXAMPLES: &str = "Examples:
  licentia status export
  licentia status export --out /media/usb";

#[derive(Debug, Args)]
pub struct StatusCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the signed lists of revoked licenses to files
    ///
    /// Carry them to machines without a network. An app there gives the list that its license names
    /// to the verifier; `licentia license verify --status FILE` does the same. Each file has the
    /// text that the list's address returns.
    #[command(after_help = "Examples:
  licentia status export
  licentia status export --out /media/usb
  licentia status export --json")]
    Export(Export),
}

#[derive(Debug, Args)]
struct Export {
    /// The folder; it is created if it does not exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A written list.
struct Written {
    file: PathBuf,
    uri: String,
    issued_at: String,
}

impl StatusCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        let Action::Export(export) = self.action;
        export.run(config)
    }
}

impl Export {
    fn run(self, config: &Config) -> Result<ExitCode> {
        let written = with_app(config, async |app| {
            let mut written = Vec::new();
            for list in all(app).await? {
                let signed = signed(app, list.list_id).await?;
                written.push(Written {
                    file: write(&self.out, list.list_id, &signed.text)?,
                    uri: status_list::uri(&list.origin, list.list_id),
                    issued_at: signed.issued_at.to_string(),
                });
            }
            Ok(written)
        })?;
        if self.json {
            let lists: Vec<_> = written
                .iter()
                .map(|list| json!({ "file": list.file, "uri": list.uri, "issued_at": list.issued_at }))
                .collect();
            return print_json(&json!({ "lists": lists }));
        }
        if written.is_empty() {
            return print("There is no status list yet. The first license opens one.\n");
        }
        let lines = written.iter().map(|list| {
            format!("{}  {}  signed {}\n", list.file.display(), list.uri, list.issued_at)
        });
        print(lines.collect::<String>())
    }
}

/// Writes a list to its file in the folder, which then has either the old text or the new one.
fn write(folder: &Path, list_id: i64, text: &[u8]) -> Result<PathBuf> {
    let file = folder.join(format!("license-status-{list_id}.jwt"));
    let unfinished = file.with_extension("jwt.part");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, text))
        .and_then(|()| fs::rename(&unfinished, &file))
        .map_err(|error| Error::setup(format!("{} was not written: {error}", file.display())))?;
    Ok(file)
}
