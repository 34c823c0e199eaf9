//! `licentia keys`: generates, lists and revokes signing keys. The files are in [`crate::keys`].

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{print, with_app};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::flows::license::revoke_key;
use crate::keys::{KeyRing, KeyState};
use crate::random::Random;

pub const EXAMPLES: &str = "Examples:
  licentia keys list
  licentia keys generate         rotate: the new key signs from tomorrow
  licentia keys revoke Pkl-m-8B… the key is lost or was exposed";

#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Generate a signing key
    ///
    /// The first key signs at once. A later key is published at once and signs a day later, when
    /// every app that refreshes its key set daily has it. Older keys stay published, so that their
    /// licenses still verify. A key whose name lies further in the future (its clock was ahead) is
    /// renamed to sign before the new one.
    #[command(after_help = "Examples:\n  licentia keys generate\n  licentia keys generate --now")]
    Generate {
        /// Sign with it at once; apps refuse its licenses until they fetch the key set again
        #[arg(long)]
        now: bool,
    },
    /// Revoke a signing key that is lost or was exposed
    ///
    /// Stop the servers first. The key's file is renamed to `.revoked`, every license that it
    /// signed is revoked, and current licenses are reissued with the key that signs now; if there
    /// is none, one is generated. A revoked license cannot be refreshed: customers log in to get
    /// the new one. Ship the new key set to apps that are offline. If the command is interrupted,
    /// run it again.
    #[command(
        after_help = "Example:\n  licentia keys revoke Pkl-m-8BFxeJXJmk2rRpV2dlgfcbwrk8vIA3wtEZAbE"
    )]
    Revoke {
        /// The key's id, as shown by `licentia keys list` or by the error at startup
        // One key id in 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// List the signing keys, oldest first
    #[command(after_help = "Examples:\n  licentia keys list\n  licentia keys list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Keys {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action {
            Action::Generate { now } => generate(config, now),
            Action::Revoke { kid } => revoke(config, &kid),
            Action::List { json } => list(config, json),
        }
    }
}

fn generate(config: &Config, at_once: bool) -> Result<ExitCode> {
    let first = KeyRing::load(config)?.is_none();
    let random = Random::from_system()?;
    let (path, from) = KeyRing::add(config, SystemClock.now(), at_once, &random)?;
    let path = path.display();
    let next = if first { "Keep a backup of it." } else { "Restart the servers to publish it." };
    print(format_args!("Generated {path}; it signs from {from}. {next}\n"))
}

fn revoke(config: &Config, kid: &str) -> Result<ExitCode> {
    let had_file = match KeyRing::load(config)? {
        Some(ring) => ring.put_away(kid)?,
        None => false,
    };
    let now = SystemClock.now();
    let rest = KeyRing::load(config)?;
    let signs = rest.is_some_and(|ring| ring.signing(now).signs_from <= now);
    if !signs {
        KeyRing::add(config, now, true, &Random::from_system()?)?;
    }
    let (renewed, revoked) = with_app(config, async |app| revoke_key(app, kid).await)?;
    if !had_file && revoked == 0 {
        return Err(Error::setup(format!(
            "there is no key {kid:?}, and no license of it is left to revoke"
        )));
    }
    print(format_args!(
        "Revoked {revoked} licenses of the key {kid} and reissued {renewed}. Start the servers: \
         they mail the new licenses. Ship the new key set to apps that are offline.\n"
    ))
}

fn list(config: &Config, as_json: bool) -> Result<ExitCode> {
    let ring = KeyRing::load(config)?;
    let states: Vec<_> = ring.iter().flat_map(|ring| ring.states(SystemClock.now())).collect();
    if as_json {
        let keys: Vec<_> = states
            .iter()
            .map(|(key, state)| {
                let (kid, from) = (&key.kid, key.signs_from.to_string());
                json!({ "kid": kid, "state": state, "signs_from": from, "file": key.file })
            })
            .collect();
        return print(format_args!("{:#}\n", json!({ "keys": keys })));
    }
    if states.is_empty() {
        let directory = config.keys_dir.display();
        return print(format_args!(
            "There are no keys in {directory}. `licentia serve` or `licentia keys generate` \
             creates one.\n"
        ));
    }
    let mut text = String::new();
    for (key, state) in states {
        let state = match state {
            KeyState::Next => "next",
            KeyState::Signing => "signing",
            KeyState::Retired => "retired",
        };
        let file =
            key.file.as_ref().map_or("the environment".into(), |file| file.to_string_lossy());
        text.push_str(&format!("{state:<7}  {}  from {}  {file}\n", key.kid, key.signs_from));
    }
    print(text)
}
