//! The calls to Stripe that create something. Each is stored before it is made, with its
//! idempotency key and parameters, so that a call without a response is repeated exactly.

use crate::domain::ids::CustomerId;
use crate::domain::sale::attempt::{Attempt, CreatedObject};
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

impl Tx {
    /// Returns the customer's last attempt with this purpose.
    pub async fn attempt(
        &mut self,
        id: &CustomerId,
        purpose: CreatedObject,
    ) -> Result<Option<Attempt>> {
        sql!(
            self,
            fetch_optional: Attempt,
            "SELECT {columns} FROM stripe_attempts
             WHERE customer_id = $1 AND purpose = $2",
            id,
            purpose,
        )
    }

    /// Inserts an attempt, or replaces the last one with this purpose.
    pub async fn put_attempt(
        &mut self,
        id: &CustomerId,
        purpose: CreatedObject,
        attempt: &Attempt,
    ) -> Result<()> {
        let insert = Insert::new("stripe_attempts", attempt)
            .with("customer_id", id)
            .with("purpose", purpose)
            .or_replace(&["customer_id", "purpose"]);
        self.insert(insert).await?;
        Ok(())
    }

    /// Deletes an attempt whose object no longer exists at Stripe.
    pub async fn delete_attempt(&mut self, id: &CustomerId, purpose: CreatedObject) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM stripe_attempts WHERE customer_id = $1 AND purpose = $2",
            id,
            purpose,
        )?;
        Ok(())
    }
}
