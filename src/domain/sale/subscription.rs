//! Subscriptions as Stripe describes them. [`crate::domain::sale::entitlement`] decides what a
//! customer may use because of them.

mod row;

use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

pub use row::{
    Billed, BilledItem, BilledItems, PaidWithoutLicense, StoredBilling, SubscriptionRow,
};

text_enum! {
    /// The status of a subscription (<https://docs.stripe.com/api/subscriptions/object>).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Status, or Unknown {
        /// In a trial at Stripe.
        Trialing = "trialing",
        /// In good standing.
        Active = "active",
        /// A renewal has not been paid yet.
        PastDue = "past_due",
        /// The first payment has not been made yet.
        Incomplete = "incomplete",
        /// The first payment was not made in time.
        IncompleteExpired = "incomplete_expired",
        /// A renewal was not paid, and Stripe does not retry it.
        Unpaid = "unpaid",
        /// Ended.
        Canceled = "canceled",
        /// Paused: its trial ended without a payment method, or the vendor or Stripe paused it.
        Paused = "paused",
    }
}

impl Status {
    /// Returns whether the subscription may still charge the customer. If so, no second one may be
    /// sold.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Incomplete | Self::IncompleteExpired | Self::Canceled)
    }

    /// Returns whether the subscription has ended for good. An incomplete one has not, although it
    /// is not live: its first payment may still arrive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

/// One item of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Stripe's id of the item.
    pub id: String,
    /// The price's id, which identifies the plan.
    pub price: String,
    /// The number of units; `None` for a metered price.
    pub quantity: Option<u32>,
    /// The start of the current period.
    pub period_start: Option<Timestamp>,
    /// The end of the current period (on the item since API version 2025-03-31).
    pub period_end: Option<Timestamp>,
}

/// A subscription at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The id.
    pub id: StripeSubscriptionId,
    /// The status.
    pub status: Status,
    /// The items that it bills.
    pub items: Vec<Item>,
    /// ISO 4217, lower case. `None` if Stripe states none.
    pub currency: Option<String>,
    /// The time at which it is scheduled to end.
    pub cancel_at: Option<Timestamp>,
    /// Whether it is scheduled to end with its period.
    pub cancel_at_period_end: bool,
    /// The time at which its end was requested.
    pub canceled_at: Option<Timestamp>,
    /// The time at which it ended.
    pub ended_at: Option<Timestamp>,
    /// The end of Stripe's trial.
    pub trial_end: Option<Timestamp>,
    /// Whether the vendor paused collection. The status does not show it.
    pub collection_paused: bool,
    /// The last invoice that the subscription itself created.
    pub latest_invoice: Option<InvoiceId>,
    /// Whether the Checkout session that created it is complete and unpaid, while no invoice is
    /// known.
    pub awaits_payment: bool,
    /// The fingerprint of the card or bank account that pays it. Only known if a plan has a trial
    /// at Stripe.
    pub card: Option<String>,
    /// Whether its card has had a trial in another subscription. Until it is paid, it grants
    /// nothing.
    pub is_trial_refused: bool,
    /// Whether our checkout created it, according to its metadata. It is used only if no plan has
    /// its prices.
    pub is_ours: bool,
    /// The time until which a change of its items waits for its payment
    /// (<https://docs.stripe.com/billing/subscriptions/pending-updates>).
    pub pending_until: Option<Timestamp>,
    /// Stripe's ids of its discounts.
    pub discounts: Vec<String>,
    /// Stripe's id of the schedule that manages it.
    pub schedule: Option<String>,
    /// Whether its invoices are sent to the customer instead of charged.
    pub has_sent_invoices: bool,
    /// The payment method.
    pub default_payment_method: Option<String>,
    /// The time of creation.
    pub created: Timestamp,
}

impl Subscription {
    /// Returns whether a change or a resumption may wait for the payment of its invoice. Stripe
    /// reports no pending update while a resumption waits.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.pending_until.is_some() || self.status == Status::Paused
    }

    /// Returns the highest plan among the items, and the plan's item. The order of the items does
    /// not matter.
    #[must_use]
    pub fn plan<'c>(&self, catalog: &'c Catalog) -> Option<(&'c Plan, &Item)> {
        let known =
            self.items.iter().filter_map(|item| Some((catalog.by_price(&item.price)?, item)));
        known
            .max_by_key(|((rank, _), item)| (*rank, item.period_end, &item.price))
            .map(|((_, plan), item)| (plan, item))
    }

    /// Returns the end of the current period: that of the plan's item, or else the latest.
    #[must_use]
    pub fn period_end(&self, catalog: &Catalog) -> Option<Timestamp> {
        let of_plan = self.plan(catalog).and_then(|(_, item)| item.period_end);
        of_plan.or_else(|| self.items.iter().filter_map(|item| item.period_end).max())
    }

    /// Returns the time at which it is scheduled to end, by either field (a cancellation in the
    /// portal sets only `cancel_at` since 2025-09-30).
    #[must_use]
    pub fn ends_at(&self, catalog: &Catalog) -> Option<Timestamp> {
        let with_period = self.period_end(catalog).filter(|_| self.cancel_at_period_end);
        [self.cancel_at, with_period].into_iter().flatten().min()
    }
}
