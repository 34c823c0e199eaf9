//! Alerts: the things at Stripe that an operator should check.

use std::fmt;

use chrono::TimeDelta;

use crate::domain::license::parts::{addons_text, parts_text, units_text};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Quantity, Slug};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::time::Timestamp;

/// How long an operator must act on an alert about a single payment: long enough to see it and to
/// return the money. Nothing else can change a payment, so later it is only information.
const RECENT: TimeDelta = TimeDelta::days(30);

/// Something at Stripe that an operator should check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// More than one subscription grants something: the customer pays twice.
    SeveralLive,
    /// No plan has any of these prices.
    UnknownPrice(String),
    /// A live subscription without items.
    NoItems(StripeSubscriptionId),
    /// A subscription status that this version does not know.
    UnknownStatus(String),
    /// The customer paid a renewal after this subscription had ended.
    PaidAfterEnd(StripeSubscriptionId),
    /// The customer has a number of units that the plan or the add-on does not sell.
    Quantity {
        /// The plan or the add-on.
        item: Slug,
        /// The number at Stripe.
        found: u32,
        /// The numbers that are sold.
        sold: Quantity,
        /// The time of the payment, if it was a single one.
        paid_at: Option<Timestamp>,
    },
    /// An add-on is paid for without a plan that it belongs to.
    AddonWithoutPlan {
        /// The add-on.
        addon: Slug,
        /// The time of the payment, if it was a single one.
        paid_at: Option<Timestamp>,
    },
    /// Updates were paid for, and the customer had no perpetual license for as many units.
    UpdatesNotApplied {
        /// The plan of the updates.
        plan: Slug,
        /// The time of the payment.
        paid_at: Timestamp,
    },
    /// Something that was paid for has no effect, or only a part of it has: a license is for one
    /// subscription, or for the single payments for one plan.
    WithoutEffect {
        /// The purchase without effect.
        paid: PaidFor,
        /// The purchase of the license.
        license: PaidFor,
    },
    /// The Stripe customer of a perpetual license was deleted, and the license with it.
    PurchasesGone,
}

/// A subscription, or the single payments for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidFor {
    /// The plan.
    pub plan: Slug,
    /// The units; `None` if the plan is not sold by the unit.
    pub units: Option<u32>,
    /// The add-ons.
    pub addons: AddonIds,
    /// Whether it is a subscription that may still charge the customer.
    pub is_live: bool,
}

impl PaidFor {
    /// Returns the part of this purchase that a license for the other one does not have, as text.
    /// A subscription beside a perpetual license has no effect at all.
    fn part_without_effect(&self, license: &Self) -> String {
        if self.is_live && !license.is_live {
            return format!("the subscription to `{}` has no effect", self.plan);
        }
        let missing = self.units.unwrap_or(1).saturating_sub(license.units.unwrap_or(u32::MAX));
        let units = (missing > 0).then(|| units_text(missing));
        let addons = self.addons.0.difference(&license.addons.0);
        let addons: Vec<_> = addons.map(ToString::to_string).collect();
        let has = if missing as usize + addons.len() == 1 { "has" } else { "have" };
        let addons = (!addons.is_empty()).then(|| addons_text(&addons));
        let parts: Vec<_> = units.into_iter().chain(addons).collect();
        format!("{} of the first one {has} no effect", parts.join(" and "))
    }

    /// Returns how the customer gets everything that was paid for.
    fn remedy(&self, license: &Self) -> String {
        let subscription = if self.is_live { self } else { license };
        let cancel = format!("cancel the subscription to `{}` at Stripe", subscription.plan);
        match (self.is_live, license.is_live) {
            (true, true) => "at Stripe, change one subscription so that it has everything, and \
                 cancel the other one"
                .to_owned(),
            (false, false) => "ask the customer which one they want, and refund the other one, or \
                 grant a license for both"
                .to_owned(),
            _ if subscription.units.is_some() && self.plan == license.plan => {
                let units = self.units.max(license.units).unwrap_or(1);
                let units = units_text(units);
                format!("raise the subscription to at least {units} at Stripe, or {cancel}")
            }
            _ => format!("ask whether the customer wants both, and {cancel} if not"),
        }
    }
}

