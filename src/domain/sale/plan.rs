//! The plans that a vendor sells: what each grants and costs. [`crate::plans`] reads them from the
//! plans file.

mod addon;
mod catalog;
mod checkout;
mod price;
mod promise;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use licentia_verify::OnEnd;

use crate::domain::count::counted;

pub use addon::Addon;
pub use catalog::{Catalog, Sold};
pub use checkout::{BillingAddress, CheckoutOptions};
pub use price::{Currency, Interval, InvalidCurrency, MAX_MONTHS, Price};
pub use promise::{EndMode, promise_text, promises_less};

/// The most units of a plan that a customer can buy: Stripe's largest adjustable quantity (API
/// reference: `line_items.adjustable_quantity.maximum`).
pub const MAX_QUANTITY: u32 = 999_999;

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

/// How many units of a plan a customer can buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The fewest, at least 1.
    pub min: u32,
    /// The most, at most [`MAX_QUANTITY`].
    pub max: u32,
}

impl Quantity {
    /// The quantity of a plan without `per_unit`.
    pub const ONE: Self = Self { min: 1, max: 1 };
    /// The quantity of a plan with `per_unit` that does not set it.
    pub const PER_UNIT: Self = Self { min: 1, max: 100_000 };

    /// Returns whether a customer can buy this many units.
    #[must_use]
    pub fn allows(self, units: u32) -> bool {
        (self.min..=self.max).contains(&units)
    }
}

/// Writes `1 to 20 units`, or `exactly 1 unit`.
impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(formatter, "exactly {}", counted(self.min, "unit"))
        } else {
            write!(formatter, "{} to {} units", self.min, self.max)
        }
    }
}

/// A plan: features, limits, and prices if it is for sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The id, which licenses contain.
    pub id: Slug,
    /// The ids that it had before. Licenses and rows with one of them belong to this plan.
    pub former_ids: Vec<Slug>,
    /// The display name.
    pub name: String,
    /// The features that it grants.
    pub features: Vec<Slug>,
    /// The limits that it grants, for one unit.
    pub limits: BTreeMap<Slug, u64>,
    /// The limits that are multiplied by the quantity that a customer has paid.
    pub per_unit: BTreeSet<Slug>,
    /// How many units a customer can buy; exactly 1 without `per_unit`.
    pub quantity: Quantity,
    /// The length of a trial at Stripe, with a card, in days.
    pub trial_days: Option<u32>,
    /// After how many months that were paid without a gap a customer keeps a perpetual license.
    pub fallback_months: Option<u32>,
    /// The longest lifetime of its license tokens, in days. `None` is [`Catalog::token_days`].
    pub token_days: Option<u32>,
    /// How many days before the next change for the worse an app should warn.
    pub warn_days: u32,
    /// What remains of its licenses at their end.
    pub on_end: OnEnd,
    /// The grace period after a failed payment, in days.
    pub grace_days: u32,
    /// The prices. A plan that is not for sale, such as the trial, has none.
    pub prices: Vec<Price>,
    /// The ids of earlier prices at Stripe. Customers who pay one of them keep the plan.
    pub former_prices: Vec<String>,
}

impl Plan {
    /// Returns whether it is sold by the unit: a limit is multiplied by the paid quantity.
    #[must_use]
    pub fn is_per_unit(&self) -> bool {
        !self.per_unit.is_empty()
    }

    /// Returns the units that count of so many paid ones: 1 unless it is sold by the unit.
    #[must_use]
    pub fn counted(&self, units: u32) -> u32 {
        if self.is_per_unit() { units } else { 1 }
    }

    /// Returns the ids of all its prices at Stripe, including former ones.
    pub fn price_ids(&self) -> impl Iterator<Item = &str> {
        let sold = self.prices.iter().map(|price| price.id.as_str());
        sold.chain(self.former_prices.iter().map(String::as_str))
    }

    /// Returns the prices that are sold for this interval, in the order of the file: one for each
    /// currency, unless a price has several currencies.
    pub fn prices_for_sale(&self, interval: Interval) -> impl Iterator<Item = &Price> {
        self.prices.iter().filter(move |price| price.is_for_sale && price.interval == interval)
    }

    /// Returns the currencies that it is sold in at this interval.
    #[must_use]
    pub fn currencies(&self, interval: Interval) -> Vec<Currency> {
        let all = self.prices_for_sale(interval).flat_map(Price::amounts);
        all.map(|(currency, _)| currency.clone()).collect()
    }

    /// Returns the first price that is sold for this interval. For `None`, returns the monthly
    /// price, or else the yearly one, or else the one that is paid once.
    #[must_use]
    pub fn price(&self, interval: Option<Interval>) -> Option<&Price> {
        let defaults = [Interval::Month, Interval::Year, Interval::Once];
        let intervals = interval.as_ref().map_or(defaults.as_slice(), std::slice::from_ref);
        intervals.iter().find_map(|interval| self.prices_for_sale(*interval).next())
    }

    /// Returns whether this is the plan's id or one of its former ids.
    #[must_use]
    pub fn has_id(&self, id: &str) -> bool {
        self.id.as_str() == id || self.former_ids.iter().any(|former| former.as_str() == id)
    }
}
