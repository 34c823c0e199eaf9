//! Subscriptions as Stripe describes them. What a customer may use because of them is decided by
//! [`crate::domain::entitlement`].

mod row;

use crate::domain::plan::{Catalog, Plan};
use crate::domain::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

pub use row::{PaidWithoutLicense, SubscriptionRow};

text_enum! {
    /// Where a subscription stands (<https://docs.stripe.com/api/subscriptions/object>).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Status, or Unknown {
        /// In a trial of Stripe's.
        Trialing = "trialing",
        /// In good standing.
        Active = "active",
        /// A renewal could not be collected yet.
        PastDue = "past_due",
        /// The first payment was not made yet.
        Incomplete = "incomplete",
        /// The first payment was never made.
        IncompleteExpired = "incomplete_expired",
        /// A renewal could not be collected, and is not tried any more.
        Unpaid = "unpaid",
        /// It is over.
        Canceled = "canceled",
        /// Its trial ended without a way to pay.
        Paused = "paused",
    }
}

impl Status {
    /// Whether it may still charge the customer, so that a second one must not be sold.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Incomplete | Self::IncompleteExpired | Self::Canceled)
    }
}

/// One thing that a subscription bills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The price's id, by which a plan is found.
    pub price: String,
    /// When the current period began.
    pub period_start: Option<Timestamp>,
    /// When it ends (on the item since API version 2025-03-31).
    pub period_end: Option<Timestamp>,
}

/// A subscription as Stripe has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: StripeSubscriptionId,
    /// Where it stands.
    pub status: Status,
    /// What it bills.
    pub items: Vec<Item>,
    /// When it is to end, if that is set.
    pub cancel_at: Option<Timestamp>,
    /// Whether it is to end with its period.
    pub cancel_at_period_end: bool,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When Stripe's trial ends.
    pub trial_end: Option<Timestamp>,
    /// Whether the vendor paused collection. The status does not tell.
    pub collection_paused: bool,
    /// The last invoice that its course made.
    pub latest_invoice: Option<InvoiceId>,
    /// Whether the Checkout session that created it is complete and unpaid, while no invoice is
    /// known.
    pub awaits_payment: bool,
    /// Whether our checkout created it, by its metadata. This counts only where no price tells.
    pub is_ours: bool,
    /// The card, or the like, that pays it.
    pub default_payment_method: Option<String>,
    /// When it began.
    pub created: Timestamp,
}

impl Subscription {
    /// The highest plan among its items, and the item that it comes from. With several items the
    /// answer does not depend on their order.
    #[must_use]
    pub fn plan<'c>(&self, catalog: &'c Catalog) -> Option<(&'c Plan, &Item)> {
        let known =
            self.items.iter().filter_map(|item| Some((catalog.by_price(&item.price)?, item)));
        known
            .max_by_key(|((rank, _), item)| (*rank, item.period_end, &item.price))
            .map(|((_, plan), item)| (plan, item))
    }

    /// The end of the current period: of the item that decides the plan, or the latest.
    #[must_use]
    pub fn period_end(&self, catalog: &Catalog) -> Option<Timestamp> {
        let deciding = self.plan(catalog).and_then(|(_, item)| item.period_end);
        deciding.or_else(|| self.items.iter().filter_map(|item| item.period_end).max())
    }

    /// When it is to end, by whichever field says so (a cancellation in the portal sets only
    /// `cancel_at` since 2025-09-30).
    #[must_use]
    pub fn ends_at(&self, catalog: &Catalog) -> Option<Timestamp> {
        let with_period = self.period_end(catalog).filter(|_| self.cancel_at_period_end);
        [self.cancel_at, with_period].into_iter().flatten().min()
    }
}
