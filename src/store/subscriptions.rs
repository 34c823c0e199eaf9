//! Subscriptions: the one that governs each customer's license, as Stripe said it last.

use super::{Tx, row, sql};
use crate::domain::ids::CustomerId;
use crate::domain::stripe_ids::StripeSubscriptionId;
use crate::domain::subscription::Status;
use crate::domain::time::Timestamp;
use crate::error::Result;

row! {
    /// A customer's subscription.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SubscriptionRow {
        /// Whose it is.
        pub customer_id: CustomerId,
        /// Stripe's id for it.
        pub stripe_subscription_id: StripeSubscriptionId,
        /// The plan's id; none if no plan has its price.
        pub plan: Option<String>,
        /// Where it stands.
        pub status: Status,
        /// The end of the current period.
        pub current_period_end: Option<Timestamp>,
        /// When it is to end, if that is set.
        pub cancel_at: Option<Timestamp>,
        /// When Stripe's trial ends.
        pub trial_end: Option<Timestamp>,
        /// When it began.
        pub created_at: Timestamp,
        /// When this record changed last.
        pub updated_at: Timestamp,
    }
}

impl Tx {
    /// The customer's subscription.
    pub async fn subscription(&mut self, id: &CustomerId) -> Result<Option<SubscriptionRow>> {
        sql!(
            self,
            fetch_optional: SubscriptionRow,
            "SELECT customer_id, stripe_subscription_id, plan, status, current_period_end,
                    cancel_at, trial_end, created_at, updated_at
             FROM subscriptions WHERE customer_id = $1",
            id,
        )
    }

    /// Writes the customer's subscription, whichever it was before.
    pub async fn put_subscription(&mut self, row: &SubscriptionRow) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO subscriptions
                 (customer_id, stripe_subscription_id, plan, status, current_period_end,
                  cancel_at, trial_end, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (customer_id) DO UPDATE SET
                 stripe_subscription_id = $2, plan = $3, status = $4, current_period_end = $5,
                 cancel_at = $6, trial_end = $7, created_at = $8, updated_at = $9",
            &row.customer_id,
            &row.stripe_subscription_id,
            &row.plan,
            &row.status,
            row.current_period_end,
            row.cancel_at,
            row.trial_end,
            row.created_at,
            row.updated_at,
        )?;
        Ok(())
    }
}
