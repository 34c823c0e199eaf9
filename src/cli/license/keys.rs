//! `licentia keys`: generates, lists, retires and revokes signing keys. The root key and the key
//! bundle are in [`super::root`]. The files are in [`crate::keys`].

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::root::{BundleCommand, RootCommand};
use crate::cli::{print, wait, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::flows::license::keys::retire;
use crate::keys::KeyRing;
use crate::random::Random;

mod database;
mod list;
mod revoke;

pub(super) use database::KeyDatabase;

pub const EXAMPLES: &str = "Examples:
  licentia keys list
  licentia keys generate         rotate: the new key signs from tomorrow
  licentia keys retire Pkl-m-8B… a former key signs nothing any more
  licentia keys revoke Pkl-m-8B… the key is lost or was exposed
  licentia keys root export      the root key that apps pin
  licentia keys bundle show      the key bundle that apps get

docs/keys.md describes rotation, a root key off the server, and what to do after a theft.";

#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Generate a signing key
    ///
    /// The first key signs at once. A later key is published within a minute, without a restart,
    /// and signs a day later, when every app that refreshes its key set daily has it. If the root
    /// key is not on this server, the new key signs a day after the signed bundle was imported.
    /// Older keys stay published, so that their licenses still verify.
    #[command(after_help = "Examples:\n  licentia keys generate\n  licentia keys generate --now")]
    Generate {
        /// Sign with it at once; apps refuse its licenses until they fetch the keys again
        #[arg(long)]
        now: bool,
        /// Also if none of the servers' keys is on this machine, because all are lost
        #[arg(long)]
        former_keys_are_lost: bool,
    },
    /// Retire a signing key: it signs nothing any more, and its licenses still verify
    ///
    /// The key gets an end in the key bundle: apps that pin the root refuse licenses dated later.
    /// It stays published. Another key must be ready to sign. Afterwards its file may be removed. A
    /// key that somebody else has must be revoked.
    #[command(
        after_help = "Example:\n  licentia keys retire Pkl-m-8BFxeJXJmk2rRpV2dlgfcbwrk8vIA3wtEZAbE"
    )]
    Retire {
        /// The key's id, as shown by `licentia keys list`
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
    /// Revoke a signing key that is lost or was exposed
    ///
    /// The key bundle lists the key as revoked, its file is renamed to `.revoked`, every license
    /// that it signed is revoked, and current licenses are reissued with the key that signs now; if
    /// there is none, one is generated. If the keys are mounted read-only, add a new key to the
    /// Secret first, and remove the revoked one from it afterwards. Running servers notice within a
    /// minute. A revoked license cannot be refreshed: customers get the new one by mail, or log in.
    /// Ship the new key bundle or key set to apps that are offline. If the command is interrupted,
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
    /// Record new key files and report problems
    ///
    /// Running servers read the files and the database again every 20 seconds, and at once on
    /// SIGHUP. This command does the same once, also without a server, and reports what is wrong.
    #[command(after_help = "Example:\n  licentia keys reload")]
    Reload,
    /// Create, show and export the root key, which apps pin
    #[command(subcommand_required = true)]
    Root(RootCommand),
    /// Show, sign and import the key bundle
    #[command(subcommand_required = true)]
    Bundle(BundleCommand),
}

impl Keys {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action {
            Action::Generate { now, former_keys_are_lost } => {
                wait(generate(config, now, former_keys_are_lost))
            }
            Action::Retire { kid } => wait(async {
                let database = KeyDatabase::open_to_change(config).await?;
                database.register(config).await?;
                let end = retire(&database.keys(), &kid, SystemClock.now()).await?;
                let bundle = database.publish(config).await?;
                database.store.close().await;
                print(format_args!(
                    "Retired {kid}. Apps that pin the root refuse licenses dated {end} or later, \
                     once they have the new key bundle. {bundle}\n"
                ))
            }),
            Action::Revoke { kid } => wait(revoke::run(config, &kid)),
            Action::List { json } => list::run(config, json),
            Action::Reload => wait(async {
                let database = KeyDatabase::open_to_change(config).await?;
                database.must_share_a_key(config, "").await?;
                database.register(config).await?;
                let bundle = database.publish(config).await?;
                database.store.close().await;
                print(format_args!("Running servers follow within a minute. {bundle}\n"))
            }),
            Action::Root(command) => command.run(config),
            Action::Bundle(command) => command.run(config),
        }
    }
}

/// The end of the advice for a generation where all keys are lost.
const GENERATE_ANYWAY: &str = "; to keep their licenses valid, add --former-keys-are-lost, and \
                               retire them afterwards (docs/keys.md)";

async fn generate(config: &Config, at_once: bool, are_lost: bool) -> Result<ExitCode> {
    let database = KeyDatabase::open_to_change_if_there(config).await?;
    if let Some(database) = database.as_ref().filter(|_| !are_lost) {
        database.must_share_a_key(config, GENERATE_ANYWAY).await?;
    }
    let is_first = KeyRing::load(config)?.is_none();
    let random = Random::from_system()?;
    let now = SystemClock.now();
    let (path, from) = KeyRing::add(config, now, at_once, &random)?;
    let shown = path.display();
    let ring = KeyRing::load(config)?;
    let new = ring.as_ref().and_then(|ring| ring.of_file(&path)).map(|key| key.kid.clone());
    let (Some(ring), Some(kid)) = (ring, new) else {
        return Err(Error::Internal("the generated key is missing".into()));
    };
    let record = async |database: KeyDatabase| {
        warn(ring.warnings());
        let at_once = at_once.then_some(kid.as_str());
        warn(&database.keys().register(&ring, at_once, now).await?);
        let bundle = database.publish(config).await?;
        let stored = database.stored().await?;
        database.store.close().await;
        Ok((stored, bundle))
    };
    let recorded = match database {
        Some(database) => record(database).await.map(Some),
        None => Ok(None),
    };
    let backup = if is_first { " Keep a backup of it." } else { "" };
    match recorded {
        Ok(Some((stored, bundle))) => {
            let record = stored.record(&kid);
            let from = record.and_then(|record| record.ready_from(stored.bundle.is_some()));
            let from = match from {
                Some(from) => format!("it signs from {from}"),
                None if at_once => "it signs once the signed key bundle is imported".to_owned(),
                None => "it signs a day after the signed key bundle was imported".to_owned(),
            };
            print(format_args!(
                "Generated {shown}; {from}.{backup} Running servers publish it within a minute. \
                 {bundle}\n"
            ))
        }
        // The servers record the key when they see it.
        Ok(None) => print(format_args!(
            "Generated {shown}; it signs from {from}.{backup} Servers on this directory publish it \
             within a minute.\n"
        )),
        Err(Error::Setup(problems)) => {
            warn(&problems);
            print(format_args!("Generated {shown}, but it is not in the key bundle yet.{backup}\n"))
        }
        Err(error) => Err(error),
    }
}
