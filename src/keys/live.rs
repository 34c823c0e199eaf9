//! The keys of a running server: one consistent snapshot of the key files, the records and the
//! bundle, which is replaced as a whole when any of them changes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::TimeDelta;
use licentia_verify::{Algorithm, KeySet};
use sha2::{Digest, Sha256};

use super::{Jwks, Key, KeyRing};
use crate::config::Config;
use crate::domain::license::key_bundle::{BundleContent, StoredBundle, TimedKey};
use crate::domain::license::signing_key::{self, KeyRecord};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// The keys of a running server.
pub struct Keys {
    /// The settings of the keys.
    pub config: Config,
    audience: String,
    current: RwLock<Arc<Snapshot>>,
    /// The fingerprint of the directory when all files were read.
    read: Mutex<Option<String>>,
    /// When the records were last read from the database.
    read_at: Mutex<Option<Timestamp>>,
    /// When the keys were last compared with the database, also if that failed, in seconds since
    /// 1970; [`NEVER`] at first. Every request for the keys reads it.
    compared_at: AtomicI64,
    /// Held while the keys are read again, so that older ones never replace newer ones, and many
    /// requests cause one comparison.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

/// How long the keys in memory are published before they are compared with the database. What a
/// command or another server changes shows after this time.
pub const COMPARED_EVERY: TimeDelta = TimeDelta::seconds(2);

const NEVER: i64 = -1;

/// The keys at one moment.
pub struct Snapshot {
    /// The keys whose private part this server has.
    pub ring: KeyRing,
    /// The records of all keys; empty before they were read.
    pub records: Vec<KeyRecord>,
    /// The bundle that is published, if there is one.
    pub bundle: Option<StoredBundle>,
    /// The published key set, as JSON.
    pub jwks: Bytes,
    /// The entity tag of the key set: a hash of its text.
    pub jwks_tag: String,
    /// The keys with their times, and the revoked ones, with which the server itself verifies
    /// licenses, like an app with the newest bundle. They accept any issuer, because the server's
    /// URL may have changed.
    pub trusted: KeySet,
}

impl Snapshot {
    fn new(
        ring: KeyRing,
        records: Vec<KeyRecord>,
        bundle: Option<StoredBundle>,
        audience: &str,
        algorithm: Algorithm,
    ) -> Result<Self> {
        let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
        let jwks = published(&ring, &records, algorithm);
        let jwks = serde_json::to_string(&jwks).map_err(|error| internal(&error))?;
        let content = serde_json::to_string(&trusted_content(&ring, &records));
        let content = content.map_err(|error| internal(&error))?;
        let trusted = KeySet::from_bundle_content(&content, audience);
        let trusted = trusted.map_err(|error| internal(&error))?;
        let jwks_tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&jwks)));
        Ok(Self { ring, records, bundle, jwks: jwks.into(), jwks_tag, trusted })
    }

    /// Returns the text of the bundle, if there is one.
    #[must_use]
    pub fn bundle_text(&self) -> Option<String> {
        self.bundle.as_ref().map(|bundle| bundle.token.clone())
    }

    /// Returns whether these are the records, in any order, and the bundle.
    #[must_use]
    pub fn has(&self, records: &[KeyRecord], bundle: Option<&StoredBundle>) -> bool {
        self.bundle.as_ref() == bundle
            && self.records.len() == records.len()
            && self.records.iter().all(|record| records.contains(record))
    }

    /// Returns the key that signs at `now`; `None` if every key of this server was retired or
    /// revoked.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Option<&Key> {
        if self.records.is_empty() {
            return Some(self.ring.signing(now));
        }
        self.signing_record(now).and_then(|record| self.ring.key(&record.kid))
    }

    /// Returns the record of the key that signs at `now`.
    #[must_use]
    pub fn signing_record(&self, now: Timestamp) -> Option<&KeyRecord> {
        let held = self.ring.held();
        signing_key::signing(&self.records, &held, self.bundle.is_some(), now)
    }

    /// Checks that a key of this server may sign at `now`.
    ///
    /// # Errors
    /// [`Error::Setup`] when every key was retired or revoked, or when the other servers sign with
    /// a key that this one lacks, and none of its own was announced long enough.
    pub fn must_sign(&self, now: Timestamp) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let has_bundle = self.bundle.is_some();
        let Some(record) = self.signing_record(now) else {
            return Err(Error::setup(
                "every signing key here was retired or revoked, or was never published; add one: \
                 `licentia keys generate`, a new file in the Secret if the keys are mounted, or \
                 another `signing_key` if it comes from the environment (docs/keys.md)",
            ));
        };
        let ready_from = record.ready_from(has_bundle);
        let is_ready = ready_from.is_some_and(|from| from <= now);
        let kid = &record.kid;
        if !is_ready && signing_key::another_is_ready(&self.records, kid, has_bundle, now) {
            let from = ready_from.map_or_else(
                || "once the key bundle has it".to_owned(),
                |from| format!("from {from}"),
            );
            return Err(Error::setup(format!(
                "the key {kid} signs {from}, and the key that signs until then is missing: restore \
                 its file, or add it to `former_signing_keys`"
            )));
        }
        Ok(())
    }
}

