//! `licentia keys`: generates, lists, retires and revokes signing keys. The root key and the key
//! bundle are in [`super::root`]. The files are in [`crate::keys`].

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::root::{BundleCommand, RootCommand};
use crate::app::App;
use crate::app::command::CommandDatabase;
use crate::app::keys::{KeyStore, StoredKeys, root_key};
use crate::cli::{print, wait, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::count::counted;
use crate::domain::ids::CustomerId;
use crate::domain::license::signing_key::{KeyRecord, KeyState, signing};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::FailPoints;
use crate::flows::license::keys::{
    KeyRevocation, Replaced, is_known, mark_revoked, retire, revoke_key,
};
use crate::keys::{KeyRing, bundle, command_for_a_secret};
use crate::plans;
use crate::random::Random;
use crate::store::Store;

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
            Action::Generate { now } => wait(generate(config, now)),
            Action::Retire { kid } => wait(async {
                let database = KeyDatabase::open_to_change(config).await?;
                let end = retire(&database.keys(), &kid, SystemClock.now()).await?;
                let bundle = database.publish(config).await?;
                database.store.close().await;
                print(format_args!(
                    "Retired {kid}. Apps that pin the root refuse licenses dated {end} or later, \
                     once they have the new key bundle. {bundle}\n"
                ))
            }),
            Action::Revoke { kid } => wait(revoke(config, &kid)),
            Action::List { json } => list(config, json),
            Action::Reload => wait(async {
                let ring = KeyRing::load(config)?;
                let database = KeyDatabase::open_to_change(config).await?;
                if let Some(ring) = &ring {
                    database.keys().register(ring, None, SystemClock.now()).await?;
                }
                let bundle = database.publish(config).await?;
                database.store.close().await;
                print(format_args!("Running servers follow within a minute. {bundle}\n"))
            }),
            Action::Root(command) => command.run(config),
            Action::Bundle(command) => command.run(config),
        }
    }
}

/// The database with the records of the keys.
pub(super) struct KeyDatabase {
    pub store: Store,
    issuer: String,
    fail_points: FailPoints,
}

impl KeyDatabase {
    /// Opens it for a command that only reads.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no database, or its schema is older.
    pub async fn open(config: &Config) -> Result<Self> {
        Ok(Self::open_and_compare(config).await?.0)
    }

    /// Opens it for a command that changes something. To be called before any change.
    ///
    /// # Errors
    /// As [`Self::open`], and when the plans file is for another product than the server's.
    pub async fn open_to_change(config: &Config) -> Result<Self> {
        let (own, fits) = Self::open_and_compare(config).await?;
        fits.map(|()| own)
    }

