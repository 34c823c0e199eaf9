//! Reads the prices of a plan or an add-on.

use std::ops::RangeInclusive;

use super::small;
use crate::domain::sale::plan::{Currency, MAX_MONTHS, Price, Slug};
use crate::settings::Section;

/// Stripe's largest amount has eight digits.
const AMOUNTS: RangeInclusive<u64> = 0..=99_999_999;
/// The months of updates, and those that leave a perpetual license.
pub(super) const MONTHS: RangeInclusive<u64> = 1..=MAX_MONTHS as u64;

/// Reads one entry of `prices`. Returns `None` if its id, interval or currency is invalid.
pub(super) fn price(section: &mut Section) -> Option<Price> {
    let id: Option<Slug> = section.parsed("id");
    let id = section.require("id", id, "\"price_pro_monthly\"");
    let interval = section.parsed("interval");
    let interval = section.require("interval", interval, "\"month\"");
    let amount = section.integer("amount", AMOUNTS);
    let amount = section.require("amount", amount, "4900");
    let currency: Option<Currency> = section.parsed("currency");
    let currency = section.require("currency", currency, "\"usd\"");
    let others = section.numbers("currencies", AMOUNTS).into_iter();
    let others = others.map(|(currency, amount)| (currency, small(amount))).collect();
    let updates_months = section.integer("updates_months", MONTHS).map(small);
    let is_for_sale = section.flag("sold").unwrap_or(true);
    section.finish();
    Some(Price {
        id: id?.to_string(),
        interval: interval?,
        amount: small(amount.unwrap_or_default()),
        currency: currency?,
        others,
        updates_months,
        is_for_sale,
    })
}
