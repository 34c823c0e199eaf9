//! Calls to Stripe that make something: written down before they are made, with the idempotency key
//! and the parameters, so that whoever finds one unanswered repeats exactly it.

use super::Tx;
use super::statement::{Insert, sql};
use crate::domain::attempt::{Attempt, Purpose};
use crate::domain::ids::CustomerId;
use crate::error::Result;

impl Tx {
    /// The customer's last attempt of this kind.
    pub async fn attempt(&mut self, id: &CustomerId, purpose: Purpose) -> Result<Option<Attempt>> {
        sql!(
            self,
            fetch_optional: Attempt,
            "SELECT {columns} FROM stripe_attempts
             WHERE customer_id = $1 AND purpose = $2",
            id,
            purpose,
        )
    }

    /// Writes an attempt, in the place of the last one of its kind.
    pub async fn put_attempt(
        &mut self,
        id: &CustomerId,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> Result<()> {
        let insert = Insert::new("stripe_attempts", attempt)
            .with("customer_id", id)
            .with("purpose", purpose)
            .or_replace(&["customer_id", "purpose"]);
        self.insert(insert).await?;
        Ok(())
    }

    /// Forgets an attempt: what it made is gone.
    pub async fn delete_attempt(&mut self, id: &CustomerId, purpose: Purpose) -> Result<()> {
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
