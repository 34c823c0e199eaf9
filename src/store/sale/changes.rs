//! The last change of each customer's subscription.

use crate::domain::ids::{AttemptId, CustomerId};
use crate::domain::sale::change::StoredChange;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

impl Tx {
    /// Returns the last change of the customer's subscription.
    pub async fn subscription_change(&mut self, id: &CustomerId) -> Result<Option<StoredChange>> {
        sql!(
            self,
            fetch_optional: StoredChange,
            "SELECT {columns} FROM subscription_changes WHERE customer_id = $1",
            id,
        )
    }

    /// Inserts a change, or replaces the last one.
    pub async fn put_subscription_change(
        &mut self,
        id: &CustomerId,
        change: &StoredChange,
    ) -> Result<()> {
        let insert = Insert::new("subscription_changes", change)
            .with("customer_id", id)
            .or_replace(&["customer_id"]);
        self.insert(insert).await?;
        Ok(())
    }

    /// Records that the outcome of a change is known.
    pub async fn end_subscription_change(
        &mut self,
        attempt_id: &AttemptId,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE subscription_changes SET done_at = $1
             WHERE customer_id = $2 AND attempt_id = $3",
            now,
            id,
            attempt_id,
        )?;
        Ok(())
    }

    /// Deletes a change that was certainly not made.
    pub async fn delete_subscription_change(&mut self, id: &CustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM subscription_changes WHERE customer_id = $1", id)?;
        Ok(())
    }
}
