//! `licentia status`: the lists of revoked licenses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{print, print_json, warn, with_app};
use crate::config::Config;
use crate::domain::license::status_list;
use crate::error::{Error, Result};
use crate::flows::license::status_list::{all, signed};
use crate::keys::bundle;

pub const EXAMPLES: &str = "Examples:
  licentia status export
  licentia status export --out /media/usb";

/// The warning about lists that apps with this bundle do not use.
const BUNDLE_LACKS_KEY: &str = "the key bundle lacks the key that signed the lists, so they \
                                revoke nothing on a machine without a network: sign a new bundle \
                                (licentia keys bundle --help), and export again";

#[derive(Debug, Args)]
pub struct StatusCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the signed lists of revoked licenses to files
    ///
    /// Carry them to machines without a network, with the key bundle that is written beside them,
    /// `license-keys.jwt`. An app there gives the bundle and the list that its license names to the
    /// verifier; `licentia license verify --keys FILE --status FILE` does the same. Each file has
    /// the text that its address returns.
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

/// The result of an export.
struct Exported {
    lists: Vec<Written>,
    /// The key bundle. `None` if there is none, or no list.
    keys: Option<PathBuf>,
}

impl StatusCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        let Action::Export(export) = self.action;
        export.run(config)
    }
}

impl Export {
    fn run(self, config: &Config) -> Result<ExitCode> {
        let Exported { lists: written, keys } = with_app(config, async |app| {
            let bundle = app.keys.bundle();
            warn(bundle::end_warning(app.keys.current().bundle.as_ref(), app.now()).as_slice());
            let content = bundle.as_deref().and_then(bundle::read).map(|claims| claims.content);
            let (mut written, mut is_known) = (Vec::new(), true);
            for list in all(app).await? {
                let signed = signed(app, list.list_id).await?;
                is_known &= content.as_ref().is_none_or(|content| content.trusts(&signed.kid));
                let name = format!("license-status-{}.jwt", list.list_id);
                written.push(Written {
                    file: write(&self.out, &name, &signed.text)?,
                    uri: status_list::uri(&list.origin, list.list_id),
                    issued_at: signed.issued_at.to_string(),
                });
            }
            if !is_known {
                warn(&[BUNDLE_LACKS_KEY.to_owned()]);
            }
            let bundle = bundle.filter(|_| !written.is_empty());
            let write_keys = |text: String| write(&self.out, "license-keys.jwt", text.as_bytes());
            Ok(Exported { lists: written, keys: bundle.map(write_keys).transpose()? })
        })?;
        if self.json {
            let lists: Vec<_> = written
                .iter()
                .map(|list| json!({ "file": list.file, "uri": list.uri, "issued_at": list.issued_at }))
                .collect();
            return print_json(&json!({ "lists": lists, "keys": keys }));
        }
        if written.is_empty() {
            return print("There is no status list yet. The first license opens one.\n");
        }
        let lines = written.iter().map(|list| {
            format!("{}  {}  signed {}\n", list.file.display(), list.uri, list.issued_at)
        });
        let keys = keys.map(|file| format!("{}  the key bundle\n", file.display()));
        print(lines.chain(keys).collect::<String>())
    }
}

/// Writes a text to a file in the folder, which then has either the old text or the new one.
fn write(folder: &Path, name: &str, text: &[u8]) -> Result<PathBuf> {
    let file = folder.join(name);
    let unfinished = file.with_extension("jwt.part");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&unfinished, text))
        .and_then(|()| fs::rename(&unfinished, &file))
        .map_err(|error| Error::setup(format!("{} was not written: {error}", file.display())))?;
    Ok(file)
}
