//! The tables of the signing keys, of the root key and of the key bundles.

use crate::domain::license::key_bundle::{RootRecord, StoredBundle};
use crate::domain::license::signing_key::KeyRecord;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

impl Tx {
    /// Returns the records of all keys, oldest first.
    pub async fn key_records(&mut self) -> Result<Vec<KeyRecord>> {
        sql!(
            self,
            fetch_all: KeyRecord,
            "SELECT {columns} FROM signing_keys ORDER BY number, kid",
        )
    }

    /// Adds the record of a key, unless it has one.
    pub async fn add_key_record(&mut self, record: &KeyRecord) -> Result<()> {
        self.insert(Insert::new("signing_keys", record).or_skip("kid")).await.map(drop)
    }

    /// Writes the record of a key, and replaces the one that it has.
    pub async fn put_key_record(&mut self, record: &KeyRecord) -> Result<()> {
        self.insert(Insert::new("signing_keys", record).or_replace(&["kid"])).await.map(drop)
    }

    /// Returns when a key signed its first license.
    pub async fn first_issue(&mut self, kid: &str) -> Result<Option<Timestamp>> {
        let (first,) = sql!(
            self,
            fetch_one: (Option<Timestamp>,),
            "SELECT MIN(issued_at) FROM licenses WHERE key_id = $1",
            kid,
        )?;
        Ok(first)
    }

    /// Returns when a key signed its last license.
    pub async fn last_issue(&mut self, kid: &str) -> Result<Option<Timestamp>> {
        let (last,) = sql!(
            self,
            fetch_one: (Option<Timestamp>,),
            "SELECT MAX(issued_at) FROM licenses WHERE key_id = $1",
            kid,
        )?;
        Ok(last)
    }

    /// Returns whether this key was retired or revoked, so that it must not sign.
    pub async fn must_not_sign(&mut self, kid: &str) -> Result<bool> {
        let row = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT number FROM signing_keys
             WHERE kid = $1 AND (ends_at IS NOT NULL OR revoked_at IS NOT NULL)",
            kid,
        )?;
        Ok(row.is_some())
    }

    /// Returns the public part of the root key.
    pub async fn root_record(&mut self) -> Result<Option<RootRecord>> {
        sql!(
            self,
            fetch_optional: RootRecord,
            "SELECT {columns} FROM root_keys WHERE id = 1",
        )
    }

    /// Stores the public part of the root key, unless there is one. Returns the one that is stored.
    pub async fn add_root_record(
        &mut self,
        root: &RootRecord,
        now: Timestamp,
    ) -> Result<RootRecord> {
        sql!(
            self,
            execute,
            "INSERT INTO root_keys (id, kid, public_key, created_at) VALUES (1, $1, $2, $3)
             ON CONFLICT (id) DO NOTHING",
            root.kid,
            root.public_key,
            now,
        )?;
        sql!(self, fetch_one: RootRecord, "SELECT {columns} FROM root_keys WHERE id = 1")
    }

    /// Returns the newest key bundle.
    pub async fn newest_bundle(&mut self) -> Result<Option<StoredBundle>> {
        sql!(
            self,
            fetch_optional: StoredBundle,
            "SELECT {columns} FROM key_bundles ORDER BY seq DESC LIMIT 1",
        )
    }

    /// Adds a key bundle. Returns false if there is one with its `seq`: another server was faster.
    pub async fn add_bundle(&mut self, bundle: &StoredBundle) -> Result<bool> {
        let added = self.insert(Insert::new("key_bundles", bundle).or_skip("seq")).await?;
        Ok(added > 0)
    }

    /// Records since when a bundle has a key.
    pub async fn mark_bundled(&mut self, kid: &str, since: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE signing_keys SET bundled_at = $2 WHERE kid = $1 AND bundled_at IS NULL",
            kid,
            since,
        )
        .map(drop)
    }
}
