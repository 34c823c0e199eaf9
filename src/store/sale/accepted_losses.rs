//! The column of `customers` with the losses that a customer accepted.

use crate::domain::ids::CustomerId;
use crate::domain::sale::accepted_loss::{AcceptedLoss, AcceptedLosses};
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Returns the losses that a customer accepted.
    pub async fn accepted_losses(&mut self, id: &CustomerId) -> Result<AcceptedLosses> {
        let row = sql!(
            self,
            fetch_optional: (Option<AcceptedLosses>,),
            "SELECT accepted_losses FROM customers WHERE customer_id = $1",
            id,
        )?;
        Ok(row.and_then(|(losses,)| losses).unwrap_or_default())
    }

    /// Records that a customer, who is locked, accepts a loss.
    pub async fn accept_loss(&mut self, id: &CustomerId, loss: &AcceptedLoss) -> Result<()> {
        let mut losses = self.accepted_losses(id).await?;
        losses.add(loss.clone());
        sql!(
            self,
            execute,
            "UPDATE customers SET accepted_losses = $2 WHERE customer_id = $1",
            id,
            &losses,
        )
        .map(drop)
    }
}
