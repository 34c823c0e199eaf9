//! Add-ons: features and limits that are sold beside a plan.

use std::collections::BTreeMap;

use super::{Plan, Price, Slug};

/// An add-on. What it grants is added to the plan of the customer who pays for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// The id. No plan has it.
    pub id: Slug,
    /// The display name.
    pub name: String,
    /// The features that it grants.
    pub features: Vec<Slug>,
    /// The limits that are added to those of the plan.
    pub limits: BTreeMap<Slug, u64>,
    /// The ids of the plans that it can be bought with; `None` is each plan.
    pub plans: Option<Vec<Slug>>,
    /// The prices: monthly, yearly, or paid once.
    pub prices: Vec<Price>,
    /// The ids of earlier prices at Stripe. Customers who pay one of them keep the add-on.
    pub former_prices: Vec<String>,
}

impl Addon {
    /// Returns the ids of all its prices at Stripe, including former ones.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        let sold = self.prices.iter().map(|price| price.id.as_str());
        sold.chain(self.former_prices.iter().map(String::as_str))
    }

    /// Returns whether it can be bought with this plan.
    #[must_use]
    pub fn is_for(&self, plan: &Plan) -> bool {
        self.plans.as_ref().is_none_or(|plans| plans.contains(&plan.id))
    }
}
