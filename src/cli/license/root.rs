//! `licentia keys root` and `licentia keys bundle`: the root key that apps pin, and the bundle that
//! it signs, on the server or on another machine by exchanging files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use licentia_verify::{Jwk, MAX_BUNDLE_BYTES};

use super::keys::KeyDatabase;
use crate::cli::{print, print_json, wait, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::count::counted;
use crate::domain::license::key_bundle::{BundleClaims, BundleContent, RootRecord};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::flows::license::keys::import_bundle;
use crate::keys::{KeyRing, RootKey, bundle};
use crate::random::Random;

#[derive(Debug, Args)]
pub struct RootCommand {
    #[command(subcommand)]
    action: RootAction,
}

#[derive(Debug, Subcommand)]
enum RootAction {
    /// Create the root key
    ///
    /// Once apps pin a root key, it is never replaced: they accept no other one. With `--out`, the
    /// key is written to a file on a machine that is not the server; no database is needed.
    #[command(after_help = "Examples:\n  licentia keys root init\n  \
                            licentia keys root init --out /media/safe/root.key")]
    Init {
        /// The file to write [default: root.key in the directory of the keys]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show which root key apps pin, and where its private part is
    #[command(after_help = "Example:\n  licentia keys root show")]
    Show,
    /// Print the public part (a JWK), which you build into your apps
    #[command(after_help = "Examples:\n  licentia keys root export > root.json\n  \
                            licentia keys root export --in /media/safe/root.key > root.json")]
    Export {
        /// The file of a root key [default: the one that the server publishes]
        #[arg(long = "in", value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct BundleCommand {
    #[command(subcommand)]
    action: BundleAction,
}

#[derive(Debug, Subcommand)]
enum BundleAction {
    /// Show the key bundle
    #[command(after_help = "Examples:\n  licentia keys bundle show\n  \
                            licentia keys bundle show --token > keys.jwt\n  \
                            licentia keys bundle show --unsigned > unsigned.json")]
    Show {
        /// Print the signed text, as apps get it
        #[arg(long, conflicts_with = "unsigned")]
        token: bool,
        /// Print the claims of the next bundle, to sign on another machine
        #[arg(long)]
        unsigned: bool,
    },
    /// Sign a key bundle, on any machine with the root key; no database is needed
    #[command(
        after_help = "Example:\n  licentia keys bundle sign --root-key /media/safe/root.key \
                            --in unsigned.json --out keys.jwt"
    )]
    Sign {
        /// The file of the root key itself, with its private part
        #[arg(long, visible_alias = "root", value_name = "FILE")]
        root_key: PathBuf,
        /// The claims, from `licentia keys bundle show --unsigned`
        #[arg(long = "in", value_name = "FILE")]
        unsigned: PathBuf,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Publish a key bundle that was signed on another machine
    #[command(after_help = "Examples:\n  licentia keys bundle import keys.jwt\n  \
                            licentia keys bundle import keys.jwt --public-root root.json")]
    Import {
        /// The signed bundle
        file: PathBuf,
        /// The public part of the root key, as `licentia keys root export` prints it; needed for
        /// the first bundle only
        #[arg(long = "public-root", value_name = "FILE")]
        root: Option<PathBuf>,
    },
}

impl RootCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action {
            RootAction::Init { out: Some(out) } => {
                let root = RootKey::create(config, Some(&out), &Random::from_system()?)?;
                created(&root)
            }
            RootAction::Init { out: None } => wait(init(config)),
            RootAction::Show => wait(show(config)),
            RootAction::Export { file: Some(file) } => {
                print_json(&read_root(&file, config)?.public.jwk())
            }
            RootAction::Export { file: None } => match known_root(config)? {
                Some(root) => print_json(&root.jwk()),
                None => Err(none()),
            },
        }
    }
}

fn none() -> Error {
    Error::setup(
        "there is no root key; `licentia serve` creates one if a signing key is a file, and \
         `licentia keys root init` at any time",
    )
}

