//! Admin keys. Only the hash of a key is kept, and its first characters.

use super::{Tx, row, sql};
use crate::domain::admin_key::Scope;
use crate::domain::contact::DisplayName;
use crate::domain::ids::AdminKeyId;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The columns of [`StoredAdminKey`], by name: a server that runs on while a newer one adds a column
/// must not meet it.
macro_rules! admin_key_columns {
    () => {
        "admin_key_id, name, scope, visible_prefix, created_at, expires_at, revoked_at, last_used_at"
    };
}

row! {
    /// An admin key, as far as it is kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredAdminKey {
        /// For listing and revoking it.
        pub admin_key_id: AdminKeyId,
        /// What it is for.
        pub name: DisplayName,
        /// How much it may do.
        pub scope: Scope,
        /// Its first characters.
        pub visible_prefix: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it ends by itself; none never does.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// When it was used last.
        pub last_used_at: Option<Timestamp>,
    }
}

impl StoredAdminKey {
    /// Whether it opens anything at `now`.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

impl Tx {
    /// Writes a new key; `key_hash` is all that is kept of what its holder has.
    pub async fn insert_admin_key(&mut self, key: &StoredAdminKey, key_hash: &str) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO admin_keys
                 (admin_key_id, name, scope, visible_prefix, key_hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &key.admin_key_id,
            &key.name,
            key.scope,
            &key.visible_prefix,
            key_hash,
            key.created_at,
            key.expires_at,
        )?;
        Ok(())
    }

    /// The newest keys, those that are over too, `most` at the most.
    pub async fn admin_keys(&mut self, most: i64) -> Result<Vec<StoredAdminKey>> {
        sql!(
            self,
            fetch_all: StoredAdminKey,
            concat!(
                "SELECT ",
                admin_key_columns!(),
                " FROM admin_keys ORDER BY created_at DESC, admin_key_id LIMIT $1"
            ),
            most,
        )
    }

    /// The key with this hash, whether it works or not.
    pub async fn admin_key_by_hash(&mut self, key_hash: &str) -> Result<Option<StoredAdminKey>> {
        sql!(
            self,
            fetch_optional: StoredAdminKey,
            concat!("SELECT ", admin_key_columns!(), " FROM admin_keys WHERE key_hash = $1"),
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
            concat!(
                "UPDATE admin_keys SET revoked_at = COALESCE(revoked_at, $2)
                 WHERE admin_key_id = $1 RETURNING ",
                admin_key_columns!()
            ),
            id,
            now,
        )
    }
}
