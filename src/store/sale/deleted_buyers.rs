//! The table of Stripe customers whose account here was deleted.

use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Remembers that the account of a Stripe customer is deleted, in the transaction that deletes
    /// it.
    pub async fn remember_deleted_buyer(
        &mut self,
        stripe_id: &StripeCustomerId,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO deleted_buyers (stripe_customer_id, customer_id, deleted_at)
             VALUES ($1, $2, $3)
             ON CONFLICT (stripe_customer_id) DO UPDATE SET
                 customer_id = excluded.customer_id, deleted_at = excluded.deleted_at",
            stripe_id,
            id,
            now,
        )
        .map(drop)
    }

    /// Returns the last account of a Stripe customer that was deleted, and when; `None` also if it
    /// was deleted before this was recorded.
    pub async fn deleted_buyer(
        &mut self,
        stripe_id: &StripeCustomerId,
    ) -> Result<Option<(CustomerId, Timestamp)>> {
        sql!(
            self,
            fetch_optional: (CustomerId, Timestamp),
            "SELECT customer_id, deleted_at FROM deleted_buyers WHERE stripe_customer_id = $1",
            stripe_id,
        )
    }
}
