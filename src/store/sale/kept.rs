//! The table of kept purchases: those that each sync fetches, because a license may depend on them.

use std::collections::BTreeSet;

use crate::domain::ids::CustomerId;
use crate::domain::sale::settlement::KeptId;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Returns the customer's kept purchases, in the order of their ids. Claimed payments are kept
    /// in any case: Stripe does not list them for the customer.
    pub async fn kept_purchases(&mut self, id: &CustomerId) -> Result<Vec<KeptId>> {
        let rows = sql!(
            self,
            fetch_all: (KeptId,),
            "SELECT stripe_id FROM kept_purchases WHERE customer_id = $1
             UNION SELECT session_id FROM guest_purchases WHERE customer_id = $1
             ORDER BY stripe_id",
            id,
        )?;
        Ok(rows.into_iter().map(|(kept,)| kept).collect())
    }

    /// Replaces the customer's kept purchases, which were `before`.
    pub async fn keep_purchases(
        &mut self,
        id: &CustomerId,
        before: &[KeptId],
        kept: &BTreeSet<KeptId>,
    ) -> Result<()> {
        for gone in before.iter().filter(|id| !kept.contains(id)) {
            sql!(
                self,
                execute,
                "DELETE FROM kept_purchases WHERE customer_id = $1 AND stripe_id = $2",
                id,
                gone,
            )?;
        }
        for new in kept.iter().filter(|id| !before.contains(id)) {
            sql!(
                self,
                execute,
                "INSERT INTO kept_purchases (customer_id, stripe_id) VALUES ($1, $2)",
                id,
                new,
            )?;
        }
        Ok(())
    }
}
