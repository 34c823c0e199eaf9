//! The table of admin keys. It has the hash and the first characters of a key, never the key.

use crate::domain::ids::AdminKeyId;
use crate::domain::operator::admin_key::StoredAdminKey;
use crate::domain::secret::SecretHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

impl Tx {
    /// Inserts a new key. Only the key's hash is stored.
    pub async fn insert_admin_key(
        &mut self,
        key: &StoredAdminKey,
        key_hash: &SecretHash,
    ) -> Result<()> {
        self.insert(Insert::new("admin_keys", key).with("key_hash", key_hash)).await?;
        Ok(())
    }

    /// Returns the newest keys, at most `most`, including revoked and expired ones.
    pub async fn admin_keys(&mut self, most: i64) -> Result<Vec<StoredAdminKey>> {
        sql!(
            self,
            fetch_all: StoredAdminKey,
            "SELECT {columns} FROM admin_keys ORDER BY created_at DESC, admin_key_id LIMIT $1",
            most,
        )
    }

    /// Returns the key with this hash, even if it was revoked or has expired.
    pub async fn admin_key_by_hash(
        &mut self,
        key_hash: &SecretHash,
    ) -> Result<Option<StoredAdminKey>> {
        sql!(
            self,
            fetch_optional: StoredAdminKey,
            "SELECT {columns} FROM admin_keys WHERE key_hash = $1",
            key_hash,
        )
    }

    /// Records the use of a key. Returns whether the key is valid at this moment.
    pub async fn use_admin_key(&mut self, id: &AdminKeyId, now: Timestamp) -> Result<bool> {
        let used = sql!(
            self,
            execute,
            "UPDATE admin_keys SET last_used_at = $2 WHERE admin_key_id = $1
                 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            id,
            now,
        )?;
        Ok(used > 0)
    }

    /// Revokes a key, or keeps the time of an earlier revocation. Returns the key, if it exists.
    pub async fn revoke_admin_key(
        &mut self,
        id: &AdminKeyId,
        now: Timestamp,
    ) -> Result<Option<StoredAdminKey>> {
        sql!(
            self,
            fetch_optional: StoredAdminKey,
            "UPDATE admin_keys SET revoked_at = COALESCE(revoked_at, $2)
                 WHERE admin_key_id = $1 RETURNING {columns}",
            id,
            now,
        )
    }
}
