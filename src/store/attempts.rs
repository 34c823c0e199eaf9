//! Calls to Stripe that make something: written down before they are made, with the idempotency key
//! and the parameters, so that whoever finds one unanswered repeats exactly it.

use super::{Tx, row, sql};
use crate::domain::ids::{AttemptId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// What a call makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The customer at Stripe.
    Customer,
    /// A checkout session.
    Checkout,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Checkout => "checkout",
        }
    }
}

row! {
    /// A call that was made, or was about to be.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Attempt {
        /// Its idempotency key.
        pub attempt_id: AttemptId,
        /// Its parameters, JSON.
        pub parameters: String,
        /// When it was written down.
        pub created_at: Timestamp,
        /// The id of what Stripe made; none while the answer is not known.
        pub result: Option<String>,
    }
}

impl Tx {
    /// The customer's last attempt of this kind.
    pub async fn attempt(&mut self, id: &CustomerId, purpose: Purpose) -> Result<Option<Attempt>> {
        sql!(
            self,
            fetch_optional: Attempt,
            "SELECT attempt_id, parameters, created_at, result FROM stripe_attempts
             WHERE customer_id = $1 AND purpose = $2",
            id,
            purpose.as_str(),
        )
    }

    /// Writes an attempt, in the place of the last one of its kind.
    pub async fn put_attempt(
        &mut self,
        id: &CustomerId,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO stripe_attempts
                 (customer_id, purpose, attempt_id, parameters, created_at, result)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (customer_id, purpose) DO UPDATE SET
                 attempt_id = $3, parameters = $4, created_at = $5, result = $6",
            id,
            purpose.as_str(),
            &attempt.attempt_id,
            &attempt.parameters,
            attempt.created_at,
            &attempt.result,
        )?;
        Ok(())
    }

    /// Forgets an attempt: what it made is gone.
    pub async fn delete_attempt(&mut self, id: &CustomerId, purpose: Purpose) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM stripe_attempts WHERE customer_id = $1 AND purpose = $2",
            id,
            purpose.as_str(),
        )?;
        Ok(())
    }
}
