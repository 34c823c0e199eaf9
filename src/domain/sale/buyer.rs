//! Unknown buyers: those who pay for a plan and are not linked to a customer. They bought by a
//! payment link, a quote or the dashboard. `flows/sale/buyers.rs` records them.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::domain::column::{row, text_columns};
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::sale::entitlement::{BoughtOnce, all_bought_once};
use crate::domain::sale::plan::{Addon, Catalog, Plan, Slug, Sold};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, PaymentIntentId, StripeCustomerId};
use crate::domain::sale::stripe_state::{PaidSession, StripeState};
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::time::Timestamp;

/// The most unknown buyers that are recorded. More than that have a common cause, and `licentia
/// stripe backfill` lists all of them.
pub const MAX_UNKNOWN_BUYERS: i64 = 1000;

/// A buyer at Stripe, who may have no account here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum BuyerId {
    /// A Stripe customer.
    #[serde(rename = "stripe_customer_id", serialize_with = "as_text")]
    Customer(StripeCustomerId),
    /// The Checkout session of one single payment. It stands for a guest, for whom Stripe has
    /// nothing else (<https://docs.stripe.com/payments/checkout/guest-customers>), or for a payment
    /// of a Stripe customer who is not linked that is claimed alone.
    #[serde(rename = "stripe_checkout_session_id", serialize_with = "as_text")]
    Session(CheckoutSessionId),
}

/// A text that names no buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a buyer is a Stripe customer (`cus_…`) or the Checkout session of a single payment (`cs_…`)"
)]
pub struct InvalidBuyerId;

impl Display for BuyerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer(id) => id.fmt(formatter),
            Self::Session(id) => id.fmt(formatter),
        }
    }
}

impl FromStr for BuyerId {
    type Err = InvalidBuyerId;

    fn from_str(text: &str) -> Result<Self, InvalidBuyerId> {
        let customer = text.parse().map(Self::Customer);
        customer.or_else(|_| text.parse().map(Self::Session)).map_err(|_| InvalidBuyerId)
    }
}

impl From<StripeCustomerId> for BuyerId {
    fn from(id: StripeCustomerId) -> Self {
        Self::Customer(id)
    }
}

text_columns!(BuyerId);

row! {
    /// A buyer who pays for a plan and is not linked to a customer.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct UnknownBuyer {
        /// The buyer.
        #[serde(flatten)]
        pub buyer_id: BuyerId,
        /// The id of the plan; or of the add-on, if nothing else was bought.
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
        /// The buyer.
        pub buyer_id: BuyerId,
        /// The customer here.
        pub customer_id: CustomerId,
        /// The time from which it waits.
        pub created_at: Timestamp,
        /// The time of the last mail with a link to the buyer.
        pub mailed_at: Timestamp,
        /// The number of these mails.
        pub mails: i64,
    }
}

row! {
    /// A single payment of a guest, or of a Stripe customer who is not linked, that belongs to a
    /// customer. Its table is `guest_purchases`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClaimedPayment {
        /// The Checkout session.
        pub session_id: CheckoutSessionId,
        /// The customer; `None` after its deletion.
        pub customer_id: Option<CustomerId>,
        /// The payment; `None` if nothing was due.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// The time from which it belongs to the customer.
        pub claimed_at: Timestamp,
    }
}

/// A completed Checkout session of a single payment, as Stripe says: that of a guest, or of a
/// Stripe customer who is not linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentSession {
    /// The id.
    pub id: CheckoutSessionId,
    /// The Stripe customer; `None` for a guest.
    pub stripe_customer_id: Option<StripeCustomerId>,
    /// The email address that the buyer entered, if it is valid here.
    pub email: Option<Email>,
    /// The payment; `None` if nothing was due.
    pub payment_intent: Option<PaymentIntentId>,
    /// The single payment; `None` while it is not paid.
    pub paid: Option<PaidSession>,
}

impl PaymentSession {
    /// Returns what it paid for.
    #[must_use]
    pub fn purchase<'c>(&self, catalog: &'c Catalog) -> Option<Purchase<'c>> {
        let paid_sessions = self.paid.iter().cloned().collect();
        let state = StripeState { paid_sessions, ..StripeState::default() };
        purchase_paid(catalog, &state)
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The best thing that a buyer paid for. The order is that of their worth.
#[derive(Clone, Copy, Debug)]
pub enum Purchase<'c> {
    /// An add-on, which works only beside a plan.
    Addon(&'c Addon),
    /// Updates, which work only with a perpetual license of the plan with this rank.
    Updates(usize, &'c Plan),
    /// A plan with its rank.
    Plan(usize, &'c Plan),
}

impl<'c> Purchase<'c> {
    /// Returns the id of the plan or the add-on.
    #[must_use]
    pub fn id(self) -> &'c Slug {
        match self {
            Self::Addon(addon) => &addon.id,
            Self::Updates(_, plan) | Self::Plan(_, plan) => &plan.id,
        }
    }

    /// Returns the plan that a new account gets a license for; `None` if the purchase has no effect
    /// without another one.
    #[must_use]
    pub fn plan(self) -> Option<&'c Plan> {
        match self {
            Self::Plan(_, plan) => Some(plan),
            Self::Addon(_) | Self::Updates(..) => None,
        }
    }

    /// Returns its worth: a higher one is better.
    #[must_use]
    pub fn worth(self) -> (u8, usize) {
        match self {
            Self::Addon(_) => (0, 0),
            Self::Updates(rank, _) => (1, rank),
            Self::Plan(rank, _) => (2, rank),
        }
    }
}

/// Returns the best thing that subscriptions or single payments pay for; `None` if nothing is of
/// the catalog. A subscription that has ended, or whose first payment was never made, does not
/// count, and neither does a refunded payment.
#[must_use]
pub fn purchase_paid<'c>(catalog: &'c Catalog, state: &StripeState) -> Option<Purchase<'c>> {
    let once = all_bought_once(state, catalog).map(|bought| match bought {
        BoughtOnce::Plan { rank, plan, .. } => Purchase::Plan(rank, plan),
        BoughtOnce::Updates { rank, plan, .. } => Purchase::Updates(rank, plan),
        BoughtOnce::Addon(addon) => Purchase::Addon(addon),
    });
    once.chain(purchase_subscribed(catalog, &state.subscriptions)).max_by_key(|one| one.worth())
}

/// Returns the best thing that these subscriptions pay for.
pub fn purchase_subscribed<'c>(
    catalog: &'c Catalog,
    subscriptions: &[Subscription],
) -> Option<Purchase<'c>> {
    let paid = subscriptions.iter().filter(|subscription| is_paid(&subscription.status));
    let items = paid.flat_map(|subscription| &subscription.items);
    let sold = items.filter(|item| item.quantity != Some(0)).filter_map(|item| {
        Some(match catalog.sold(&item.price)? {
            Sold::Plan { rank, plan, .. } => Purchase::Plan(rank, plan),
            Sold::Addon { addon, .. } => Purchase::Addon(addon),
        })
    });
    sold.max_by_key(|one| one.worth())
}

/// Returns whether a subscription in this status pays for its plan.
#[must_use]
pub fn is_paid(status: &Status) -> bool {
    matches!(status, Status::Trialing | Status::Active | Status::PastDue)
}
