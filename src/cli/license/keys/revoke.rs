//! `licentia keys revoke`: revokes a key with its licenses, and sees to it that another one signs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::KeyDatabase;
use crate::app::App;
use crate::app::keys::StoredKeys;
use crate::cli::{print, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::count::counted;
use crate::domain::ids::CustomerId;
use crate::domain::license::signing_key::signing;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::license::keys::{KeyRevocation, Replaced, is_known, mark_revoked, revoke_key};
use crate::keys::{KeyRing, command_for_a_secret};
use crate::random::Random;

/// `licentia keys revoke`.
pub async fn run(config: &Config, kid: &str) -> Result<ExitCode> {
    let database = KeyDatabase::open_to_change(config).await?;
    let RevokedKey { marked, made, bundle, todo } = replace_revoked(config, &database, kid).await?;
    database.store.close().await;
    // Its warnings were printed when the database was opened.
    let (app, _) = App::open(config, Arc::new(SystemClock), Random::from_system()?).await?;
    let done = revoke_key(&app, kid).await;
    // Said whatever becomes of the licenses.
    let todo = todo.map(|todo| format!("the key is revoked, but its private part is here: {todo}"));
    warn(todo.as_slice());
    app.store.close().await;
    // It is needed whatever becomes of the licenses.
    if let Some(made) = made {
        print(format_args!(
            "Generated {}, which signs now. Every server needs this file. Keep a backup of it.\n",
            made.display()
        ))?;
    }
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
    /// The file of the key that was generated to replace it.
    made: Option<PathBuf>,
    /// A sentence about the bundle: its state, or the operator's next step.
    bundle: String,
    /// The operator's next step about the private part, if the command could not put it away.
    todo: Option<String>,
}

/// Sees to it that another key signs, records that a key is revoked, and puts its file away. The
/// records decide, so a file that cannot be renamed stops nothing: a mounted Secret is read-only.
async fn replace_revoked(config: &Config, database: &KeyDatabase, kid: &str) -> Result<RevokedKey> {
    let now = SystemClock.now();
    // Its own key too: one that no server has published cannot be revoked otherwise.
    let ring = database.register(config).await?;
    let unknown = || Error::setup(format!("there is no key {kid:?}, and it signed no license"));
    if !is_known(&database.keys(), kid).await? {
        return Err(unknown());
    }
    // First: without another key, nothing could be issued after the revocation.
    let (ring, made) = with_another(config, ring, &database.stored().await?, kid, now)?;
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
    Ok(RevokedKey { marked, made, bundle: database.publish(config).await?, todo })
}

/// Returns the keys with one that can sign instead of `kid`. Generates it if there is none, and
/// returns its file.
///
/// # Errors
/// [`Error::Setup`] when no key can be generated here: the operator must add one first.
fn with_another(
    config: &Config,
    ring: Option<KeyRing>,
    stored: &StoredKeys,
    kid: &str,
    now: Timestamp,
) -> Result<(KeyRing, Option<PathBuf>)> {
    match ring {
        Some(ring) if ring.newest_usable(&stored.records, kid).is_some() => {
            return Ok((ring, None));
        }
        Some(ring) if !ring.has_files() => {
            return Err(Error::setup(format!(
                "no other key could sign, so {kid} is not revoked yet: it comes from the \
                 environment, which this command cannot change\n  \
                 set `signing_key` (LICENTIA_SIGNING_KEY) to a new key and `former_signing_keys` \
                 (LICENTIA_FORMER_SIGNING_KEYS) to this one, restart the servers, and run this \
                 command again with the same settings\n  to make a key, run: {}",
                command_for_a_secret(now)
            )));
        }
        _ => {}
    }
    let made = KeyRing::add(config, now, true, &Random::from_system()?);
    let (made, _) = made.map_err(|error| match error {
        Error::Setup(problems) => Error::setup(format!(
            "no other key could sign, so {kid} is not revoked yet: add a new key to the Secret \
             first, wait until every server has it, and run this command again\n  \
             to make a key, run: {}\n  no key can be generated here: {}",
            command_for_a_secret(now),
            problems.join("; ")
        )),
        error => error,
    })?;
    let ring = KeyRing::load(config)?.ok_or_else(|| Error::setup("the new key is gone"))?;
    Ok((ring, Some(made)))
}

/// Returns whether a key of a ring may sign now.
fn signs_now(ring: &KeyRing, stored: &StoredKeys, now: Timestamp) -> bool {
    let has_bundle = stored.bundle.is_some();
    let signs = signing(&stored.records, &ring.held(), has_bundle, now);
    signs.and_then(|key| key.ready_from(has_bundle)).is_some_and(|from| from <= now)
}
