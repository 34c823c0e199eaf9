//! Subscriptions as they are stored: the current one of each customer, as of the last sync.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Item, Status};
use crate::domain::column::{row, text_columns};
use crate::domain::ids::CustomerId;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Catalog, Interval, Sold};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::time::Timestamp;

/// A price that a subscription bills.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BilledItem {
    /// The price's id.
    pub price: String,
    /// The number of units; `None` if it is metered.
    pub quantity: Option<u32>,
}

/// The prices that a subscription bills, sorted: a column that holds a JSON list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledItems(pub Vec<BilledItem>);

impl BilledItems {
    /// Returns those of these items, sorted: Stripe lists them in no fixed order.
    #[must_use]
    pub fn of(items: &[Item]) -> Self {
        let billed =
            |item: &Item| BilledItem { price: item.price.clone(), quantity: item.quantity };
        let mut items: Vec<_> = items.iter().map(billed).collect();
        items.sort();
        Self(items)
    }
}

/// Writes the stored form.
impl fmt::Display for BilledItems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// A text that is not the stored form of [`BilledItems`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of prices")]
pub struct InvalidBilledItems;

impl FromStr for BilledItems {
    type Err = InvalidBilledItems;

    fn from_str(text: &str) -> Result<Self, InvalidBilledItems> {
        serde_json::from_str(text).map(Self).map_err(|_| InvalidBilledItems)
    }
}

text_columns!(BilledItems);

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
        /// The items that it bills; `None` until a sync has read it.
        pub items: Option<BilledItems>,
        /// ISO 4217, lower case; `None` until a sync has read it.
        pub currency: Option<String>,
        /// The end of the current period.
        pub current_period_end: Option<Timestamp>,
        /// The time at which it is scheduled to end.
        pub cancel_at: Option<Timestamp>,
        /// The end of Stripe's trial.
        pub trial_end: Option<Timestamp>,
        /// The time until which a change waits for its payment.
        pub pending_until: Option<Timestamp>,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time of the last change of this row.
        pub updated_at: Timestamp,
    }
}

/// The units of the plan, the interval and the add-ons that a subscription bills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    /// The units of the plan; `None` until a sync has read them, or if they are metered.
    pub quantity: Option<u32>,
    /// How often the plan is charged; `None` for a former price.
    pub interval: Option<Interval>,
    /// The add-ons.
    pub addons: AddonIds,
}

impl SubscriptionRow {
    /// Returns the present id of the plan: the row may have a former one.
    #[must_use]
    pub fn plan_id(&self, catalog: &Catalog) -> Option<String> {
        let plan = self.plan.as_deref()?;
        let present = catalog.plan(plan).map(|plan| plan.id.to_string());
        Some(present.unwrap_or_else(|| plan.to_owned()))
    }

    /// Returns what it bills.
    #[must_use]
    pub fn billed(&self, catalog: &Catalog) -> Billed {
        let mut billed = Billed::default();
        for item in self.items.iter().flat_map(|items| &items.0) {
            match catalog.sold(&item.price) {
                Some(Sold::Plan { plan, price, .. })
                    if self.plan.as_deref().is_some_and(|id| plan.has_id(id)) =>
                {
                    billed.quantity = item.quantity;
                    billed.interval = price.map(|price| price.interval);
                }
                Some(Sold::Addon { addon, .. }) => {
                    billed.addons.0.insert(addon.id.clone());
                }
                _ => {}
            }
        }
        billed
    }

    /// Returns whether `self` only adds what `before` did not have recorded yet.
    #[must_use]
    pub fn only_fills_in(&self, before: &Self) -> bool {
        let filled = Self {
            items: before.items.clone().or_else(|| self.items.clone()),
            currency: before.currency.clone().or_else(|| self.currency.clone()),
            updated_at: self.updated_at,
            ..before.clone()
        };
        filled == *self
    }
}

row! {
    /// The items and the status of the customer's subscription, selected together with a license.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredBilling {
        /// The items; `None` without a subscription, or if no sync has read it.
        pub billed_items: Option<BilledItems>,
        /// The status of the subscription; `None` without one.
        pub billed_status: Option<Status>,
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
        /// The status of the subscription; `None` after a single payment.
        pub status: Option<Status>,
        /// The end of the current period; `None` after a single payment.
        pub current_period_end: Option<Timestamp>,
        /// The total number of such customers.
        pub total: i64,
    }
}
