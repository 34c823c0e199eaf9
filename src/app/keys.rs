//! Brings the key files and the database together: records new keys, signs the key bundle, and
//! replaces the keys of the running server. Every server does this at its start, every 20 seconds
//! and on SIGHUP, so that all of them publish the same keys.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::app::App;
use crate::app::revoked_files::{RevokedByFile, revoked_by_files};
use crate::config::Config;
use crate::domain::license::key_bundle::{BundleContent, RootRecord, StoredBundle};
use crate::domain::license::signing_key::{self, KeyRecord};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::{FailPoints, Place};
use crate::keys::{KeyRing, RootKey, Snapshot, bundle};
use crate::random::Random;
use crate::store::{Store, Tx};

/// How old the bundle may be at a start: another server has signed it at its own start. An older
/// one is signed again.
const SAME_START: TimeDelta = TimeDelta::minutes(5);

/// What the database has about the keys.
#[derive(Default)]
pub struct StoredKeys {
    /// The records of all keys.
    pub records: Vec<KeyRecord>,
    /// The newest bundle.
    pub bundle: Option<StoredBundle>,
    /// The public part of the root key.
    pub root: Option<RootRecord>,
}

impl StoredKeys {
    /// Reads them.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn read(tx: &mut Tx) -> Result<Self> {
        Ok(Self {
            records: tx.key_records().await?,
            bundle: tx.newest_bundle().await?,
            root: tx.root_record().await?,
        })
    }

    /// Returns the record of a key.
    #[must_use]
    pub fn record(&self, kid: &str) -> Option<&KeyRecord> {
        self.records.iter().find(|record| record.kid == kid)
    }

    /// Returns the content of the next bundle, if the published one is out of date.
    #[must_use]
    pub fn next_content(&self, now: Timestamp) -> Option<BundleContent> {
        self.content_unless_stored_since(Timestamp::saturating(0), now)
    }

    /// Returns the content of the next bundle, if the published one is out of date, was stored
    /// before `oldest`, is dated by a clock that was ahead, or ends soon.
    fn content_unless_stored_since(
        &self,
        oldest: Timestamp,
        now: Timestamp,
    ) -> Option<BundleContent> {
        let wanted = BundleContent::of(&self.records);
        let times = oldest..=now + SKEW;
        let recent = self.bundle.as_ref().filter(|bundle| times.contains(&bundle.stored_at));
        let published = recent.and_then(|bundle| bundle::read(&bundle.token));
        let published = published
            .filter(|claims| !claims.is_of_the_future(now) && claims.near_end(now).is_none());
        (published.map(|claims| claims.content).as_ref() != Some(&wanted)).then_some(wanted)
    }

    /// Returns the `seq` of the newest bundle, or 0.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.bundle.as_ref().map_or(0, |bundle| bundle.seq)
    }
}

/// The parts that the work on the keys needs, also in commands without an [`App`].
pub struct KeyStore<'a> {
    /// The database.
    pub store: &'a Store,
    /// The claim `iss` of bundles.
    pub issuer: &'a str,
    /// The fail points of tests.
    pub fail_points: &'a FailPoints,
}

