//! Prices: how often, how much, in which currencies.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::domain::column::text_columns;
use crate::domain::text_enum::text_enum;

/// The most months that a plans file can state: fifty years.
pub const MAX_MONTHS: u32 = 600;

text_enum! {
    /// How often a price is charged, and for what.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Interval {
        /// Each month.
        Month = "month",
        /// Each year.
        Year = "year",
        /// Once, for a perpetual license.
        Once = "once",
        /// Once, for newer builds of a perpetual license that the customer has.
        Updates = "updates",
    }
}

impl Interval {
    /// Returns whether it is charged again and again: by a subscription.
    #[must_use]
    pub fn is_recurring(self) -> bool {
        match self {
            Self::Month | Self::Year => true,
            Self::Once | Self::Updates => false,
        }
    }
}

/// A currency: the three letters of ISO 4217 in lower case, as Stripe writes them, like `usd`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(String);

impl Currency {
    /// Returns the three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        let is_valid = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidCurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

text_columns!(Currency);

/// A text that is not a [`Currency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use the three letters of ISO 4217, lower case, like \"usd\"")]
pub struct InvalidCurrency;

/// A price of a plan or an add-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// Stripe's id of the price. Customers never see it.
    pub id: String,
    /// How often it is charged.
    pub interval: Interval,
    /// The amount in the currency's smallest unit, for example cents.
    pub amount: u32,
    /// The currency of the amount.
    pub currency: Currency,
    /// The amounts in other currencies: `currency_options` of the price at Stripe.
    pub others: BTreeMap<Currency, u32>,
    /// How many months of builds it pays for. `None` with [`Interval::Once`] is all builds.
    pub updates_months: Option<u32>,
    /// Whether it is for sale. A price that is not keeps its meaning for those who pay it.
    pub is_for_sale: bool,
}

impl Price {
    /// Returns every currency of the price with its amount: its own first, then the others in
    /// alphabetical order.
    pub fn amounts(&self) -> impl Iterator<Item = (&Currency, u32)> {
        let others = self.others.iter().map(|(currency, amount)| (currency, *amount));
        std::iter::once((&self.currency, self.amount)).chain(others)
    }

    /// Returns the amount in a currency, or `None` if the price does not have it.
    #[must_use]
    pub fn amount_in(&self, currency: &Currency) -> Option<u32> {
        self.amounts().find(|(one, _)| *one == currency).map(|(_, amount)| amount)
    }
}
