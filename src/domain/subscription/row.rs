//! Subscriptions as they are stored: the current one of each customer, as of the last sync.

use super::Status;
use crate::domain::column::row;
use crate::domain::ids::CustomerId;
use crate::domain::stripe_ids::StripeSubscriptionId;
use crate::domain::time::Timestamp;

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

row! {
    /// A customer who paid and lacks a license.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PaidWithoutLicense {
        /// Who.
        pub customer_id: CustomerId,
        /// The plan's id; none if no plan has the price.
        pub plan: Option<String>,
        /// Where the subscription stands.
        pub status: Status,
        /// The end of the current period.
        pub current_period_end: Timestamp,
        /// How many there are in all.
        pub total: i64,
    }
}