impl KeyStore<'_> {
    /// Records the keys of a ring that have no record, and those that are revoked by their files.
    /// `at_once` is a key that signs without being announced. Returns a warning for each key that
    /// was not known as revoked.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn register(
        &self,
        ring: &KeyRing,
        at_once: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<String>> {
        let mut tx = self.store.read().await?;
        let known = tx.key_records().await?;
        let revoked = revoked_by_files(&mut tx, ring, &known, now).await?;
        drop(tx);
        let has_record = |kid: &str| known.iter().any(|record| record.kid == kid);
        let late =
            |record: &&KeyRecord| at_once == Some(record.kid.as_str()) && record.signs_from > now;
        let is_new = !ring.without_record(has_record).is_empty();
        if !is_new && revoked.is_empty() && !known.iter().any(|key| late(&key)) {
            return Ok(Vec::new());
        }
        let mut tx = self.store.write().await?;
        let known = tx.key_records().await?;
        for record in new_records(&mut tx, ring, &known, at_once, now).await? {
            tx.add_key_record(&record).await?;
        }
        // A server may have recorded the key before the command that created it.
        for record in known.iter().filter(late) {
            let urgent = KeyRecord {
                signs_from: now,
                not_before: record.not_before.min(now - SKEW),
                ..record.clone()
            };
            tx.put_key_record(&urgent).await?;
        }
        let records = tx.key_records().await?;
        let revoked = revoked_by_files(&mut tx, ring, &records, now).await?;
        for revoked in &revoked {
            tx.put_key_record(&revoked.record).await?;
        }
        tx.commit(self.fail_points.at(Place::KeysRecorded)).await?;
        Ok(revoked.iter().map(RevokedByFile::warning).collect())
    }

    /// Corrects the times of keys that a clock which is behind has recorded since the server last
    /// read the records, which were `before`.
    async fn correct_publication(
        &self,
        last_read: Timestamp,
        before: &[KeyRecord],
        now: Timestamp,
    ) -> Result<()> {
        let corrected = |records: &[KeyRecord]| -> Vec<KeyRecord> {
            let before = |kid: &str| before.iter().find(|record| record.kid == kid);
            let correct =
                |record: &KeyRecord| record.corrected(last_read, before(&record.kid), now);
            records.iter().filter_map(correct).collect()
        };
        if corrected(&self.store.read().await?.key_records().await?).is_empty() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        for record in corrected(&tx.key_records().await?) {
            tx.put_key_record(&record).await?;
            let (kid, from) = (&record.kid, record.signs_from);
            tracing::warn!(kid, %from, "a clock that is behind has recorded this key; corrected");
        }
        tx.commit(self.fail_points.at(Place::KeysRecorded)).await
    }

    /// Sets the beginning of the key that signs back if the clock is before it: the key was
    /// recorded by a clock that was ahead. Apps would refuse its licenses.
    async fn correct_beginning(&self, record: Option<&KeyRecord>, now: Timestamp) -> Result<bool> {
        let Some(record) = record.filter(|record| record.not_before > now) else {
            return Ok(false);
        };
        let mut tx = self.store.write().await?;
        tx.put_key_record(&KeyRecord { not_before: now - SKEW, ..record.clone() }).await?;
        tx.commit(self.fail_points.at(Place::KeysRecorded)).await?;
        Ok(true)
    }

    /// Signs a new bundle if the published one is out of date, or was stored before `oldest`.
    ///
    /// # Errors
    /// [`Error::Setup`] when this is not the root key that apps pin, or a failure of the database.
    pub async fn publish(&self, root: &RootKey, oldest: Timestamp, now: Timestamp) -> Result<()> {
        let mut tx = self.store.read().await?;
        let stored = StoredKeys::read(&mut tx).await?;
        drop(tx);
        let is_pinned = stored.root.as_ref() == Some(&root.public);
        if is_pinned && stored.content_unless_stored_since(oldest, now).is_none() {
            return Ok(());
        }
        let mut tx = self.store.write().await?;
        let pinned = tx.add_root_record(&root.public, now).await?;
        must_be_pinned(root, &pinned)?;
        let stored = StoredKeys::read(&mut tx).await?;
        let Some(content) = stored.content_unless_stored_since(oldest, now) else {
            return tx.commit(self.fail_points.at(Place::BundleStored)).await;
        };
        let claims = content.claims(self.issuer, stored.seq(), now);
        let bundle = StoredBundle { seq: claims.seq, token: root.sign(&claims)?, stored_at: now };
        self.store_bundle(tx, &stored, &claims.content, &bundle).await.map(drop)
    }

    /// Stores a signed bundle, and since when it has its keys. Returns false if another server was
    /// faster.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn store_bundle(
        &self,
        mut tx: Tx,
        stored: &StoredKeys,
        content: &BundleContent,
        bundle: &StoredBundle,
    ) -> Result<bool> {
        if !tx.add_bundle(bundle).await? {
            return Ok(false);
        }
        for record in stored.records.iter().filter(|record| content.trusts(&record.kid)) {
            // Nobody could pin the root before the first bundle.
            let is_first = stored.bundle.is_none();
            let since = if is_first { record.published_at } else { bundle.stored_at };
            tx.mark_bundled(&record.kid, since).await?;
        }
        tx.commit(self.fail_points.at(Place::BundleStored)).await?;
        tracing::info!(seq = bundle.seq, "published a key bundle");
        Ok(true)
    }
}

/// Returns records for the keys of a ring that have none.
async fn new_records(
    tx: &mut Tx,
    ring: &KeyRing,
    known: &[KeyRecord],
    at_once: Option<&str>,
    now: Timestamp,
) -> Result<Vec<KeyRecord>> {
    let mut new = ring.without_record(|kid| known.iter().any(|record| record.kid == kid));
    for key in &mut new {
        key.first_issue = tx.first_issue(&key.kid).await?;
    }
    Ok(signing_key::register(new, known, at_once, now))
}

/// Logs warnings.
fn log(warnings: &[String]) {
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
}

