//! Admin keys. Only the hash of a key is kept, and its first characters.

use super::Tx;
use super::statement::{Insert, sql};
use crate::domain::admin_key::StoredAdminKey;
use crate::domain::ids::AdminKeyId;
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// Writes a new key; `key_hash` is all that is kept of what its holder has.
    pub async fn insert_admin_key(&mut self, key: &StoredAdminKey, key_hash: &str) -> Result<()> {
        self.insert(Insert::new("admin_keys", key).with("key_hash", key_hash)).await?;
        Ok(())
    }

    /// The newest keys, those that are over too, `most` at the most.
    pub async fn admin_keys(&mut self, most: i64) -> Result<Vec<StoredAdminKey>> {
        sql!(
            self,
            fetch_all: StoredAdminKey,
            "SELECT {columns} FROM admin_keys ORDER BY created_at DESC, admin_key_id LIMIT $1",
            most,
        )
    }

    /// The key with this hash, whether it works or not.
    pub async fn admin_key_by_hash(&mut self, key_hash: &str) -> Result<Option<StoredAdminKey>> {
        sql!(
            self,
            fetch_optional: StoredAdminKey,
            "SELECT {columns} FROM admin_keys WHERE key_hash = $1",
            key_hash,
        )
    }

    /// Notes that a key is used. Answers whether it works: it may have been revoked a moment ago.
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

    /// Revokes a key; one that was revoked before stays so. Answers how it is now, if it is there.
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
