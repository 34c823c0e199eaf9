//! Subscriptions: the one that governs each customer's license, as Stripe said it last.

use super::Tx;
use super::statement::{Insert, sql};
use crate::domain::ids::CustomerId;
use crate::domain::subscription::{PaidWithoutLicense, SubscriptionRow};
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// The customers who paid and lack a license that works at `now`, in the order of their ids, `most`
    /// at the most.
    ///
    /// Who paid: a subscription in good standing or past due, within its period and not at its end,
    /// whose newest order that asked for something succeeded. So nobody is counted while a payment is on its way,
    /// or after one that failed, was refunded or is disputed (of two of the same second, either); nor for what was
    /// paid for an earlier subscription.
    ///
    /// What works: the current license, unless it was taken back, has ended with its grace, or is of
    /// the trial. One that an operator granted will do: it stays only where it is worth more.
    pub async fn paid_without_license(
        &mut self,
        now: Timestamp,
        most: i64,
    ) -> Result<Vec<PaidWithoutLicense>> {
        // It reads every live subscription, and an entry of an index for each: there is nothing
        // shorter that says who lacks something. Orders are read of those only.
        sql!(
            self,
            fetch_all: PaidWithoutLicense,
            "SELECT customer_id, plan, status, current_period_end, COUNT(*) OVER () AS total
             FROM subscriptions AS paid
             WHERE status IN ('active', 'trialing', 'past_due')
               AND current_period_end > $1 AND (cancel_at IS NULL OR cancel_at > $1)
               AND NOT EXISTS (
                   SELECT 1 FROM licenses
                   WHERE licenses.customer_id = paid.customer_id
                     AND superseded_at IS NULL AND revoked_at IS NULL AND source <> 'trial'
                     AND (expires_at IS NULL OR expires_at > $1 OR grace_until > $1))
               AND 'succeeded' = (
                   SELECT orders.status FROM orders
                   WHERE orders.customer_id = paid.customer_id
                     AND stripe_invoice_id IS NOT NULL AND orders.amount > 0
                     AND COALESCE(purchased_at, orders.created_at) >= paid.created_at
                   ORDER BY orders.created_at DESC,
                       CASE orders.status WHEN 'succeeded' THEN 1 ELSE 0 END, order_id LIMIT 1)
             ORDER BY customer_id LIMIT $2",
            now,
            most,
        )
    }

    /// The customer's subscription.
    pub async fn subscription(&mut self, id: &CustomerId) -> Result<Option<SubscriptionRow>> {
        sql!(
            self,
            fetch_optional: SubscriptionRow,
            "SELECT {columns} FROM subscriptions WHERE customer_id = $1",
            id,
        )
    }

    /// Writes the customer's subscription, whichever it was before.
    pub async fn put_subscription(&mut self, row: &SubscriptionRow) -> Result<()> {
        let insert = Insert::new("subscriptions", row).or_replace(&["customer_id"]);
        self.insert(insert).await?;
        Ok(())
    }
}