fn must_be_pinned(root: &RootKey, pinned: &RootRecord) -> Result<()> {
    if root.public == *pinned {
        return Ok(());
    }
    Err(Error::setup(format!(
        "{} is not the root key {} that apps pin; restore that one from a backup, or remove this \
         file",
        root.file.display(),
        pinned.kid
    )))
}

/// Returns the root key on this machine. Creates it if no root was ever known and the signing keys
/// are files. A root that is missing later is never replaced: apps pin it.
///
/// # Errors
/// [`Error::Setup`] when the root key is damaged or another one.
pub async fn root_key(
    config: &Config,
    ring: &KeyRing,
    store: &Store,
    random: &Random,
) -> Result<Option<RootKey>> {
    let pinned = store.read().await?.root_record().await?;
    match (RootKey::load(config)?, pinned) {
        (Some(root), Some(pinned)) => must_be_pinned(&root, &pinned).map(|()| Some(root)),
        (Some(root), None) if ring.key(&root.public.kid).is_some() => Err(Error::setup(format!(
            "{} is one of the signing keys; a root key signs nothing but the key bundle: remove \
             this file, and the next start creates one",
            root.file.display()
        ))),
        (Some(root), None) => Ok(Some(root)),
        (None, None) if ring.has_files() => match RootKey::create(config, None, random) {
            Ok(root) => {
                let path = root.file.display();
                tracing::info!(%path, "generated the root key; keep a backup");
                Ok(Some(root))
            }
            // Another server may have created it; the keys may be mounted read-only.
            Err(error) => match RootKey::load(config)? {
                Some(root) => Ok(Some(root)),
                None => {
                    tracing::warn!(%error, "there is no root key, and none could be created");
                    Ok(None)
                }
            },
        },
        (None, _) => Ok(None),
    }
}