fn created(root: &RootKey) -> Result<ExitCode> {
    let (path, kid) = (root.file.display(), &root.public.kid);
    print(format_args!(
        "Generated {path}, the root key {kid}. Keep a backup of it: apps accept no other one.\n"
    ))
}

/// Returns the root that the database knows, or else the one in the directory of the keys.
fn known_root(config: &Config) -> Result<Option<RootRecord>> {
    match KeyDatabase::read_if_there(config)?.and_then(|stored| stored.root) {
        Some(root) => Ok(Some(root)),
        None => Ok(RootKey::load(config)?.map(|root| root.public)),
    }
}

/// Returns the root key in a file. Warns if the server has another one.
///
/// # Errors
/// [`Error::Setup`] when it cannot be read, or is a signing key: of the name, the directory of the
/// keys and the database, one is enough to know that.
fn read_root(file: &Path, config: &Config) -> Result<RootKey> {
    let root = RootKey::read(file, config)?;
    // A database that cannot be reached stops nothing: the root key may be on another machine.
    let stored = KeyDatabase::read_if_there(config).ok().flatten();
    let kid = &root.public.kid;
    let has = |ring: KeyRing| ring.key(kid).is_some();
    let is_signing_key = root.is_named_as_signing_key()
        || KeyRing::load(config).is_ok_and(|ring| ring.is_some_and(has))
        || stored.as_ref().is_some_and(|stored| stored.record(kid).is_some());
    if is_signing_key {
        return Err(Error::setup(format!(
            "{} is the signing key {kid}; a root key signs the key bundle and nothing else, and \
             apps that pin this key could never get another one. Give the root key, which is \
             called root.key on a server",
            file.display()
        )));
    }
    let pinned = stored.and_then(|stored| stored.root);
    if let Some(pinned) = pinned.filter(|pinned| *pinned != root.public) {
        warn(&[format!(
            "the server publishes another root key, {}; apps that pin {kid} refuse its licenses",
            pinned.kid
        )]);
    }
    Ok(root)
}

async fn init(config: &Config) -> Result<ExitCode> {
    let database = KeyDatabase::open_to_change_if_there(config).await?;
    let stored = match &database {
        Some(database) => database.stored().await?.root,
        None => None,
    };
    let known = match stored {
        Some(root) => Some(root),
        None => RootKey::load(config)?.map(|root| root.public),
    };
    if let Some(root) = known {
        return Err(Error::setup(format!(
            "there is a root key already: {}. Apps that pin it accept no other one; restore its \
             file from a backup if it is lost",
            root.kid
        )));
    }
    let root = RootKey::create(config, None, &Random::from_system()?)?;
    // The server publishes the bundle when it has a database.
    let Some(database) = database else { return created(&root) };
    let publish = async || {
        database.register(config).await?;
        database.keys().publish(&root, Timestamp::saturating(0), SystemClock.now()).await?;
        database.store.close().await;
        Ok(())
    };
    match publish().await {
        Ok(()) | Err(Error::Setup(_)) => created(&root),
        Err(error) => Err(error),
    }
}

async fn show(config: &Config) -> Result<ExitCode> {
    let local = RootKey::load(config)?;
    let database = KeyDatabase::open(config).await?;
    let stored = database.stored().await?;
    database.store.close().await;
    let known = stored.root.or_else(|| local.as_ref().map(|root| root.public.clone()));
    let Some(known) = known else { return Err(none()) };
    let place = match local.filter(|root| root.public == known) {
        Some(root) => format!(
            "Its private part is on this server: {}. docs/keys.md says how to move it off.",
            root.file.display()
        ),
        None => "Its private part is not on this server.".to_owned(),
    };
    let bundle = match stored.bundle {
        Some(bundle) => format!("key bundle {}, published {}", bundle.seq, bundle.stored_at),
        None => "no key bundle yet".to_owned(),
    };
    print(format_args!("{}  {bundle}\n{place}\n", known.kid))
}

impl BundleCommand {
    pub fn run(self, config: &Config) -> Result<ExitCode> {
        match self.action {
            BundleAction::Show { token, unsigned } => wait(show_bundle(config, token, unsigned)),
            BundleAction::Sign { root_key, unsigned, out } => {
                sign(config, &root_key, &unsigned, &out)
            }
            BundleAction::Import { file, root } => import(config, &file, root.as_deref()),
        }
    }
}

