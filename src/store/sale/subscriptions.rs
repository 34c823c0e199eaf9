//! The table of subscriptions: each customer's current subscription, as of the last sync.

use crate::domain::ids::CustomerId;
use crate::domain::sale::subscription::{PaidWithoutLicense, SubscriptionRow};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

impl Tx {
    /// Returns the customers that paid but have no working license at `now`, ordered by id, at most
    /// `most`.
    ///
    /// A customer has paid if a single payment for a plan succeeded and nothing of it was returned,
    /// and the Stripe customer is still linked: a deletion at Stripe takes the purchases with it.
    /// An order without units is for an add-on alone, which gives no license. A customer with a
    /// subscription has paid if the subscription is active or trialing, its period has not ended,
    /// and its newest order with an amount succeeded. Of a past-due subscription, the current
    /// period is unpaid, even if the customer has just paid an earlier one. Orders of earlier
    /// subscriptions do not count. So a customer is not listed while a payment is pending, or after
    /// it failed, was refunded or is disputed. Of two orders in the same second, one that succeeded
    /// counts.
    ///
    /// A license works if it is current, not revoked, within its term or grace, and not a trial. A
    /// grant counts too: it stays current only if it is worth more. A customer whose license an
    /// operator revoked is not listed until the next payment, which brings a new license.
    pub async fn paid_without_license(
        &mut self,
        now: Timestamp,
        most: i64,
    ) -> Result<Vec<PaidWithoutLicense>> {
        // This reads every subscription and every order of the index `orders_paid_once_index`,
        // and one license for each that may be paid: no index can list missing licenses. The
        // orders of a subscription are read only for customers without a license.
        sql!(
            self,
            fetch_all: PaidWithoutLicense,
            "SELECT customer_id, MAX(plan) AS plan, MAX(status) AS status,
                 MAX(current_period_end) AS current_period_end, COUNT(*) OVER () AS total
             FROM (SELECT customer_id, plan, status, current_period_end, created_at AS since
                   FROM subscriptions
                   WHERE status IN ('active', 'trialing')
                     AND current_period_end > $1 AND (cancel_at IS NULL OR cancel_at > $1)
                   UNION ALL SELECT orders.customer_id, plan, NULL, NULL, NULL
                   FROM orders JOIN customers ON customers.customer_id = orders.customer_id
                   WHERE billing_interval = 'once' AND orders.status = 'succeeded'
                     AND returned = 0 AND quantity IS NOT NULL
                     AND stripe_customer_id IS NOT NULL) AS paid
             WHERE NOT EXISTS (
                   SELECT 1 FROM licenses
                   WHERE licenses.customer_id = paid.customer_id
                     AND superseded_at IS NULL AND (
                         (revoked_at IS NULL AND source <> 'trial'
                             AND (expires_at IS NULL OR expires_at > $1 OR grace_until > $1))
                         OR (revocation_reason = 'operator' AND revoked_at >= COALESCE(
                             (SELECT MAX(purchased_at) FROM orders
                              WHERE orders.customer_id = paid.customer_id), 0))))
               AND (since IS NULL OR 'succeeded' = (
                   SELECT orders.status FROM orders
                   WHERE orders.customer_id = paid.customer_id
                     AND stripe_invoice_id IS NOT NULL AND orders.amount > 0
                     AND COALESCE(purchased_at, orders.created_at) >= since
                   ORDER BY orders.created_at DESC,
                       CASE orders.status WHEN 'succeeded' THEN 1 ELSE 0 END, order_id LIMIT 1))
             GROUP BY customer_id ORDER BY customer_id LIMIT $2",
            now,
            most,
        )
    }

    /// Deletes the customer's subscription, when the customer leaves its Stripe customer.
    pub async fn delete_subscription(&mut self, id: &CustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM subscriptions WHERE customer_id = $1", id).map(drop)
    }

    /// Returns the customer's subscription.
    pub async fn subscription(&mut self, id: &CustomerId) -> Result<Option<SubscriptionRow>> {
        sql!(
            self,
            fetch_optional: SubscriptionRow,
            "SELECT {columns} FROM subscriptions WHERE customer_id = $1",
            id,
        )
    }

    /// Inserts or replaces the customer's subscription.
    pub async fn put_subscription(&mut self, row: &SubscriptionRow) -> Result<()> {
        let insert = Insert::new("subscriptions", row).or_replace(&["customer_id"]);
        self.insert(insert).await?;
        Ok(())
    }
}
