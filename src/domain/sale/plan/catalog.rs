//! Everything that a vendor sells.

use chrono::TimeDelta;

use super::{Addon, CheckoutOptions, Plan, Price, Slug};
use crate::domain::sale::policy::Policy;

/// The checked content of the plans file: ids are unique, and the trial's plan exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The product: the `aud` of licenses.
    pub product: Slug,
    /// The product's name in mails.
    pub name: String,
    /// The issuer: the `iss` of licenses. `None` is the server's public URL.
    pub issuer: Option<String>,
    /// The longest lifetime of a license token, in days. Apps that are online refresh it earlier.
    pub token_days: u32,
    /// The length of a trial license, in days. The trials at Stripe are in the plans.
    pub trial_license_days: u32,
    /// How long an address that has had a trial gets no other one, in days, after its account was
    /// deleted; 0 if it gets another one at once.
    pub trial_remember_days: u32,
    /// The index of the trial's plan in `plans`.
    pub(crate) trial_plan: usize,
    /// The plans in the order of the file, from the lowest to the highest.
    pub plans: Vec<Plan>,
    /// The add-ons in the order of the file.
    pub addons: Vec<Addon>,
    /// The vendor's choices about refunds, disputes and forgiven payments.
    pub policy: Policy,
    /// The options of Stripe's Checkout page.
    pub checkout: CheckoutOptions,
    /// The ids of prices that the vendor sells besides the plans and add-ons.
    pub other_prices: Vec<String>,
}

/// The plan or the add-on that a price at Stripe pays for. `price` is `None` for an id in
/// `former_prices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sold<'c> {
    /// A plan.
    Plan {
        /// Its index in the file.
        rank: usize,
        /// The plan.
        plan: &'c Plan,
        /// The price.
        price: Option<&'c Price>,
    },
    /// An add-on.
    Addon {
        /// The add-on.
        addon: &'c Addon,
        /// The price.
        price: Option<&'c Price>,
    },
}

impl<'c> Sold<'c> {
    /// Returns the id of the plan or the add-on.
    #[must_use]
    pub fn id(self) -> &'c Slug {
        match self {
            Self::Plan { plan, .. } => &plan.id,
            Self::Addon { addon, .. } => &addon.id,
        }
    }

    /// Returns the add-on, if it is one.
    #[must_use]
    pub fn addon(self) -> Option<&'c Addon> {
        match self {
            Self::Addon { addon, .. } => Some(addon),
            Self::Plan { .. } => None,
        }
    }

    /// Returns the price; `None` for an id in `former_prices`.
    #[must_use]
    pub fn price(self) -> Option<&'c Price> {
        match self {
            Self::Plan { price, .. } | Self::Addon { price, .. } => price,
        }
    }
}

impl Catalog {
    /// Returns the plan of a trial.
    #[must_use]
    pub fn trial(&self) -> &Plan {
        &self.plans[self.trial_plan]
    }

    /// Returns whether a price is one that the vendor sells besides the plans and add-ons.
    #[must_use]
    pub fn is_other_price(&self, price: &str) -> bool {
        self.other_prices.iter().any(|other| other == price)
    }

    /// Returns the ids of all Stripe prices of the plans.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        let of_addons = self.addons.iter().flat_map(Addon::price_ids);
        self.plans.iter().flat_map(Plan::price_ids).chain(of_addons)
    }

    /// Returns the longest lifetime of the license tokens of a plan, in days. `None` is a plan that
    /// is not in the catalog.
    #[must_use]
    pub fn token_days_of(&self, plan: Option<&Plan>) -> u32 {
        plan.and_then(|plan| plan.token_days).unwrap_or(self.token_days)
    }

    /// Returns how long a trial lasts.
    #[must_use]
    pub fn trial_lasts(&self) -> TimeDelta {
        TimeDelta::days(self.trial_license_days.into())
    }

    /// Returns the plan with this present or former id.
    #[must_use]
    pub fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.has_id(id))
    }

    /// Returns the add-on with this id.
    #[must_use]
    pub fn addon(&self, id: &str) -> Option<&Addon> {
        self.addons.iter().find(|addon| addon.id.as_str() == id)
    }

    /// Returns the rank of the plan with this present or former id: its index in the file. A plan
    /// that is not in the file has the lowest.
    #[must_use]
    pub fn rank(&self, id: &str) -> usize {
        self.plans.iter().position(|plan| plan.has_id(id)).unwrap_or(0)
    }

    /// Returns whether two ids name the same plan: one may be a former id of the other.
    #[must_use]
    pub fn is_same_plan(&self, one: &str, other: &str) -> bool {
        one == other || self.plans.iter().any(|plan| plan.has_id(one) && plan.has_id(other))
    }

    /// Returns what this present or former price at Stripe pays for.
    #[must_use]
    pub fn sold(&self, id: &str) -> Option<Sold<'_>> {
        let plan = self.plans.iter().enumerate().find_map(|(rank, plan)| {
            let price = find(&plan.prices, &plan.former_prices, id)?;
            Some(Sold::Plan { rank, plan, price })
        });
        let addon = || {
            self.addons.iter().find_map(|addon| {
                let price = find(&addon.prices, &addon.former_prices, id)?;
                Some(Sold::Addon { addon, price })
            })
        };
        plan.or_else(addon)
    }

    /// Returns the plan with this present or former price at Stripe, and its rank.
    #[must_use]
    pub fn by_price(&self, price: &str) -> Option<(usize, &Plan)> {
        match self.sold(price)? {
            Sold::Plan { rank, plan, .. } => Some((rank, plan)),
            Sold::Addon { .. } => None,
        }
    }

    /// Returns whether a plan begins with a trial at Stripe.
    #[must_use]
    pub fn has_stripe_trials(&self) -> bool {
        self.plans.iter().any(|plan| plan.trial_days.is_some())
    }

    /// Returns whether anything is or was sold by a single payment: any price of
    /// [`Interval::Once`](super::Interval::Once) or
    /// [`Interval::Updates`](super::Interval::Updates).
    #[must_use]
    pub fn sells_once(&self) -> bool {
        let plans = self.plans.iter().flat_map(|plan| &plan.prices);
        let mut prices = plans.chain(self.addons.iter().flat_map(|addon| &addon.prices));
        prices.any(|price| !price.interval.is_recurring())
    }
}

/// Returns the price with this id, and `Some(None)` for a former price.
fn find<'p>(prices: &'p [Price], former: &[String], id: &str) -> Option<Option<&'p Price>> {
    let price = prices.iter().find(|price| price.id == id);
    (price.is_some() || former.iter().any(|former| former == id)).then_some(price)
}
