//! Alerts: the things at Stripe that an operator should check.

use std::fmt;

use chrono::TimeDelta;

use crate::domain::count::counted;
use crate::domain::license::MissingParts;
use crate::domain::license::parts::{addons_text, parts_text};
use crate::domain::sale::accepted_loss::AcceptedLosses;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::plan::{Catalog, Quantity, Slug};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::time::Timestamp;

/// How long an operator must act on an alert about a single payment: long enough to see it and to
/// return the money. Nothing else can change a payment, so later it is only information.
const RECENT: TimeDelta = TimeDelta::days(30);

/// Returns whether an operator can still act on a payment.
#[must_use]
pub fn is_recent(paid_at: Timestamp, now: Timestamp) -> bool {
    paid_at >= now - RECENT
}

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
    /// The customer paid an invoice after this subscription had ended.
    PaidAfterEnd(StripeSubscriptionId),
    /// The customer paid for a period that is longer than the subscription, after its end was
    /// scheduled.
    PaidBeyondEnd {
        /// The subscription.
        id: StripeSubscriptionId,
        /// The scheduled end.
        ends_at: Timestamp,
        /// The end of the paid period.
        paid_until: Timestamp,
    },
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
    /// Updates were paid for, and the customer had no perpetual license, or one for another number
    /// of units.
    UpdatesNotApplied {
        /// The plan of the updates.
        plan: Slug,
        /// The units whose updates were paid for.
        paid: u32,
        /// The units of the perpetual license; 0 if there was none.
        held: u32,
        /// The time of the payment.
        paid_at: Timestamp,
    },
    /// A single payment has no effect, because the customer owned all of it, or a higher plan,
    /// before.
    OwnedBefore {
        /// The plan or the add-on.
        item: Slug,
        /// The time of the payment.
        paid_at: Timestamp,
    },
    /// A higher plan was bought, and takes over only a part of the updates of a lower one.
    UpdatesCut {
        /// The lower plan.
        lower: Slug,
        /// The end of its updates; `None` if it covers all builds.
        lower_until: Option<Timestamp>,
        /// The higher plan.
        plan: Slug,
        /// The end of the updates of the higher plan.
        until: Timestamp,
        /// The time of the payment for it.
        paid_at: Timestamp,
    },
    /// A perpetual plan was bought for fewer units, or without add-ons, and replaced a lower one
    /// whose updates have ended, or one that a subscription left.
    Shrunk {
        /// The replaced plan.
        former: PaidFor,
        /// The plan of the license.
        license: PaidFor,
        /// The time of the payment that replaced it.
        paid_at: Timestamp,
        /// Whether the customer accepted that.
        is_accepted: bool,
    },
    /// A subscription bills an add-on that the customer owns by a single payment.
    BilledAndOwned {
        /// The add-on.
        addon: Slug,
    },
    /// A subscription bills a lower plan beside the one that it grants.
    SecondPlan {
        /// The lower plan.
        plan: Slug,
        /// The plan that the subscription grants.
        granted: Slug,
    },
    /// The customer paid for a subscription after its end, and the paid period is over too.
    PaidTooLate {
        /// The subscription.
        id: StripeSubscriptionId,
        /// The time of the last such payment.
        paid_at: Timestamp,
    },
    /// Something that was paid for has no effect, or only a part of it has: a license is for one
    /// subscription, or for the single payments for one plan.
    WithoutEffect {
        /// The purchase without effect.
        paid: PaidFor,
        /// The purchase of the license.
        license: PaidFor,
        /// Whether the customer accepted that.
        is_accepted: bool,
    },
    /// A payment was for a price that nothing in the plans file has.
    UnknownPurchase {
        /// The price.
        price: String,
        /// The plan and the add-ons that our order of the payment names; none without an order.
        bought: Vec<String>,
        /// Whether it was also for something of the plans file.
        is_partial: bool,
        /// The time of the payment.
        paid_at: Timestamp,
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
    /// Returns the units and add-ons that a license for the other purchase does not have.
    fn missing_in(&self, license: &Self) -> MissingParts {
        MissingParts::of((license.units, &license.addons), (self.units, &self.addons))
    }

    /// Returns the part of this purchase that a license for the other one does not have, as text.
    /// A subscription beside a perpetual license has no effect at all.
    fn part_without_effect(&self, license: &Self) -> String {
        if self.is_live && !license.is_live {
            return format!("the subscription to `{}` has no effect", self.plan);
        }
        let MissingParts { units, addons } = self.missing_in(license);
        let addons = addons.texts();
        let has = if units as usize + addons.len() == 1 { "has" } else { "have" };
        let units = (units > 0).then(|| counted(units, "unit"));
        let addons = (!addons.is_empty()).then(|| addons_text(&addons));
        let parts: Vec<_> = units.into_iter().chain(addons).collect();
        format!("{} of the first one {has} no effect", parts.join(" and "))
    }

    /// Returns how the customer gets everything that was paid for.
    fn remedy(&self, license: &Self, is_accepted: bool) -> String {
        if is_accepted {
            return "the customer accepted that".to_owned();
        }
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
                let units = counted(units, "unit");
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

    /// Returns the alert about a single payment for something that the customer owned before.
    pub(super) fn owned_before(item: &Slug, paid_at: Timestamp) -> Self {
        Self::OwnedBefore { item: item.clone(), paid_at }
    }

    /// Notes whether the customer accepted it. A subscription without any effect is never accepted:
    /// it is still charged.
    pub fn note_accepted(&mut self, losses: &AcceptedLosses, catalog: &Catalog) {
        let (paid, license, is_accepted) = match self {
            Self::WithoutEffect { paid, license, is_accepted }
            | Self::Shrunk { former: paid, license, is_accepted, .. } => {
                (paid, license, is_accepted)
            }
            _ => return,
        };
        let plans = (paid.plan.as_str(), license.plan.as_str());
        let missing = paid.missing_in(license);
        *is_accepted = !paid.is_live && losses.cover(plans, &missing, catalog);
    }

    /// Returns whether nobody needs to act on it: the customer accepted it, or it is about a single
    /// payment of long ago.
    #[must_use]
    pub fn is_information(&self, now: Timestamp) -> bool {
        let paid_at = match self {
            Self::WithoutEffect { is_accepted: true, .. }
            | Self::Shrunk { is_accepted: true, .. } => return true,
            Self::Quantity { paid_at, .. } | Self::AddonWithoutPlan { paid_at, .. } => *paid_at,
            Self::UpdatesNotApplied { paid_at, .. }
            | Self::OwnedBefore { paid_at, .. }
            | Self::UpdatesCut { paid_at, .. }
            | Self::Shrunk { paid_at, .. } => Some(*paid_at),
            _ => None,
        };
        paid_at.is_some_and(|paid_at| !is_recent(paid_at, now))
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
                "the customer paid an invoice of the subscription {id} after it had ended; the \
                 period is licensed, and no renewal follows; ask whether they want a new \
                 subscription"
            ),
            Self::PaidBeyondEnd { id, ends_at, paid_until } => write!(
                formatter,
                "the customer paid for the subscription {id} until {paid_until} after its end at \
                 {ends_at} was scheduled, and the license ends with it; move the end at Stripe, \
                 or refund the rest"
            ),
            Self::Quantity { item, found, sold, paid_at } => {
                formatter.write_str(&quantity(item, *found, *sold, *paid_at))
            }
            Self::AddonWithoutPlan { addon, paid_at } => {
                formatter.write_str(&addon_without_plan(addon, *paid_at))
            }
            Self::UpdatesNotApplied { plan, paid, held, paid_at } => {
                formatter.write_str(&updates_not_applied(plan, (*paid, *held), *paid_at))
            }
            Self::OwnedBefore { item, paid_at } => write!(
                formatter,
                "the customer paid for `{item}` at {paid_at} and owned all of it, or a higher \
                 plan, before, so the payment has no effect; refund it if it was a mistake"
            ),
            Self::UpdatesCut { lower, lower_until, plan, until, paid_at } => write!(
                formatter,
                "the customer bought `{plan}` at {paid_at} and had updates of `{lower}` {}; the \
                 higher plan takes them over until {until} only; refund the rest, or grant a \
                 license",
                lower_until.map_or("for ever".to_owned(), |end| format!("until {end}"))
            ),
            Self::Shrunk { former, license, paid_at, is_accepted } => write!(
                formatter,
                "the customer had {former}, and bought another one at {paid_at}, now {license}; a \
                 license is for one purchase, here for the second one, so {}; {}",
                former.part_without_effect(license),
                former.remedy(license, *is_accepted)
            ),
            Self::BilledAndOwned { addon } => write!(
                formatter,
                "a subscription bills the add-on `{addon}`, which the customer owns by a single \
                 payment; remove its item at Stripe, or refund the single payment"
            ),
            Self::SecondPlan { plan, granted } => write!(
                formatter,
                "a subscription bills `{plan}` and `{granted}`, and grants only the latter; remove \
                 the item of `{plan}` at Stripe"
            ),
            Self::PaidTooLate { id, paid_at } => write!(
                formatter,
                "the customer paid for a period of the subscription {id} at {paid_at}, after the \
                 subscription and the period had ended, so the payment has no effect; ask whether \
                 they want a new subscription, or refund it"
            ),
            Self::WithoutEffect { paid, license, is_accepted } => write!(
                formatter,
                "the customer has {paid}, and also {license}; a license is for one purchase, here \
                 for the second one, so {}; {}",
                paid.part_without_effect(license),
                paid.remedy(license, *is_accepted)
            ),
            Self::UnknownPurchase { price, bought, is_partial, paid_at } => {
                formatter.write_str(&unknown_purchase(price, bought, *is_partial, *paid_at))
            }
            Self::PurchasesGone => formatter.write_str(
                "the customer had a perpetual license, and its Stripe customer was deleted with \
                 every purchase, so the license is revoked; grant it again if it was deleted by \
                 mistake",
            ),
        }
    }
}

