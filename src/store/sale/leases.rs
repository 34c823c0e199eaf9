//! The leases on customers. No transaction is held across a network call, so a sync with Stripe
//! takes a lease instead. Each lease has a fencing token that counts up: a server whose lease has
//! expired finds a newer token and cannot write.

use crate::domain::ids::CustomerId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::FailPoint;
use crate::store::statement::sql;
use crate::store::{Store, Tx};

impl Store {
    /// Returns whether the customer is leased at `now`, by the rule of [`Tx::take_lease`]. Callers
    /// poll it, so it neither writes nor opens a transaction.
    pub async fn is_leased(
        &self,
        id: &CustomerId,
        now: Timestamp,
        latest: Timestamp,
    ) -> Result<bool> {
        let held = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT fence FROM customer_leases
             WHERE customer_id = $1 AND leased_until > $2 AND leased_until <= $3",
            id,
            now,
            latest,
        )?;
        Ok(held.is_some())
    }

    /// Releases the lease, unless another server has taken it.
    pub async fn release_lease(
        &self,
        id: &CustomerId,
        fence: i64,
        at: FailPoint<'_>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE customer_leases SET leased_until = NULL WHERE customer_id = $1 AND fence = $2",
            id,
            fence,
        )?;
        at.reach();
        Ok(())
    }
}

impl Tx {
    /// Takes the customer's lease until `until`. Returns its fencing token, or `None` if the
    /// customer is leased at `now`. A lease beyond `latest` was taken with a wrong clock and is
    /// ignored.
    pub async fn take_lease(
        &mut self,
        id: &CustomerId,
        now: Timestamp,
        until: Timestamp,
        latest: Timestamp,
    ) -> Result<Option<i64>> {
        let taken = sql!(
            self,
            fetch_optional: (i64,),
            "INSERT INTO customer_leases (customer_id, fence, leased_until) VALUES ($1, 1, $3)
             ON CONFLICT (customer_id) DO UPDATE
                 SET fence = customer_leases.fence + 1, leased_until = $3
                 WHERE customer_leases.leased_until IS NULL OR customer_leases.leased_until <= $2
                    OR customer_leases.leased_until > $4
             RETURNING fence",
            id,
            now,
            until,
            latest,
        )?;
        Ok(taken.map(|(fence,)| fence))
    }

    /// Extends a lease until `until`. Returns whether this fencing token is still the newest.
    pub async fn renew_lease(
        &mut self,
        id: &CustomerId,
        fence: i64,
        until: Timestamp,
    ) -> Result<bool> {
        let renewed = sql!(
            self,
            execute,
            "UPDATE customer_leases SET leased_until = $3 WHERE customer_id = $1 AND fence = $2",
            id,
            fence,
            until,
        )?;
        Ok(renewed > 0)
    }

    /// Returns whether this fencing token is still the newest. It locks the lease, so that it stays
    /// the newest until the transaction ends.
    pub async fn holds_lease(&mut self, id: &CustomerId, fence: i64) -> Result<bool> {
        let held = sql!(
            self,
            execute,
            "UPDATE customer_leases SET fence = fence WHERE customer_id = $1 AND fence = $2",
            id,
            fence,
        )?;
        Ok(held > 0)
    }
}
