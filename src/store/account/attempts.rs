//! The tables of counted attempts and of the networks that account owners log in from.

use crate::domain::account::attempts::State;
use crate::domain::contact::Email;
use crate::domain::ids::UserId;
use crate::domain::secret::KeyedHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::sql;
use crate::store::{SWEPT_AT_ONCE, Store, Tx};

impl Store {
    /// Returns whether the owner of the account with this address has logged in from a network.
    pub async fn knows_network(&self, email: &Email, network: &KeyedHash) -> Result<bool> {
        let found = sql!(
            self,
            fetch_optional: (String,),
            "SELECT network FROM known_networks
                 JOIN users ON users.user_id = known_networks.user_id
                 WHERE users.email = $1 AND network = $2",
            email,
            network,
        )?;
        Ok(found.is_some())
    }
}

impl Tx {
    /// Returns the state of a bucket, and locks it until the end of the transaction. A new bucket
    /// of `account` is created.
    pub async fn lock_bucket(
        &mut self,
        bucket: &KeyedHash,
        account: Option<&KeyedHash>,
        now: Timestamp,
    ) -> Result<State> {
        let (state,) = sql!(
            self,
            fetch_one: (State,),
            "INSERT INTO throttle_buckets (bucket, account, state, expires_at)
                 VALUES ($1, $2, '', $3)
                 ON CONFLICT (bucket) DO UPDATE SET bucket = excluded.bucket
                 RETURNING state",
            bucket,
            account,
            now,
        )?;
        Ok(state)
    }

    /// Stores the state of a locked bucket.
    pub async fn set_bucket(
        &mut self,
        bucket: &KeyedHash,
        state: &State,
        expires_at: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE throttle_buckets SET state = $2, expires_at = $3 WHERE bucket = $1",
            bucket,
            state,
            expires_at,
        )?;
        Ok(())
    }

    /// Deletes a few states that had expired by a time.
    pub async fn sweep_buckets(&mut self, until: Timestamp) -> Result<()> {
        let table = ("throttle_buckets", "bucket", "expires_at");
        self.sweep_table(table, until, SWEPT_AT_ONCE).await
    }

    /// Deletes all states of an account. It locks them in the order in which attempts lock theirs.
    pub async fn delete_buckets(&mut self, account: &KeyedHash) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM throttle_buckets WHERE bucket IN (
                 SELECT bucket FROM throttle_buckets WHERE account = $1
                 ORDER BY bucket {for_update})",
            account,
        )?;
        Ok(())
    }

    /// Deletes all networks of the owner of an account.
    pub async fn delete_known_networks(&mut self, user_id: &UserId) -> Result<()> {
        sql!(self, execute, "DELETE FROM known_networks WHERE user_id = $1", user_id)?;
        Ok(())
    }

    /// Records that the owner of an account logged in from a network, and deletes the least recent
    /// networks beyond `most`.
    pub async fn remember_network(
        &mut self,
        user_id: &UserId,
        network: &KeyedHash,
        most: i64,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO known_networks (user_id, network, seen_at) VALUES ($1, $2, $3)
                 ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at",
            user_id,
            network,
            now,
        )?;
        sql!(
            self,
            execute,
            "DELETE FROM known_networks WHERE user_id = $1 AND network NOT IN (
                 SELECT network FROM known_networks WHERE user_id = $1
                 ORDER BY seen_at DESC, network LIMIT $2)",
            user_id,
            most,
        )?;
        Ok(())
    }
}
