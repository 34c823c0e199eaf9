//! The table of unknown buyers: Stripe customers that pay for a plan and are not linked to a
//! customer. `flows/sale/buyers.rs` decides which ones are recorded.

use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::{UnknownBuyer, WaitingPurchase};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

/// The maximum number of unknown buyers in the table. More than that have a common cause, and
/// `licentia stripe backfill` lists all of them.
const MAX_UNKNOWN_BUYERS: i64 = 1000;

impl Tx {
    /// Records a Stripe customer that pays for a plan, unless it is linked in the meantime, or the
    /// table is full. Returns whether it was not recorded before.
    pub async fn note_unknown_buyer(
        &mut self,
        id: &StripeCustomerId,
        plan: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let known = sql!(
            self,
            execute,
            "UPDATE unknown_buyers SET plan = $2, last_seen_at = $3 WHERE stripe_customer_id = $1",
            id,
            plan,
            now,
        )?;
        if known > 0 {
            return Ok(false);
        }
        let inserted = sql!(
            self,
            execute,
            "INSERT INTO unknown_buyers (stripe_customer_id, plan, first_seen_at, last_seen_at)
             SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($3 AS BIGINT)
             WHERE (SELECT COUNT(*) FROM unknown_buyers) < $4
               AND NOT EXISTS (SELECT 1 FROM customers WHERE stripe_customer_id = $1)
             ON CONFLICT (stripe_customer_id) DO NOTHING",
            id,
            plan,
            now,
            MAX_UNKNOWN_BUYERS,
        )?;
        Ok(inserted > 0)
    }

    /// Lets the purchase of an unknown buyer wait for a customer. Returns whether it did not wait
    /// before; also false if the buyer is not recorded.
    pub async fn insert_waiting_purchase(&mut self, waiting: &WaitingPurchase) -> Result<bool> {
        let inserted = sql!(
            self,
            execute,
            "INSERT INTO waiting_purchases (stripe_customer_id, customer_id, created_at)
             SELECT stripe_customer_id, CAST($2 AS TEXT), CAST($3 AS BIGINT)
             FROM unknown_buyers WHERE stripe_customer_id = $1
             ON CONFLICT (stripe_customer_id) DO NOTHING",
            waiting.stripe_customer_id,
            waiting.customer_id,
            waiting.created_at,
        )?;
        Ok(inserted > 0)
    }

    /// Returns the customer whom the purchase of an unknown buyer waits for.
    pub async fn purchase_waits_for(
        &mut self,
        id: &StripeCustomerId,
    ) -> Result<Option<CustomerId>> {
        let waiting = sql!(
            self,
            fetch_optional: WaitingPurchase,
            "SELECT {columns} FROM waiting_purchases WHERE stripe_customer_id = $1",
            id,
        )?;
        Ok(waiting.map(|waiting: WaitingPurchase| waiting.customer_id))
    }

    /// Returns the purchases that wait for a customer, oldest first.
    pub async fn waiting_purchases(&mut self, id: &CustomerId) -> Result<Vec<WaitingPurchase>> {
        sql!(
            self,
            fetch_all: WaitingPurchase,
            "SELECT {columns} FROM waiting_purchases WHERE customer_id = $1
             ORDER BY created_at, stripe_customer_id",
            id,
        )
    }

    /// Ends the waiting of the purchases for a customer: the account got another address.
    pub async fn delete_waiting_purchases(&mut self, id: &CustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM waiting_purchases WHERE customer_id = $1", id)?;
        Ok(())
    }

    /// Deletes an unknown buyer that was linked or no longer pays.
    pub async fn forget_unknown_buyer(&mut self, id: &StripeCustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM unknown_buyers WHERE stripe_customer_id = $1", id)?;
        Ok(())
    }

    /// Deletes the unknown buyers that were last recorded before `since`, and those that are
    /// linked.
    pub async fn forget_unknown_buyers_before(&mut self, since: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM unknown_buyers WHERE last_seen_at < $1 OR stripe_customer_id IN (
                 SELECT stripe_customer_id FROM customers WHERE stripe_customer_id IS NOT NULL)",
            since,
        )?;
        Ok(())
    }

    /// Returns whether a Stripe customer is recorded as an unknown buyer.
    pub async fn is_unknown_buyer(&mut self, id: &StripeCustomerId) -> Result<bool> {
        let buyer = sql!(
            self,
            fetch_optional: UnknownBuyer,
            "SELECT {columns} FROM unknown_buyers WHERE stripe_customer_id = $1",
            id,
        )?;
        Ok(buyer.is_some())
    }

    /// Returns the unknown buyers, oldest first, at most `most`.
    pub async fn unknown_buyers(&mut self, most: i64) -> Result<Vec<UnknownBuyer>> {
        sql!(
            self,
            fetch_all: UnknownBuyer,
            "SELECT {columns} FROM unknown_buyers
             ORDER BY first_seen_at, stripe_customer_id LIMIT $1",
            most,
        )
    }

    /// Returns the number of unknown buyers.
    pub async fn count_unknown_buyers(&mut self) -> Result<i64> {
        let (count,) = sql!(self, fetch_one: (i64,), "SELECT COUNT(*) FROM unknown_buyers")?;
        Ok(count)
    }
}
