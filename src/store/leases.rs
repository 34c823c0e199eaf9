//! Who is working on a customer with Stripe. No transaction is held across a network call, so what
//! must exclude others for longer is a lease with a number that counts up: whoever slept past the end
//! of theirs finds another number, and cannot write.

use super::statement::sql;
use super::{Store, Tx};
use crate::domain::ids::CustomerId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::FailPoint;

impl Store {
    /// Whether somebody holds the customer's lease at `now`, as [`Tx::take_lease`] sees it: to wait
    /// without writing. It is asked again and again, so without a transaction around it.
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

    /// Gives the lease back.
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
    /// Takes the customer's lease until `until`, unless somebody holds it at `now`. One that reaches
    /// further than `latest` was taken by a wrong clock, and does not count. Answers its number.
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

    /// Whether nobody has taken the lease since it got this number; until the transaction ends,
    /// nobody will.
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
