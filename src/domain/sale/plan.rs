//! The plans that a vendor sells: what each grants and costs. [`crate::plans`] reads them from the
//! plans file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;

use crate::domain::sale::policy::Policy;

/// The longest id of a product, plan, feature or limit, in characters.
pub const MAX_SLUG_CHARACTERS: usize = 64;

/// An identifier such as `professional`: letters, digits, `-`, `_`, `.` and `:`, beginning with a
/// letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// Returns the identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins_well && text.len() <= MAX_SLUG_CHARACTERS && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSlug)
        }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is not a [`Slug`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "use 1 to {MAX_SLUG_CHARACTERS} letters, digits, \"-\", \"_\", \".\" or \":\", \
     beginning with a letter or a digit"
)]
pub struct InvalidSlug;

/// How often a price is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interval {
    /// Each month.
    Month,
    /// Each year.
    Year,
}

impl Interval {
    /// Returns the name in the plans file, in the API and at Stripe.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl FromStr for Interval {
    type Err = InvalidInterval;

    fn from_str(text: &str) -> Result<Self, InvalidInterval> {
        match text {
            "month" => Ok(Self::Month),
            "year" => Ok(Self::Year),
            _ => Err(InvalidInterval),
        }
    }
}

/// A text that is not an [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"month\" or \"year\"")]
pub struct InvalidInterval;

/// A price of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// Stripe's id of the price. Customers never see it.
    pub id: String,
    /// How often it is charged.
    pub interval: Interval,
    /// The amount in the currency's smallest unit, for example cents.
    pub amount: u32,
    /// ISO 4217, lower case, for example `usd`.
    pub currency: String,
}

/// A plan: features, limits, and prices if it is for sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The id, which licenses contain.
    pub id: Slug,
    /// The display name.
    pub name: String,
    /// The features that it grants.
    pub features: Vec<Slug>,
    /// The limits that it grants.
    pub limits: BTreeMap<Slug, u64>,
    /// The grace period after a failed payment, in days.
    pub grace_days: u32,
    /// The prices. A plan that is not for sale, such as the trial, has none.
    pub prices: Vec<Price>,
    /// The ids of earlier prices at Stripe. Customers who pay one of them keep the plan.
    pub former_prices: Vec<String>,
}

impl Plan {
    /// Returns the ids of all its prices at Stripe, including former ones.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        let sold = self.prices.iter().map(|price| price.id.as_str());
        sold.chain(self.former_prices.iter().map(String::as_str))
    }

    /// Returns the price for this interval. For `None`, returns the monthly price, or else the
    /// first.
    #[must_use]
    pub fn price(&self, interval: Option<Interval>) -> Option<&Price> {
        let per = |interval| self.prices.iter().find(|price| price.interval == interval);
        match interval {
            Some(interval) => per(interval),
            None => per(Interval::Month).or(self.prices.first()),
        }
    }
}

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
    /// The length of a trial, in days.
    pub trial_days: u32,
    /// How long an address that has had a trial gets no other one, in days, after its account was
    /// deleted; 0 if it gets another one at once.
    pub trial_remember_days: u32,
    /// The index of the trial's plan in `plans`.
    pub(crate) trial_plan: usize,
    /// The plans in the order of the file, from the lowest to the highest.
    pub plans: Vec<Plan>,
    /// The vendor's choices about refunds, disputes and forgiven payments.
    pub policy: Policy,
    /// The ids of prices that the vendor sells besides the plans.
    pub other_prices: Vec<String>,
    /// Whether an unknown buyer gets an account: a Stripe customer that pays for a plan and is not
    /// linked to a customer.
    pub allow_unknown_buyers: bool,
}

impl Catalog {
    /// Returns the plan of a trial.
    #[must_use]
    pub fn trial(&self) -> &Plan {
        &self.plans[self.trial_plan]
    }

    /// Returns whether a price is one that the vendor sells besides the plans.
    #[must_use]
    pub fn is_other_price(&self, price: &str) -> bool {
        self.other_prices.iter().any(|other| other == price)
    }

    /// Returns the ids of all Stripe prices of the plans.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        self.plans.iter().flat_map(Plan::price_ids)
    }

    /// Returns how long a trial lasts.
    #[must_use]
    pub fn trial_lasts(&self) -> TimeDelta {
        TimeDelta::days(self.trial_days.into())
    }

    /// Returns the plan with this id.
    #[must_use]
    pub fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id.as_str() == id)
    }

    /// Returns the plan with this present or former price at Stripe, and its rank.
    #[must_use]
    pub fn by_price(&self, price: &str) -> Option<(usize, &Plan)> {
        let has = |plan: &Plan| plan.price_ids().any(|id| id == price);
        self.plans.iter().enumerate().find(|(_, plan)| has(plan))
    }

    /// Returns the rank of a plan: its index in the file. A plan that is not in the file has the
    /// lowest.
    #[must_use]
    pub fn rank(&self, id: &str) -> usize {
        self.plans.iter().position(|plan| plan.id.as_str() == id).unwrap_or(0)
    }
}
