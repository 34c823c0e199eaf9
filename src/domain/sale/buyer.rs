//! Unknown buyers: Stripe customers that pay for a plan and are not linked to a customer. They
//! bought by a payment link, a quote or the dashboard. `flows/sale/buyers.rs` records them.

use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::domain::column::row;
use crate::domain::ids::CustomerId;
use crate::domain::sale::entitlement::plans_bought_once;
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::time::Timestamp;

row! {
    /// A Stripe customer that pays for a plan and is not linked to a customer.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct UnknownBuyer {
        /// The Stripe customer.
        #[serde(serialize_with = "as_text")]
        pub stripe_customer_id: StripeCustomerId,
        /// The plan's id.
        pub plan: String,
        /// The time at which the purchase was first detected.
        #[serde(serialize_with = "as_text")]
        pub first_seen_at: Timestamp,
    }
}

row! {
    /// A purchase of an unknown buyer that waits for a customer: the account has the buyer's
    /// address, and nobody has proven whose it is.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WaitingPurchase {
        /// The Stripe customer.
        pub stripe_customer_id: StripeCustomerId,
        /// The customer here.
        pub customer_id: CustomerId,
        /// The time from which it waits.
        pub created_at: Timestamp,
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Returns the highest plan that subscriptions or single payments pay for, and its rank. `None` if
/// nothing pays for a plan: a subscription that has ended, or whose first payment was never made,
/// does not count, and neither does a refunded payment.
#[must_use]
pub fn plan_paid<'c>(catalog: &'c Catalog, state: &StripeState) -> Option<(usize, &'c Plan)> {
    let once = plans_bought_once(state, catalog);
    plan_subscribed(catalog, &state.subscriptions)
        .into_iter()
        .chain(once)
        .max_by_key(|(rank, _)| *rank)
}

/// Returns the highest plan that these subscriptions pay for, and its rank.
pub fn plan_subscribed<'c>(
    catalog: &'c Catalog,
    subscriptions: &[Subscription],
) -> Option<(usize, &'c Plan)> {
    let paid = subscriptions.iter().filter(|subscription| is_paid(&subscription.status));
    let plans = paid.filter_map(|subscription| subscription.plan(catalog)).map(|(plan, _)| plan);
    plans.map(|plan| (catalog.rank(plan.id.as_str()), plan)).max_by_key(|(rank, _)| *rank)
}

/// Returns whether a subscription in this status pays for its plan.
#[must_use]
pub fn is_paid(status: &Status) -> bool {
    matches!(status, Status::Trialing | Status::Active | Status::PastDue)
}