impl App {
    /// Returns what the work on the keys needs.
    #[must_use]
    pub fn key_store(&self) -> KeyStore<'_> {
        KeyStore { store: &self.store, issuer: &self.issuer, fail_points: &self.fail_points }
    }

    /// Records and publishes the keys at the start of a server, and creates the root key if there
    /// never was one. It checks the keys before it records them.
    ///
    /// # Errors
    /// [`Error::Setup`] when no key may sign, or the root key is damaged or another one.
    pub(super) async fn begin_with_keys(&self) -> Result<()> {
        let now = self.now();
        let ring = self.keys.current().ring.clone();
        let root = root_key(&self.keys.config, &ring, &self.store, &self.random).await?;
        self.must_sign_once_published(&ring, root.is_some(), now).await?;
        log(ring.warnings());
        log(&self.key_store().register(&ring, None, now).await?);
        // If the database was restored from a backup, apps have seen a newer bundle and newer
        // status lists, and refuse these.
        let keys = self.publish_keys(ring, root, now - SAME_START, now).await?;
        keys.must_sign(now)?;
        if let Some(warning) = bundle::end_warning(keys.bundle.as_ref(), now) {
            tracing::warn!("{warning}");
        }
        if let Err(error) = self.renew_status_lists(now).await {
            tracing::warn!(%error, "the status lists could not be renewed");
        }
        Ok(())
    }

    /// Checks that a key of this server may sign when its keys are recorded and, with the root key,
    /// in the bundle. Nothing is written.
    async fn must_sign_once_published(
        &self,
        ring: &KeyRing,
        has_root: bool,
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.store.read().await?;
        let mut stored = StoredKeys::read(&mut tx).await?;
        let new = new_records(&mut tx, ring, &stored.records, None, now).await?;
        stored.put(new);
        let revoked = revoked_by_files(&mut tx, ring, &stored.records, now).await?;
        drop(tx);
        stored.put(revoked.into_iter().map(|revoked| revoked.record));
        let StoredKeys { mut records, bundle, .. } = stored;
        let content = BundleContent::of(&records);
        for record in records.iter_mut().filter(|record| content.trusts(&record.kid)) {
            record.bundled_at = record.bundled_at.or(has_root.then_some(now));
        }
        self.keys.replace(ring.clone(), records, bundle)?.must_sign(now)
    }

    async fn renew_status_lists(&self, now: Timestamp) -> Result<()> {
        let mut tx = self.store.write().await?;
        tx.renew_status_lists(now).await?;
        tx.commit(self.fail_points.at(Place::StatusListRenewed)).await
    }

    /// Reads the keys again if the database has this key and the server does not know it: a command
    /// may have added it a moment ago.
    ///
    /// # Errors
    /// As [`App::reload_keys`].
    pub async fn know_key(&self, kid: &str) -> Result<()> {
        let is_known = self.keys.current().records.iter().any(|record| record.kid == kid);
        if is_known {
            return Ok(());
        }
        let records = self.store.read().await?.key_records().await?;
        if records.iter().any(|record| record.kid == kid) {
            self.reload_keys().await?;
        }
        Ok(())
    }

    /// Reads the keys of the database, as a command does. Nothing is written, so keys that are
    /// revoked by their files are revoked in memory only.
    ///
    /// # Errors
    /// [`Error::Setup`] when no key may sign.
    pub(super) async fn read_keys(&self) -> Result<()> {
        let (ring, now) = (self.keys.current().ring.clone(), self.now());
        let mut tx = self.store.read().await?;
        let mut stored = StoredKeys::read(&mut tx).await?;
        let revoked = revoked_by_files(&mut tx, &ring, &stored.records, now).await?;
        drop(tx);
        stored.put(revoked.into_iter().map(|revoked| revoked.record));
        self.keys.replace(ring, stored.records, stored.bundle)?.must_sign(now)
    }

    /// Reads the key files and the database again, and publishes what is new. A key that is damaged
    /// or missing does not stop a running server, which keeps the keys that it has.
    ///
    /// # Errors
    /// [`Error::Setup`] for the files, or a failure of the database. The news of the database are
    /// published even then.
    pub async fn reload_keys(&self) -> Result<()> {
        let _turn = self.keys.turn.lock().await;
        self.read_keys_again().await
    }

    /// As [`Self::reload_keys`], for a caller who has the turn.
    pub(super) async fn read_keys_again(&self) -> Result<()> {
        // Read in this order: a time before that of the records corrects less.
        let last_read = self.keys.last_read();
        let (now, before) = (self.now(), self.keys.current());
        let config = &self.keys.config;
        let fingerprint = KeyRing::fingerprint(config);
        let is_unchanged = self.keys.have_read(&fingerprint);
        let mut problem = None;
        let ring = if is_unchanged {
            before.ring.clone()
        } else {
            let missing = || Error::setup("the key files are gone; the server keeps its keys");
            let loaded = KeyRing::load(config).and_then(|ring| ring.ok_or_else(missing));
            loaded.unwrap_or_else(|error| {
                problem = Some(error);
                before.ring.clone()
            })
        };
        let own = self.key_store();
        log(&own.register(&ring, None, now).await?);
        if let Some(last_read) = last_read {
            own.correct_publication(last_read, &before.records, now).await?;
        }
        let stored = StoredKeys::read(&mut self.store.read().await?).await?;
        let root = if is_unchanged && stored.next_content(now).is_none() {
            Ok(None)
        } else {
            RootKey::load(config)
        };
        let root = root.unwrap_or_else(|error| {
            problem = Some(error);
            None
        });
        let mut after = self.publish_keys(ring, root, Timestamp::saturating(0), now).await?;
        if let Err(error) = after.must_sign(now) {
            // The key that signs was removed before another one may sign.
            let stored = (after.records.clone(), after.bundle.clone());
            after = self.keys.replace(before.ring.clone(), stored.0, stored.1)?;
            problem = Some(error);
        }
        let kids = |records: &[KeyRecord]| -> Vec<String> {
            records.iter().map(|record| record.kid.clone()).collect()
        };
        let kid = |keys: &Snapshot| keys.signing(now).map(|key| key.kid.clone());
        let (signed, signs) = (kid(&before), kid(&after));
        if kids(&before.records) != kids(&after.records) || signed != signs {
            let signs = signs.unwrap_or_else(|| "none".to_owned());
            tracing::info!(published = after.records.len(), signs, "the signing keys have changed");
        }
        if after.ring.warnings() != before.ring.warnings() {
            log(after.ring.warnings());
        }
        if problem.is_none() {
            self.keys.remember(fingerprint);
        }
        problem.map_or(Ok(()), Err)
    }

    /// Signs the bundle if that is due, and replaces the keys of this server.
    async fn publish_keys(
        &self,
        ring: KeyRing,
        root: Option<RootKey>,
        oldest: Timestamp,
        now: Timestamp,
    ) -> Result<Arc<Snapshot>> {
        let own = self.key_store();
        let publish = async || match &root {
            Some(root) => own.publish(root, oldest, now).await,
            None => Ok(()),
        };
        let published = publish().await;
        let read = async || {
            let stored = StoredKeys::read(&mut self.store.read().await?).await?;
            self.keys.replace(ring.clone(), stored.records, stored.bundle)
        };
        let mut current = read().await?;
        self.keys.records_read(now);
        self.keys.compared(now);
        if own.correct_beginning(current.signing_record(now), now).await? {
            publish().await?;
            current = read().await?;
        }
        published.map(|()| current)
    }
}