    /// Opens it as [`Self::open_to_change`] does; `None` if it cannot be opened yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the plans file is for another product than the server's.
    pub async fn open_to_change_if_there(config: &Config) -> Result<Option<Self>> {
        match Self::open_and_compare(config).await {
            Ok((own, fits)) => fits.map(|()| Some(own)),
            Err(Error::Setup(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens it. Returns also whether the plans file is for the server's product.
    async fn open_and_compare(config: &Config) -> Result<(Self, Result<()>)> {
        let plans = plans::load(config.plans_file.as_deref())?;
        let mut database = CommandDatabase::open(config).await?;
        let issuer = database.issuer(&plans);
        warn(&database.warnings);
        let fits = database.must_be_of_product(&plans);
        let fail_points = FailPoints::from_environment();
        Ok((Self { store: database.store, issuer, fail_points }, fits))
    }

    pub fn keys(&self) -> KeyStore<'_> {
        KeyStore { store: &self.store, issuer: &self.issuer, fail_points: &self.fail_points }
    }

    pub async fn stored(&self) -> Result<StoredKeys> {
        StoredKeys::read(&mut self.store.read().await?).await
    }

    /// Signs a new bundle if that is due and the root key is here. Returns what the operator has to
    /// do or know, in a sentence.
    pub async fn publish(&self, config: &Config) -> Result<String> {
        let ring = KeyRing::load(config)?;
        let root = match &ring {
            Some(ring) => root_key(config, ring, &self.store, &Random::from_system()?).await?,
            None => None,
        };
        if let Some(root) = root {
            self.keys().publish(&root, Timestamp::saturating(0), SystemClock.now()).await?;
        }
        let (stored, now) = (self.stored().await?, SystemClock.now());
        warn(bundle::end_warning(stored.bundle.as_ref(), now).as_slice());
        Ok(match (&stored.bundle, stored.next_content(now)) {
            (Some(bundle), None) => format!("The key bundle {} is up to date.", bundle.seq),
            (Some(_), Some(_)) => "The root key is not on this server: sign the new key bundle \
                                   with it (licentia keys bundle --help)."
                .to_owned(),
            (None, _) => "There is no key bundle (licentia keys root --help).".to_owned(),
        })
    }
}

async fn generate(config: &Config, at_once: bool) -> Result<ExitCode> {
    let database = KeyDatabase::open_to_change_if_there(config).await?;
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
        database.keys().register(&ring, at_once.then_some(kid.as_str()), now).await?;
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

async fn revoke(config: &Config, kid: &str) -> Result<ExitCode> {
    let database = KeyDatabase::open_to_change(config).await?;
    let RevokedKey { marked, bundle, todo } = replace_revoked(config, &database, kid).await?;
    database.store.close().await;
    // Its warnings were printed when the database was opened.
    let (app, _) = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
    let done = revoke_key(&app, kid).await;
    // Said whatever becomes of the licenses.
    let todo = todo.map(|todo| format!("the key is revoked, but its private part is here: {todo}"));
    warn(todo.as_slice());
    app.store.close().await;
    let Replaced { reissued, revoked, without } = done?;
    let before = match marked {
        KeyRevocation::Before => "The key was revoked before; the rest is done now. ",
        KeyRevocation::Now | KeyRevocation::Unknown => "",
    };
    let revoked = counted(revoked, "license");
    print(format_args!(
        "{before}Revoked {revoked} of the key {kid} and reissued {reissued}. Running servers \
         notice within a minute, and mail the new licenses. {bundle} Ship the new keys to apps \
         that are offline.\n"
    ))?;
    if without.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let ids: Vec<_> = without.iter().map(CustomerId::as_str).collect();
    Err(Error::setup(format!(
        "these customers have no license now, because its plan is not in the plans file and its \
         text is damaged: {}. Put the plan back, and run the command again",
        ids.join(", ")
    )))
}

/// A key that is revoked, and replaced.
struct RevokedKey {
    marked: KeyRevocation,
    /// What the operator has to do or know about the bundle.
    bundle: String,
    /// What the operator has to do about the private part, if the command could not.
    todo: Option<String>,
}

/// Sees to it that another key signs, records that a key is revoked, and puts its file away. The
/// records decide, so a file that cannot be renamed stops nothing: a mounted Secret is read-only.
async fn replace_revoked(config: &Config, database: &KeyDatabase, kid: &str) -> Result<RevokedKey> {
    let now = SystemClock.now();
    let ring = KeyRing::load(config)?;
    if let Some(ring) = &ring {
        // Its own key too: one that no server has published cannot be revoked otherwise.
        database.keys().register(ring, None, now).await?;
    }
    let unknown = || Error::setup(format!("there is no key {kid:?}, and it signed no license"));
    if !is_known(&database.keys(), kid).await? {
        return Err(unknown());
    }
    // First: without another key, nothing could be issued after the revocation.
    let ring = with_another(config, ring, &database.stored().await?, kid, now)?;
    let marked = mark_revoked(&database.keys(), kid, now).await?;
    if marked == KeyRevocation::Unknown {
        return Err(unknown());
    }
    let stored = database.stored().await?;
    if !signs_now(&ring, &stored, now) {
        // A key that is there need not have been announced: no other one signs.
        let newest = ring.newest_usable(&stored.records, kid);
        database.keys().register(&ring, newest, now).await?;
    }
    let todo = ring.put_away(kid);
    Ok(RevokedKey { marked, bundle: database.publish(config).await?, todo })
}

/// Returns the keys with one that can sign instead of `kid`. Generates it if there is none.
///
/// # Errors
/// [`Error::Setup`] when no key can be generated here: the operator must add one first.
fn with_another(
    config: &Config,
    ring: Option<KeyRing>,
    stored: &StoredKeys,
    kid: &str,
    now: Timestamp,
) -> Result<KeyRing> {
    match ring {
        Some(ring) if ring.newest_usable(&stored.records, kid).is_some() => return Ok(ring),
        Some(ring) if !ring.has_files() => {
            return Err(Error::setup(format!(
                "no other key could sign, so {kid} is not revoked yet: set `signing_key` to a new \
                 key and `former_signing_keys` to this one, restart the servers, and run this \
                 command again\n  to make a key, run: {}",
                command_for_a_secret(now)
            )));
        }
        _ => {}
    }
    KeyRing::add(config, now, true, &Random::from_system()?).map_err(|error| match error {
        Error::Setup(problems) => Error::setup(format!(
            "no other key could sign, so {kid} is not revoked yet: add a new key to the Secret \
             first, wait until every server has it, and run this command again\n  \
             to make a key, run: {}\n  no key can be generated here: {}",
            command_for_a_secret(now),
            problems.join("; ")
        )),
        error => error,
    })?;
    KeyRing::load(config)?.ok_or_else(|| Error::setup("the new key is gone"))
}

/// Returns whether a key of a ring may sign now.
fn signs_now(ring: &KeyRing, stored: &StoredKeys, now: Timestamp) -> bool {
    let has_bundle = stored.bundle.is_some();
    let signs = signing(&stored.records, &ring.held(), has_bundle, now);
    signs.and_then(|key| key.ready_from(has_bundle)).is_some_and(|from| from <= now)
}

/// A key in the list.
struct Listed {
    kid: String,
    state: KeyState,
    from: Option<Timestamp>,
    file: Option<String>,
    record: Option<KeyRecord>,
}

fn list(config: &Config, as_json: bool) -> Result<ExitCode> {
    let (ring, now) = (KeyRing::load(config)?, SystemClock.now());
    let stored = wait(async {
        let database = KeyDatabase::open(config).await?;
        let stored = database.stored().await;
        database.store.close().await;
        stored
    });
    let stored = match stored {
        Ok(stored) => Some(stored),
        // Without a database, nothing was published yet.
        Err(Error::Setup(_)) => None,
        Err(error) => return Err(error),
    };
    let published = stored.as_ref().and_then(|stored| stored.bundle.as_ref());
    warn(bundle::end_warning(published, now).as_slice());
    let keys = listed(ring.as_ref(), stored, now);
    if as_json {
        let keys: Vec<_> = keys.iter().map(Listed::to_json).collect();
        return print(format_args!("{:#}\n", json!({ "keys": keys })));
    }
    if keys.is_empty() {
        let directory = config.keys_dir.display();
        return print(format_args!(
            "There are no keys in {directory}. `licentia serve` or `licentia keys generate` \
             creates one.\n"
        ));
    }
    print(keys.iter().map(Listed::to_line).collect::<String>())
}

fn listed(ring: Option<&KeyRing>, stored: Option<StoredKeys>, now: Timestamp) -> Vec<Listed> {
    let file = |kid: &str| {
        let key = ring?.key(kid)?;
        let file = key.file.as_ref().map(|file| file.to_string_lossy().into_owned());
        Some(file.unwrap_or_else(|| "the environment".to_owned()))
    };
    let StoredKeys { records, bundle, .. } = stored.unwrap_or_default();
    let has_bundle = bundle.is_some();
    let held = ring.map(KeyRing::held).unwrap_or_default();
    let signs = signing(&records, &held, has_bundle, now).map(|record| record.kid.clone());
    let is_known = |kid: &str| records.iter().any(|record| record.kid == kid);
    let unpublished = ring.into_iter().flat_map(|ring| ring.states(now));
    let unpublished = unpublished.filter(|(key, _)| !is_known(&key.kid)).map(|(key, state)| {
        let is_waiting = !records.is_empty();
        Listed {
            kid: key.kid.clone(),
            state: if is_waiting { KeyState::Next } else { state },
            from: Some(key.named_time).filter(|_| !is_waiting),
            file: file(&key.kid),
            record: None,
        }
    });
    let unpublished: Vec<_> = unpublished.collect();
    let of_records = records.into_iter().map(|record| Listed {
        state: record.state(signs.as_deref(), has_bundle, now),
        from: record.ready_from(has_bundle),
        file: file(&record.kid),
        kid: record.kid.clone(),
        record: Some(record),
    });
    of_records.chain(unpublished).collect()
}

impl Listed {
    fn to_json(&self) -> serde_json::Value {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let record = self.record.as_ref();
        json!({
            "kid": self.kid,
            "state": self.state,
            "signs_from": text(self.from),
            "file": self.file,
            "published_at": text(record.map(|record| record.published_at)),
            "bundled_at": text(record.and_then(|record| record.bundled_at)),
            "ends_at": text(record.and_then(|record| record.ends_at)),
            "revoked_at": text(record.and_then(|record| record.revoked_at)),
        })
    }

    fn to_line(&self) -> String {
        let file = self.file.as_deref().unwrap_or("its private part is not here");
        format!("{:<7}  {}  {}  {file}\n", self.state.as_str(), self.kid, self.times())
    }

    /// Returns the times that matter in this state, as text.
    fn times(&self) -> String {
        let record = self.record.as_ref();
        let time = |time: Option<Timestamp>| time.map_or("unknown".to_owned(), |at| at.to_string());
        match (self.state, self.from) {
            (KeyState::Revoked, _) => {
                format!("revoked at {}", time(record.and_then(|record| record.revoked_at)))
            }
            (KeyState::Retired, _) => {
                format!("until {}", time(record.and_then(|record| record.ends_at)))
            }
            (_, Some(from)) => format!("from {from}"),
            (_, None) if record.is_none() => {
                "not published yet: signs a day after a server has found it".to_owned()
            }
            (KeyState::Signing, None) => "not in the key bundle: sign a new bundle".to_owned(),
            (_, None) => "a day after the signed key bundle has it".to_owned(),
        }
    }
}