fn quantity(item: &Slug, found: u32, sold: Quantity, paid_at: Option<Timestamp>) -> String {
    let found = counted(found, "unit");
    match paid_at {
        None => format!(
            "the customer has {found} of `{item}` at Stripe, which is sold in {sold}; the license \
             has what is paid for; correct the quantity at Stripe, or `quantity` in the plans file"
        ),
        Some(paid_at) => format!(
            "the customer paid once for {found} of `{item}` at {paid_at}, which is sold in {sold}; \
             the license has what is paid for; refund the payment if it was a mistake, or correct \
             `quantity` in the plans file"
        ),
    }
}

fn addon_without_plan(addon: &Slug, paid_at: Option<Timestamp>) -> String {
    match paid_at {
        None => format!(
            "the customer pays for the add-on `{addon}` and has no plan that it belongs to, so it \
             has no effect; add the plan at Stripe, or refund the add-on"
        ),
        Some(paid_at) => format!(
            "the customer paid once for the add-on `{addon}` at {paid_at} and has no plan that it \
             belongs to; it has an effect once the customer buys such a plan; or refund the payment"
        ),
    }
}

fn updates_not_applied(plan: &Slug, (paid, held): (u32, u32), paid_at: Timestamp) -> String {
    if held == 0 {
        return format!(
            "the customer paid for updates of `{plan}` at {paid_at} and had no perpetual license \
             of it, so they have no effect; refund the payment, or grant a license"
        );
    }
    let effect = match paid.saturating_sub(held) {
        0 => "updates are sold for all units at once, so these have no effect".to_owned(),
        more => format!("the updates of {} have no effect", counted(more, "unit")),
    };
    let (paid, held) = (counted(paid, "unit"), counted(held, "unit"));
    format!(
        "the customer paid for updates of {paid} of `{plan}` at {paid_at} and had {held}: \
         {effect}; refund what has no effect, or grant a license"
    )
}

fn unknown_purchase(
    price: &str,
    bought: &[String],
    is_partial: bool,
    paid_at: Timestamp,
) -> String {
    if bought.is_empty() {
        let part = if is_partial { "this part of the payment" } else { "the payment" };
        return format!(
            "the customer paid for {price} at {paid_at}, which nothing in the plans file has, so \
             {part} has no effect; add the price to `prices` of what it sells, or to \
             `other_prices` if it is for no plan"
        );
    }
    let bought: Vec<_> = bought.iter().map(|id| format!("`{id}`")).collect();
    format!(
        "the customer bought {} for {price} at {paid_at}, and the plans file no longer has that \
         price; no license is revoked because of it; put it back under `prices` with `sold = false`",
        bought.join(" and ")
    )
}
