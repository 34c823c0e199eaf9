//! The tables of buyers: those who pay for a plan and are not linked to a customer, the purchases
//! that wait for one, and the claimed single payments (`guest_purchases`). `flows/sale/buyers.rs`
//! decides which ones are recorded.

use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::{
    BuyerId, ClaimedPayment, MAX_UNKNOWN_BUYERS, UnknownBuyer, WaitingPurchase,
};
use crate::domain::sale::stripe_ids::CheckoutSessionId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Records a buyer who pays for a plan, unless the purchase belongs to a customer in the
    /// meantime, or the table is full. Returns whether it was not recorded before.
    pub async fn note_unknown_buyer(
        &mut self,
        id: &BuyerId,
        plan: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let known = sql!(
            self,
            execute,
            "UPDATE unknown_buyers SET plan = $2, last_seen_at = $3 WHERE buyer_id = $1",
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
            "INSERT INTO unknown_buyers (buyer_id, plan, first_seen_at, last_seen_at)
             SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($3 AS BIGINT)
             WHERE (SELECT COUNT(*) FROM unknown_buyers) < $4
               AND NOT EXISTS (SELECT 1 FROM customers WHERE stripe_customer_id = $1)
               AND NOT EXISTS (SELECT 1 FROM guest_purchases WHERE session_id = $1)
             ON CONFLICT (buyer_id) DO NOTHING",
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
            "INSERT INTO waiting_purchases (buyer_id, customer_id, created_at, mailed_at, mails)
             SELECT buyer_id, CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT),
                 CAST($5 AS BIGINT)
             FROM unknown_buyers WHERE buyer_id = $1
             ON CONFLICT (buyer_id) DO NOTHING",
            waiting.buyer_id,
            waiting.customer_id,
            waiting.created_at,
            waiting.mailed_at,
            waiting.mails,
        )?;
        Ok(inserted > 0)
    }

    /// Returns the purchase of an unknown buyer if it waits for a customer.
    pub async fn waiting_purchase(&mut self, id: &BuyerId) -> Result<Option<WaitingPurchase>> {
        sql!(
            self,
            fetch_optional: WaitingPurchase,
            "SELECT {columns} FROM waiting_purchases WHERE buyer_id = $1",
            id,
        )
    }

    /// Records that another link is mailed to a waiting buyer, unless that was done in the
    /// meantime. Returns whether it is recorded.
    pub async fn mailed_again(
        &mut self,
        waiting: &WaitingPurchase,
        now: Timestamp,
    ) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE waiting_purchases SET mailed_at = $3, mails = mails + 1
             WHERE buyer_id = $1 AND mails = $2",
            waiting.buyer_id,
            waiting.mails,
            now,
        )?;
        Ok(updated > 0)
    }

    /// Returns the purchases that wait for a customer, oldest first.
    pub async fn waiting_purchases(&mut self, id: &CustomerId) -> Result<Vec<WaitingPurchase>> {
        sql!(
            self,
            fetch_all: WaitingPurchase,
            "SELECT {columns} FROM waiting_purchases WHERE customer_id = $1
             ORDER BY created_at, buyer_id",
            id,
        )
    }

    /// Ends the waiting of all purchases for a customer.
    pub async fn delete_waiting_purchases(&mut self, id: &CustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM waiting_purchases WHERE customer_id = $1", id)?;
        Ok(())
    }

    /// Deletes an unknown buyer that no longer pays, unless the buyer was recorded again after
    /// `seen_at`.
    pub async fn forget_unknown_buyer_seen_at(
        &mut self,
        id: &BuyerId,
        seen_at: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM unknown_buyers WHERE buyer_id = $1 AND last_seen_at = $2",
            id,
            seen_at,
        )?;
        Ok(())
    }

    /// Deletes an unknown buyer that was linked.
    pub async fn forget_unknown_buyer(&mut self, id: &BuyerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM unknown_buyers WHERE buyer_id = $1", id)?;
        Ok(())
    }

    /// Deletes the unknown buyers that were last recorded before `since`, and those that are
    /// linked.
    pub async fn forget_unknown_buyers_before(&mut self, since: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM unknown_buyers WHERE last_seen_at < $1 OR buyer_id IN (
                 SELECT stripe_customer_id FROM customers WHERE stripe_customer_id IS NOT NULL
                 UNION SELECT session_id FROM guest_purchases)",
            since,
        )?;
        Ok(())
    }

    /// Returns when a buyer was last recorded as unknown; `None` if the buyer is not.
    pub async fn unknown_buyer_seen_at(&mut self, id: &BuyerId) -> Result<Option<Timestamp>> {
        let seen = sql!(
            self,
            fetch_optional: (Timestamp,),
            "SELECT last_seen_at FROM unknown_buyers WHERE buyer_id = $1",
            id,
        )?;
        Ok(seen.map(|(at,)| at))
    }

    /// Returns the unknown buyers, oldest first, at most `most`.
    pub async fn unknown_buyers(&mut self, most: i64) -> Result<Vec<UnknownBuyer>> {
        sql!(
            self,
            fetch_all: UnknownBuyer,
            "SELECT {columns} FROM unknown_buyers
             ORDER BY first_seen_at, buyer_id LIMIT $1",
            most,
        )
    }

    /// Returns the number of unknown buyers.
    pub async fn count_unknown_buyers(&mut self) -> Result<i64> {
        let (count,) = sql!(self, fetch_one: (i64,), "SELECT COUNT(*) FROM unknown_buyers")?;
        Ok(count)
    }

    /// Returns a single payment if it belongs, or has belonged, to a customer.
    pub async fn claimed_payment(
        &mut self,
        id: &CheckoutSessionId,
    ) -> Result<Option<ClaimedPayment>> {
        sql!(
            self,
            fetch_optional: ClaimedPayment,
            "SELECT {columns} FROM guest_purchases WHERE session_id = $1",
            id,
        )
    }

    /// Returns the Checkout sessions of the claimed payments of a customer.
    pub async fn claimed_sessions(&mut self, id: &CustomerId) -> Result<Vec<CheckoutSessionId>> {
        let rows = sql!(
            self,
            fetch_all: (CheckoutSessionId,),
            "SELECT session_id FROM guest_purchases WHERE customer_id = $1 ORDER BY session_id",
            id,
        )?;
        Ok(rows.into_iter().map(|(session,)| session).collect())
    }

    /// Records that a single payment belongs to a customer, and is no longer that of an
    /// unknown buyer. Returns whether it did not belong to one.
    pub async fn claim_payment(&mut self, payment: &ClaimedPayment) -> Result<bool> {
        let claimed = sql!(
            self,
            execute,
            "INSERT INTO guest_purchases (session_id, customer_id, stripe_payment_intent_id,
                 claimed_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (session_id) DO UPDATE SET customer_id = excluded.customer_id,
                 claimed_at = excluded.claimed_at
             WHERE guest_purchases.customer_id IS NULL",
            payment.session_id,
            payment.customer_id,
            payment.stripe_payment_intent_id,
            payment.claimed_at,
        )?;
        self.forget_unknown_buyer(&BuyerId::Session(payment.session_id.clone())).await?;
        Ok(claimed > 0)
    }
}