impl fmt::Display for PaidFor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_live { "a subscription to" } else { "the perpetual license" };
        let parts = parts_text(self.units, &self.addons.texts(), None);
        write!(formatter, "{how} `{}`{parts}", self.plan)
    }
}

impl Alert {
    /// Returns the alert about a number of units at Stripe, if that number is not sold. `paid_at`
    /// is the time of a single payment.
    pub(super) fn unsold(
        item: &Slug,
        found: u32,
        sold: Quantity,
        paid_at: Option<Timestamp>,
    ) -> Option<Self> {
        (!sold.allows(found)).then(|| Self::Quantity { item: item.clone(), found, sold, paid_at })
    }

    /// Returns whether it is about a single payment of long ago, so that nobody needs to act on it.
    #[must_use]
    pub fn is_information(&self, now: Timestamp) -> bool {
        let paid_at = match self {
            Self::Quantity { paid_at, .. } | Self::AddonWithoutPlan { paid_at, .. } => *paid_at,
            Self::UpdatesNotApplied { paid_at, .. } => Some(*paid_at),
            _ => None,
        };
        paid_at.is_some_and(|paid_at| paid_at < now - RECENT)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralLive => formatter.write_str(
                "the customer has several live subscriptions and pays for each; cancel all but one \
                 at Stripe",
            ),
            Self::UnknownPrice(price) => write!(
                formatter,
                "the customer has a live subscription to {price}, which no plan has; add it to the \
                 plan's `prices` or `former_prices`, or to `other_prices` if it is for no plan"
            ),
            Self::NoItems(id) => write!(
                formatter,
                "the subscription {id} has no items; give it a plan's price at Stripe, or cancel \
                 it; the license stays as it is"
            ),
            Self::UnknownStatus(status) => write!(
                formatter,
                "a subscription has the status {status:?}, which this version does not know; the \
                 license stays as it is"
            ),
            Self::PaidAfterEnd(id) => write!(
                formatter,
                "the customer paid a renewal after the subscription {id} had ended; the period is \
                 licensed, and no renewal follows; ask whether they want a new subscription"
            ),
            Self::Quantity { item, found, sold, paid_at: None } => write!(
                formatter,
                "the customer has {found} units of `{item}` at Stripe, and {} to {} are sold; the \
                 license has what is paid for; correct the quantity at Stripe, or `quantity` in \
                 the plans file",
                sold.min, sold.max
            ),
            Self::Quantity { item, found, sold, paid_at: Some(paid_at) } => write!(
                formatter,
                "the customer paid once for {found} units of `{item}` at {paid_at}, and {} to {} \
                 are sold; the license has what is paid for; refund the payment if it was a \
                 mistake, or correct `quantity` in the plans file",
                sold.min, sold.max
            ),
            Self::AddonWithoutPlan { addon, paid_at: None } => write!(
                formatter,
                "the customer pays for the add-on `{addon}` and has no plan that it belongs to, so \
                 it has no effect; add the plan at Stripe, or refund the add-on"
            ),
            Self::AddonWithoutPlan { addon, paid_at: Some(paid_at) } => write!(
                formatter,
                "the customer paid once for the add-on `{addon}` at {paid_at} and has no plan that \
                 it belongs to; it has an effect once the customer buys such a plan; or refund the \
                 payment"
            ),
            Self::UpdatesNotApplied { plan, paid_at } => write!(
                formatter,
                "the customer paid for updates of `{plan}` at {paid_at} and had no perpetual \
                 license of it for as many units, so they have no effect; refund the payment, or \
                 grant a license"
            ),
            Self::WithoutEffect { paid, license } => write!(
                formatter,
                "the customer has {paid}, and also {license}; a license is for one purchase, here \
                 for the second one, so {}; {}",
                paid.part_without_effect(license),
                paid.remedy(license)
            ),
            Self::PurchasesGone => formatter.write_str(
                "the customer had a perpetual license, and its Stripe customer was deleted with \
                 every purchase, so the license is revoked; grant it again if it was deleted by \
                 mistake",
            ),
        }
    }
}
