//! The plans that a vendor sells: what each grants, and what it costs. Read from the plans file
//! by [`crate::plans`]; nothing here reads files.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::domain::policy::Policy;

/// The longest id of a product, plan, feature or limit, in characters.
pub const MAX_SLUG_CHARACTERS: usize = 64;

/// A short name for machines: letters, digits, `-`, `_`, `.` and `:`, beginning with a letter or
/// a digit, for example `professional`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = InvalidSlug;

    fn from_str(text: &str) -> Result<Self, InvalidSlug> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins_well && text.len() <= MAX_SLUG_CHARACTERS && text.bytes().all(fits) {
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

/// A text that is no [`Slug`].
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
    /// The name in the plans file, in the API and at Stripe.
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

/// A text that is no [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use \"month\" or \"year\"")]
pub struct InvalidInterval;

/// What a plan costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The price's id at Stripe; customers never see it.
    pub id: String,
    /// How often it is charged.
    pub interval: Interval,
    /// In the currency's smallest unit, for example cents.
    pub amount: u32,
    /// ISO 4217, lower case, for example `usd`.
    pub currency: String,
}

/// What somebody may have: features, limits, and prices if it is for sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The id that licenses carry.
    pub id: Slug,
    /// What people see.
    pub name: String,
    /// What it grants.
    pub features: Vec<Slug>,
    /// How much of it.
    pub limits: BTreeMap<Slug, u64>,
    /// How many days a license still works after a payment failed.
    pub grace_days: u32,
    /// What it costs; none for a plan that is not for sale, such as the trial.
    pub prices: Vec<Price>,
    /// Ids of prices at Stripe that it was sold at before: who pays one of them keeps the plan.
    pub former_prices: Vec<String>,
}

impl Plan {
    /// The ids of every price at Stripe that stands for it, former ones too.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        let sold = self.prices.iter().map(|price| price.id.as_str());
        sold.chain(self.former_prices.iter().map(String::as_str))
    }

    /// The price for this interval; without one, the price per month, or else the first.
    #[must_use]
    pub fn price(&self, interval: Option<Interval>) -> Option<&Price> {
        let per = |interval| self.prices.iter().find(|price| price.interval == interval);
        match interval {
            Some(interval) => per(interval),
            None => per(Interval::Month).or(self.prices.first()),
        }
    }
}

/// Everything that the plans file says, checked: ids are unique, and the trial's plan exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The product that licenses are for: their `aud`.
    pub product: Slug,
    /// Who issues licenses: their `iss`. `None` stands for the service's public URL.
    pub issuer: Option<String>,
    /// The longest life of one license token, in days. An app that is online refreshes before.
    pub token_days: u32,
    /// How long a trial lasts, in days.
    pub trial_days: u32,
    /// The place of the trial's plan in `plans`.
    pub(crate) trial_plan: usize,
    /// In the order of the file: from the lowest to the highest.
    pub plans: Vec<Plan>,
    /// What becomes of a license when the money goes back.
    pub policy: Policy,
    /// The ids of prices of what is sold beside the plans.
    pub other_prices: Vec<String>,
    /// Whether a Stripe customer who is unknown here and pays for a plan gets an account.
    pub allow_unknown_buyers: bool,
}

impl Catalog {
    /// The plan of a trial.
    #[must_use]
    pub fn trial(&self) -> &Plan {
        &self.plans[self.trial_plan]
    }

    /// Whether a price is of something that is sold beside the plans.
    #[must_use]
    pub fn is_beside(&self, price: &str) -> bool {
        self.other_prices.iter().any(|other| other == price)
    }

    /// Returns the ids of every price at Stripe that stands for a plan.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        self.plans.iter().flat_map(Plan::price_ids)
    }

    /// The plan with this id.
    #[must_use]
    pub fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id.as_str() == id)
    }

    /// The plan that is, or was, sold at this price of Stripe's, and its rank.
    #[must_use]
    pub fn by_price(&self, price: &str) -> Option<(usize, &Plan)> {
        let has = |plan: &Plan| plan.price_ids().any(|id| id == price);
        self.plans.iter().enumerate().find(|(_, plan)| has(plan))
    }

    /// The place of a plan in the file: the higher, the more it is. A plan that is gone is lowest.
    #[must_use]
    pub fn rank(&self, id: &str) -> usize {
        self.plans.iter().position(|plan| plan.id.as_str() == id).unwrap_or(0)
    }
}
