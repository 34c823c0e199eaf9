//! Subscriptions as they are stored: the current one of each customer, as of the last sync.

use super::Status;
use crate::domain::column::row;
use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::time::Timestamp;

row! {
    /// A customer's subscription.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SubscriptionRow {
        /// The customer.
        pub customer_id: CustomerId,
        /// Stripe's id of the subscription.
        pub stripe_subscription_id: StripeSubscriptionId,
        /// The plan's id; `None` if no plan has its price.
        pub plan: Option<String>,
        /// The status.
        pub status: Status,
        /// The end of the current period.
        pub current_period_end: Option<Timestamp>,
        /// The time at which it is scheduled to end.
        pub cancel_at: Option<Timestamp>,
        /// The end of Stripe's trial.
        pub trial_end: Option<Timestamp>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the last change of this row.
        pub updated_at: Timestamp,
    }
}

row! {
    /// A customer that paid and has no license.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PaidWithoutLicense {
        /// The customer.
        pub customer_id: CustomerId,
        /// The plan's id; `None` if no plan has the price.
        pub plan: Option<String>,
        /// The status of the subscription.
        pub status: Status,
        /// The end of the current period.
        pub current_period_end: Timestamp,
        /// The total number of such customers.
        pub total: i64,
    }
}
