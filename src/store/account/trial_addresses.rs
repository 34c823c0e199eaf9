//! The table of addresses that have had a trial and belong to no customer any more. It has keyed
//! hashes, never an address.

use crate::domain::ids::CustomerId;
use crate::domain::license::Source;
use crate::domain::secret::KeyedHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::sql;
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Remembers that an address has had a trial, and deletes a few rows whose time is over.
    pub async fn remember_trial(
        &mut self,
        address: &KeyedHash,
        kept_until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO trial_addresses (address_hash, kept_until) VALUES ($1, $2)
             ON CONFLICT (address_hash) DO UPDATE SET kept_until = excluded.kept_until",
            address,
            kept_until,
        )?;
        let table = ("trial_addresses", "address_hash", "kept_until");
        self.sweep_table(table, now, SWEPT_AT_ONCE).await
    }

    /// Returns until when an address is remembered, if it has had a trial.
    pub async fn trial_kept_until(&mut self, address: &KeyedHash) -> Result<Option<Timestamp>> {
        let kept = sql!(
            self,
            fetch_optional: (Timestamp,),
            "SELECT kept_until FROM trial_addresses WHERE address_hash = $1",
            address,
        )?;
        Ok(kept.map(|(until,)| until))
    }

    /// Returns whether a customer has ever had a trial.
    pub async fn has_had_trial(&mut self, id: &CustomerId) -> Result<bool> {
        let trial = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT seq FROM licenses WHERE customer_id = $1 AND source = $2 LIMIT 1",
            id,
            Source::Trial,
        )?;
        Ok(trial.is_some())
    }
}
