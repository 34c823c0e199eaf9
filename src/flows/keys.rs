//! What an operator does with the signing keys: retire and revoke one, and take in a key bundle
//! that was signed on another machine. Licenses of a revoked key are revoked in
//! [`crate::flows::license`].

use crate::app::keys::{KeyStore, StoredKeys};
use crate::domain::license::key_bundle::{BundleClaims, BundleContent, RootRecord, StoredBundle};
use crate::domain::license::signing_key::{HeldKey, KeyRecord, another_is_ready, signing};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::keys::bundle;

/// Retires a key: it no longer signs, and its licenses still verify. Returns its end, the claim
/// `exp` in the bundle.
///
/// # Errors
/// [`Error::Setup`] when the key is unknown, was retired or revoked before, or when no other key
/// was announced long enough to sign.
pub async fn retire(own: &KeyStore<'_>, kid: &str, now: Timestamp) -> Result<Timestamp> {
    let mut tx = own.store.write().await?;
    let stored = StoredKeys::read(&mut tx).await?;
    let record = stored.record(kid);
    let record = record.ok_or_else(|| Error::setup(format!("no server has published {kid:?}")))?;
    if !record.is_usable() {
        return Err(Error::setup(format!("the key {kid} was retired or revoked before")));
    }
    if !another_is_ready(&stored.records, kid, stored.bundle.is_some(), now) {
        return Err(Error::setup(format!(
            "no other key may sign yet, so {kid} cannot be retired: run `licentia keys generate`, \
             and retire it when `licentia keys list` shows another key as signing"
        )));
    }
    let retired = record.clone().retired(tx.last_issue(kid).await?, now);
    tx.put_key_record(&retired).await?;
    tx.commit(own.fail_points.at(Place::KeyEnded)).await?;
    Ok(retired.ends_at.unwrap_or(now))
}

/// Whether a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// It is revoked now.
    Now,
    /// It was revoked before.
    Before,
    /// No server has published it, and it signed no license.
    Unknown,
}

/// Records that a key is revoked. From then on no server signs with it. A key that nobody has
/// published, but that signed licenses, is recorded too.
///
/// # Errors
/// A failure of the database.
pub async fn mark_revoked(own: &KeyStore<'_>, kid: &str, now: Timestamp) -> Result<Marked> {
    let mut tx = own.store.write().await?;
    let records = tx.key_records().await?;
    let record = match records.iter().find(|record| record.kid == kid) {
        Some(record) if record.revoked_at.is_some() => return Ok(Marked::Before),
        Some(record) => record.clone(),
        None => {
            let Some(first) = tx.first_issue(kid).await? else { return Ok(Marked::Unknown) };
            KeyRecord {
                kid: kid.to_owned(),
                number: 0,
                public_key: None,
                published_at: now,
                signs_from: now,
                not_before: first - SKEW,
                bundled_at: None,
                ends_at: None,
                revoked_at: None,
            }
        }
    };
    tx.put_key_record(&KeyRecord { revoked_at: Some(now), ..record }).await?;
    tx.commit(own.fail_points.at(Place::KeyEnded)).await?;
    Ok(Marked::Now)
}

/// Takes in a key bundle that was signed on another machine. `root` is the root key, if the
/// database does not know it yet. Returns the claims.
///
/// # Errors
/// [`Error::Setup`] with the reason why apps would suffer from this bundle.
pub async fn import_bundle(
    own: &KeyStore<'_>,
    token: &str,
    root: Option<&RootRecord>,
    now: Timestamp,
) -> Result<BundleClaims> {
    let mut tx = own.store.write().await?;
    let stored = StoredKeys::read(&mut tx).await?;
    let root = match (&stored.root, root) {
        (Some(known), Some(given)) if known != given => {
            return Err(Error::setup(format!("apps pin another root key: {}", known.kid)));
        }
        (Some(known), _) => known.clone(),
        (None, Some(given)) => tx.add_root_record(given, now).await?,
        (None, None) => {
            return Err(Error::setup(
                "no root key is known yet; give its public part with --root FILE",
            ));
        }
    };
    let refused = |reason: String| Error::setup(format!("this bundle is refused: {reason}"));
    let claims = bundle::open(token, &root, now).map_err(refused)?;
    if claims.seq <= stored.seq() {
        let (seq, last) = (claims.seq, stored.seq());
        return Err(refused(format!("its seq is {seq}, and the published one has {last}")));
    }
    must_fit(&claims.content, &stored, now).map_err(refused)?;
    let new = StoredBundle { seq: claims.seq, token: token.to_owned(), stored_at: now };
    if !own.store_bundle(tx, &stored, &claims.content, &new).await? {
        return Err(refused("another one was published meanwhile; try again".to_owned()));
    }
    Ok(claims)
}

/// Checks that apps accept every license that was ever signed, and no revoked key.
fn must_fit(
    content: &BundleContent,
    stored: &StoredKeys,
    now: Timestamp,
) -> std::result::Result<(), String> {
    let held: Vec<_> = stored
        .records
        .iter()
        .map(|record| HeldKey { kid: &record.kid, is_preferred: false })
        .collect();
    if let Some(signs) = signing(&stored.records, &held, false, now)
        && !content.trusts(&signs.kid)
    {
        return Err(format!("it lacks the key that signs now, {}", signs.kid));
    }
    for record in &stored.records {
        let kid = &record.kid;
        let Some(entry) = content.keys.iter().find(|key| key.jwk.kid == *kid) else {
            let was_bundled = record.bundled_at.is_some() && record.revoked_at.is_none();
            if was_bundled {
                return Err(format!("it lacks the key {kid}, which the published one has"));
            }
            if record.revoked_at.is_some() && !content.revokes(kid) {
                return Err(format!("it does not revoke {kid}"));
            }
            continue;
        };
        match (record.revoked_at.is_some(), content.revokes(kid)) {
            (true, false) => return Err(format!("it does not revoke {kid}")),
            (false, true) => return Err(format!("it revokes {kid}, whose licenses are in use")),
            (true, true) => continue,
            (false, false) => {}
        }
        let is_within = entry.nbf <= record.not_before.epoch_seconds()
            && entry
                .exp
                .is_none_or(|exp| record.ends_at.is_some_and(|end| exp >= end.epoch_seconds()));
        if record.public_key.as_deref() != Some(entry.jwk.x.as_str()) || !is_within {
            return Err(format!("it has another key or another time for {kid}"));
        }
    }
    let known = |kid: &str| stored.record(kid).is_some();
    match content.keys.iter().find(|key| !known(&key.jwk.kid)) {
        Some(key) => Err(format!("no server has published its key {}", key.jwk.kid)),
        None => Ok(()),
    }
}
