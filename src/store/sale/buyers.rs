//! Unknown buyers: Stripe customers who pay for a plan and are linked to nobody here.

use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

/// The most unknown buyers that are kept: a vendor with more has one cause for all of them, and
/// `licentia stripe backfill` finds everybody.
const MAX_UNKNOWN_BUYERS: i64 = 1000;

impl Tx {
    /// Notes that a Stripe customer pays for a plan, unless one is linked by now, or too many are noted.
    /// Returns whether they are new.
    pub async fn note_unknown_buyer(
        &mut self,
        id: &StripeCustomerId,
        plan: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let again = sql!(
            self,
            execute,
            "UPDATE unknown_buyers SET plan = $2, last_seen_at = $3 WHERE stripe_customer_id = $1",
            id,
            plan,
            now,
        )?;
        if again > 0 {
            return Ok(false);
        }
        let new = sql!(
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
        Ok(new > 0)
    }

    /// Forgets an unknown buyer, who was linked or does not pay any more.
    pub async fn forget_unknown_buyer(&mut self, id: &StripeCustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM unknown_buyers WHERE stripe_customer_id = $1", id)?;
        Ok(())
    }

    /// Forgets the unknown buyers who were last seen before `since`, and those who are linked.
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

    /// Whether a Stripe customer is a known unknown buyer.
    pub async fn is_unknown_buyer(&mut self, id: &StripeCustomerId) -> Result<bool> {
        let found = sql!(
            self,
            fetch_optional: UnknownBuyer,
            "SELECT {columns} FROM unknown_buyers WHERE stripe_customer_id = $1",
            id,
        )?;
        Ok(found.is_some())
    }

    /// Returns the unknown buyers, the oldest first, `most` at the most.
    pub async fn unknown_buyers(&mut self, most: i64) -> Result<Vec<UnknownBuyer>> {
        sql!(
            self,
            fetch_all: UnknownBuyer,
            "SELECT {columns} FROM unknown_buyers
             ORDER BY first_seen_at, stripe_customer_id LIMIT $1",
            most,
        )
    }

    /// Returns how many unknown buyers there are.
    pub async fn count_unknown_buyers(&mut self) -> Result<i64> {
        let (count,) = sql!(self, fetch_one: (i64,), "SELECT COUNT(*) FROM unknown_buyers")?;
        Ok(count)
    }
}
