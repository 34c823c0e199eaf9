//! `licentia admin-key`: creates, lists and revokes the keys for `/api/admin`. The rules are in
//! [`crate::flows::operator::admin_key`].

use std::fmt::Display;
use std::process::ExitCode;

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::{note, print, with_app, write_out};
use crate::config::Config;
use crate::domain::contact::DisplayName;
use crate::domain::ids::AdminKeyId;
use crate::domain::operator::admin_key::{Scope, StoredAdminKey};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::operator::admin_key;

pub const EXAMPLES: &str = "Examples:
  licentia admin-key create --name 'Ada, support' --scope support
  licentia admin-key list
  licentia admin-key revoke akey_0123456789abcdef0123456789abcdef

  curl -H \"Authorization: Bearer $ADMIN_KEY\" http://127.0.0.1:3100/api/admin/drift";

/// The longest validity of a key with an end, in days: ten years.
const MAX_DAYS: i64 = 3650;

#[derive(Debug, Args)]
pub struct AdminKeyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an admin key; it is shown only once
    ///
    /// Only the key is written to standard output. Licentia stores its hash, so a lost key cannot
    /// be shown again: create another one.
    #[command(after_help = "Examples:
  licentia admin-key create --name 'Ada, support' --scope support
  licentia admin-key create --name monitoring --expires-in-days 30 > /run/secrets/admin_key
  licentia admin-key create --name 'Break glass' --scope admin --forever --json")]
    Create {
        /// The key's purpose or holder
        #[arg(long)]
        name: DisplayName,
        /// The key's rights: `read` may only read, `support` may also replay events, `admin` may do
        /// everything
        #[arg(long, default_value_t = Scope::Read)]
        scope: Scope,
        /// The key expires after this many days
        #[arg(long, value_name = "DAYS", default_value_t = 365, conflicts_with = "forever",
            value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
        expires_in_days: i64,
        /// The key never expires
        #[arg(long)]
        forever: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the admin keys, the newest first
    #[command(
        after_help = "Examples:\n  licentia admin-key list\n  licentia admin-key list --json"
    )]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke an admin key; every server refuses it from then on
    #[command(
        after_help = "Example:\n  licentia admin-key revoke akey_0123456789abcdef0123456789abcdef"
    )]
    Revoke {
        /// The key's id, as shown by `licentia admin-key list`; not the key itself
        id: AdminKeyId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl AdminKeyCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        with_app(config, async |app| self.act(app).await)
    }

    async fn act(self, app: &App) -> Result<ExitCode> {
        match self.action {
            Action::Create { name, scope, expires_in_days, forever, json } => {
                let end = (!forever).then(|| app.now() + TimeDelta::days(expires_in_days));
                let (stored, key) = admin_key::create(app, name, scope, end).await?;
                if json {
                    let mut made = to_json(&stored, app.now());
                    made["key"] = key.expose().into();
                    return hand_over(&stored.admin_key_id, format_args!("{made:#}\n"));
                }
                let (id, until) = (&stored.admin_key_id, until(&stored));
                note(format_args!(
                    "Created the admin key {id} ({scope}, {until}). It is shown only once:\n"
                ));
                hand_over(id, format_args!("{}\n", key.expose()))
            }
            Action::List { json } => list(&admin_key::list(app).await?, app.now(), json),
            Action::Revoke { id, json } => {
                let revoked = admin_key::revoke(app, &id).await?;
                if json {
                    return print(format_args!("{:#}\n", to_json(&revoked, app.now())));
                }
                print(format_args!(
                    "Revoked {id} ({}). Every server refuses it now.\n",
                    revoked.name.as_str()
                ))
            }
        }
    }
}

/// Writes a new key to standard output. Unlike [`print`], it fails when the pipe is closed: nobody
/// has the key then.
fn hand_over(id: &AdminKeyId, text: impl Display) -> Result<ExitCode> {
    write_out(text).map_err(|error| {
        Error::setup(format!(
            "the admin key could not be written to standard output ({error}), so nobody has it; \
             run `licentia admin-key revoke {id}`, then create another one"
        ))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn list(keys: &[StoredAdminKey], now: Timestamp, as_json: bool) -> Result<ExitCode> {
    if as_json {
        let keys: Vec<Value> = keys.iter().map(|key| to_json(key, now)).collect();
        return print(format_args!("{:#}\n", json!({ "admin_keys": keys })));
    }
    for key in keys {
        let used = key.last_used_at.map_or("never used".into(), |at| format!("last used {at}"));
        let (id, prefix, name) = (&key.admin_key_id, &key.visible_prefix, key.name.as_str());
        let state = match (state(key, now), key.revoked_at) {
            ("revoked", Some(at)) => format!("revoked {at}"),
            ("expired", _) => "expired".to_owned(),
            _ => until(key),
        };
        print(format_args!(
            "{id}  {prefix}…  {:<7}  {state}, created {}, {used}  {name}\n",
            key.scope.as_str(),
            key.created_at
        ))?;
    }
    if keys.is_empty() {
        return print(
            "There are no admin keys. `licentia admin-key create --name NAME` creates one.\n",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn until(key: &StoredAdminKey) -> String {
    key.expires_at.map_or("until it is revoked".into(), |end| format!("until {end}"))
}

fn state(key: &StoredAdminKey, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.works(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "working",
        (None, false) => "expired",
    }
}

fn to_json(key: &StoredAdminKey, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "admin_key_id": key.admin_key_id.as_str(),
        "name": key.name.as_str(),
        "scope": key.scope.as_str(),
        "visible_prefix": key.visible_prefix,
        "state": state(key, now),
        "created_at": key.created_at.to_string(),
        "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at),
        "last_used_at": time(key.last_used_at),
    })
}
