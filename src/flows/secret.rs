//! Keyed hashes of values that can be guessed, such as email and client addresses. The key is a
//! random secret of the database, so that all servers on it get the same hashes. It is in every
//! backup. Without it, what was stored under its hashes is forgotten.

use crate::app::App;
use crate::domain::secret::{HashKey, KeyedHash, Purpose};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::store::Tx;

/// The name of the key in the table of secrets.
const NAME: &str = "hash_key";

/// Returns the hash of a text. The first call of a process reads the key, or creates it, in a
/// transaction of its own. So no caller may have a transaction open, unless it has called
/// [`prepare`] before: SQLite has one writer.
///
/// # Errors
/// A failure of the database.
pub async fn keyed(app: &App, purpose: Purpose, text: &str) -> Result<KeyedHash> {
    Ok(key(app).await?.hash_of(purpose, text))
}

/// Returns the hash of a text, also in a transaction of the caller. `None` if the database has no
/// key yet: then nothing is stored under any hash.
///
/// # Errors
/// A failure of the database.
pub async fn keyed_if_any(
    app: &App,
    tx: &mut Tx,
    purpose: Purpose,
    text: &str,
) -> Result<Option<KeyedHash>> {
    if let Some(key) = app.hash_key.get() {
        return Ok(Some(key.hash_of(purpose, text)));
    }
    let Some(stored) = tx.stored_secret(NAME).await? else { return Ok(None) };
    Ok(Some(parsed(&stored)?.hash_of(purpose, text)))
}

/// Returns whether this is the hash of a text, as [`keyed`] returns it.
///
/// # Errors
/// A failure of the database.
pub async fn is_keyed(app: &App, purpose: Purpose, text: &str, hash: &str) -> Result<bool> {
    Ok(key(app).await?.is_hash_of(purpose, text, hash))
}

/// Reads the key, so that hashes in a following transaction need no transaction of their own.
///
/// # Errors
/// A failure of the database.
pub async fn prepare(app: &App) -> Result<()> {
    key(app).await.map(drop)
}

async fn key(app: &App) -> Result<&HashKey> {
    let key = app.hash_key.get_or_try_init(|| async {
        let mut tx = app.store.write().await?;
        let new = HashKey::from_random(app.random.bytes());
        let stored = tx.server_secret(NAME, new.expose()).await?;
        tx.commit(app.fail_points.at(Place::HashKeyStored)).await?;
        parsed(&stored)
    });
    key.await
}

fn parsed(stored: &str) -> Result<HashKey> {
    stored.parse().map_err(|_| Error::Internal(format!("the secret {NAME} was changed")))
}