/// Returns the published key set: the public part of every key that was not revoked.
fn published(ring: &KeyRing, records: &[KeyRecord], algorithm: Algorithm) -> Jwks {
    let record = |kid: &str| records.iter().find(|record| record.kid == kid);
    let of_records = records.iter().filter(|record| record.revoked_at.is_none());
    let others = ring.keys.iter().filter(|key| record(&key.kid).is_none());
    let keys = of_records.filter_map(KeyRecord::jwk).chain(others.map(|key| key.public.clone()));
    Jwks::new(keys, algorithm)
}

/// Returns the content of a bundle with these keys. A key without a record has no times yet.
fn trusted_content(ring: &KeyRing, records: &[KeyRecord]) -> BundleContent {
    let mut content = BundleContent::of(records);
    let is_recorded = |key: &&Key| records.iter().any(|record| record.kid == key.kid);
    let others = ring.keys.iter().filter(|key| !is_recorded(key));
    content.keys.extend(others.map(|key| TimedKey { jwk: key.public.clone(), nbf: 0, exp: None }));
    content
}

impl Keys {
    /// Returns the keys of a ring, before their records are read.
    ///
    /// # Errors
    /// [`Error::Internal`] when our own key set does not parse, which must not happen.
    pub fn new(config: &Config, ring: KeyRing, audience: &str) -> Result<Self> {
        let algorithm = config.license_algorithm;
        let snapshot = Snapshot::new(ring, Vec::new(), None, audience, algorithm)?;
        let (config, audience) = (config.clone(), audience.to_owned());
        let current = RwLock::new(Arc::new(snapshot));
        let (read, read_at, turn) = (Mutex::default(), Mutex::default(), Arc::default());
        let compared_at = AtomicI64::new(NEVER);
        Ok(Self { config, audience, current, read, read_at, compared_at, turn })
    }

    /// Returns whether the files were read when they had this fingerprint.
    #[must_use]
    pub fn have_read(&self, fingerprint: &str) -> bool {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(fingerprint)
    }

    /// Remembers the fingerprint of files that were all read.
    pub fn remember(&self, fingerprint: String) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
    }

    /// Returns when the records were last read; `None` before the first time.
    #[must_use]
    pub fn last_read(&self) -> Option<Timestamp> {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the records were read, not before `now`.
    pub fn records_read(&self, now: Timestamp) {
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns whether the keys were compared with the database less than [`COMPARED_EVERY`] ago.
    #[must_use]
    pub fn are_fresh(&self, now: Timestamp) -> bool {
        let compared = self.compared_at.load(Ordering::Relaxed);
        let age = now.epoch_seconds() - compared;
        compared != NEVER && (0..COMPARED_EVERY.num_seconds()).contains(&age)
    }

    /// Remembers that the keys were compared with the database, or that it failed.
    pub fn compared(&self, now: Timestamp) {
        self.compared_at.store(now.epoch_seconds(), Ordering::Relaxed);
    }

    /// Returns the keys at this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys. Returns them.
    ///
    /// # Errors
    /// As [`Keys::new`].
    pub fn replace(
        &self,
        ring: KeyRing,
        mut records: Vec<KeyRecord>,
        bundle: Option<StoredBundle>,
    ) -> Result<Arc<Snapshot>> {
        records.sort_by(|a, b| (a.number, &a.kid).cmp(&(b.number, &b.kid)));
        let algorithm = self.config.license_algorithm;
        let new = Arc::new(Snapshot::new(ring, records, bundle, &self.audience, algorithm)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        Ok(new)
    }

    /// Returns the published key set.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let now = self.current();
        published(&now.ring, &now.records, self.config.license_algorithm)
    }

    /// Returns the text of the published key bundle, if there is one.
    #[must_use]
    pub fn bundle(&self) -> Option<String> {
        self.current().bundle_text()
    }

    /// Returns the key that signs at `now`.
    ///
    /// # Errors
    /// [`Error::Busy`] when every key of this server was retired or revoked: another server may
    /// have a newer one.
    pub fn signing(&self, now: Timestamp) -> Result<Key> {
        self.current().signing(now).cloned().ok_or(Error::Busy)
    }
}
