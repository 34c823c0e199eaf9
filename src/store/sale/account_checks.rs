//! The table of checked Stripe accounts: which options an account was found to support.

use crate::domain::secret::KeyedHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Records that an account supports its options.
    pub async fn account_checked(&mut self, check: &KeyedHash, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO account_checks (check_hash, checked_at) VALUES ($1, $2)
             ON CONFLICT (check_hash) DO NOTHING",
            check,
            now,
        )
        .map(drop)
    }

    /// Returns whether an account was found to support its options.
    pub async fn was_account_checked(&mut self, check: &KeyedHash) -> Result<bool> {
        let row = sql!(
            self,
            fetch_optional: (Timestamp,),
            "SELECT checked_at FROM account_checks WHERE check_hash = $1",
            check,
        )?;
        Ok(row.is_some())
    }
}