async fn show_bundle(config: &Config, as_token: bool, unsigned: bool) -> Result<ExitCode> {
    let database = if unsigned {
        KeyDatabase::open_to_change(config).await?
    } else {
        KeyDatabase::open(config).await?
    };
    if unsigned {
        database.register(config).await?;
    }
    let stored = database.stored().await?;
    database.store.close().await;
    if unsigned {
        let content = BundleContent::of(&stored.records);
        return print_json(&content.claims(
            database.keys().issuer,
            stored.seq(),
            SystemClock.now(),
        ));
    }
    let bundle = stored
        .bundle
        .ok_or_else(|| Error::setup("there is no key bundle yet (licentia keys root --help)"))?;
    if as_token {
        return print(format_args!("{}\n", bundle.token));
    }
    let damaged = || Error::Internal("the stored key bundle is damaged".into());
    print_json(&bundle::read(&bundle.token).ok_or_else(damaged)?)
}

fn text_of(path: &Path) -> Result<String> {
    read_text(path, MAX_BUNDLE_BYTES as u64)
        .map_err(|problem| Error::setup(format!("{} cannot be read: {problem}", path.display())))
}

fn sign(config: &Config, root: &Path, unsigned: &Path, out: &Path) -> Result<ExitCode> {
    let root = read_root(root, config)?;
    let wrong = |error: &dyn std::fmt::Display| {
        Error::setup(format!("{} has no claims of a key bundle: {error}", unsigned.display()))
    };
    let claims: BundleClaims =
        serde_json::from_str(&text_of(unsigned)?).map_err(|error| wrong(&error))?;
    let token = root.sign(&claims)?;
    // A bundle that a verifier would refuse is not written. This machine's clock may be wrong, so
    // the server checks the times when it imports the bundle.
    bundle::open(&token, &root.public).map_err(|problem| wrong(&problem))?;
    // Whatever it is, it may be irreplaceable.
    let is_free = !out.exists() || text_of(out).is_ok_and(|text| bundle::read(&text).is_some());
    if !is_free {
        return Err(Error::setup(format!(
            "{} exists and is no key bundle; give another file with --out",
            out.display()
        )));
    }
    std::fs::write(out, format!("{token}\n"))
        .map_err(|error| Error::setup(format!("{} cannot be written: {error}", out.display())))?;
    let (seq, keys) = (claims.seq, keys_in(&claims));
    print(format_args!("Signed the key bundle {seq} with {keys}: {}\n", out.display()))
}

fn import(config: &Config, file: &Path, root: Option<&Path>) -> Result<ExitCode> {
    let token = text_of(file)?;
    let root = root.map(public_root).transpose()?;
    wait(async {
        let database = KeyDatabase::open_to_change(config).await?;
        database.register(config).await?;
        let now = SystemClock.now();
        let imported = import_bundle(&database.keys(), token.trim(), root.as_ref(), now).await;
        database.store.close().await;
        let claims = imported?;
        print(format_args!(
            "Published the key bundle {} with {}. Running servers follow within a minute.\n",
            claims.seq,
            keys_in(&claims)
        ))
    })
}

/// Returns how many keys a bundle has and revokes.
fn keys_in(claims: &BundleClaims) -> String {
    let (keys, revoked) = (claims.content.keys.len() as u64, claims.content.revoked.len() as u64);
    format!("{} and {}", counted(keys, "key"), counted(revoked, "revoked one"))
}

/// Returns the root key whose public part is in a file.
fn public_root(path: &Path) -> Result<RootRecord> {
    let text = text_of(path)?;
    let wrong = |error: &dyn std::fmt::Display| {
        Error::setup(format!("{} is not a public root key: {error}", path.display()))
    };
    licentia_verify::KeySet::from_root(&text, "any").map_err(|error| wrong(&error))?;
    let jwk: Jwk = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    Ok(RootRecord { kid: jwk.kid, public_key: jwk.x })
}
