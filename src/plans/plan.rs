//! Reads the plans and the add-ons.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::price::{MONTHS, price};
use super::{LIMITS, small};
use crate::domain::contact::DisplayName;
use crate::domain::sale::plan::{Addon, MAX_QUANTITY, Plan, Price, Quantity, Slug};
use crate::settings::Section;

const GRACE_DAYS: RangeInclusive<u64> = 0..=90;
/// Stripe's longest trial (API reference: `subscription_data.trial_period_days`).
const TRIAL_DAYS: RangeInclusive<u64> = 1..=730;
const QUANTITIES: RangeInclusive<u64> = 1..=MAX_QUANTITY as u64;
/// At most a hundred years: a perpetual license may be for a machine that is never online.
const TOKEN_DAYS: RangeInclusive<u64> = 1..=36_525;

/// A plan or an add-on, with the sections of the file that it was read from, for the problems of
/// [`super::check`]. After an invalid setting, which is reported already, it has a default.
pub(super) struct Read<T> {
    pub(super) section: Section,
    pub(super) value: T,
    /// The section of each price.
    pub(super) prices: Vec<Section>,
}

/// Reads a plan. Returns `None` if its id is invalid.
pub(super) fn plan(mut section: Section) -> Option<Read<Plan>> {
    let (id, name) = id_and_name(&mut section, "\"professional\"", "\"Professional\"");
    let former_ids = section.list("former_ids");
    let features = features(&mut section);
    let limits: BTreeMap<_, _> = section.numbers("limits", LIMITS).into_iter().collect();
    let per_unit: BTreeSet<_> = section.list("per_unit").into_iter().collect();
    let quantity = quantity(&mut section, !per_unit.is_empty());
    let trial_days = section.integer("trial_days", TRIAL_DAYS).map(small);
    let fallback_months = section.integer("fallback_months", MONTHS).map(small);
    let token_days = section.integer("token_days", TOKEN_DAYS).map(small);
    let grace_days = section.integer("grace_days", GRACE_DAYS).map_or(0, small);
    let (prices, sections) = prices(&mut section);
    let former_prices = former_prices(&mut section);
    section.finish();
    let value = Plan {
        id: id?,
        former_ids,
        name,
        features,
        limits,
        per_unit,
        quantity,
        trial_days,
        fallback_months,
        token_days,
        grace_days,
        prices,
        former_prices,
    };
    Some(Read { section, value, prices: sections })
}

/// Reads an add-on. Returns `None` if its id is invalid.
pub(super) fn addon(mut section: Section) -> Option<Read<Addon>> {
    let (id, name) = id_and_name(&mut section, "\"pdf\"", "\"PDF export\"");
    let features = features(&mut section);
    let limits = section.numbers("limits", LIMITS).into_iter().collect();
    let plans = section.is_set("plans").then(|| section.list("plans"));
    let (prices, sections) = prices(&mut section);
    let former_prices = former_prices(&mut section);
    section.finish();
    let value = Addon { id: id?, name, features, limits, plans, prices, former_prices };
    Some(Read { section, value, prices: sections })
}

fn id_and_name(section: &mut Section, an_id: &str, a_name: &str) -> (Option<Slug>, String) {
    let id = section.parsed("id");
    let id = section.require("id", id, an_id);
    let name: Option<DisplayName> = section.parsed("name");
    let name = section.require("name", name, a_name);
    (id, name.map(|name| name.as_str().to_owned()).unwrap_or_default())
}

fn features(section: &mut Section) -> Vec<Slug> {
    let features: Vec<Slug> = section.list("features");
    if features.iter().collect::<BTreeSet<_>>().len() < features.len() {
        section.problem("features", "a feature is listed twice; remove one of them");
    }
    features
}

fn quantity(section: &mut Section, is_per_unit: bool) -> Quantity {
    let usual = if is_per_unit { Quantity::PER_UNIT } else { Quantity::ONE };
    let mut quantity = section.section("quantity");
    let min = quantity.integer("min", QUANTITIES).map_or(usual.min, small);
    let max = quantity.integer("max", QUANTITIES).map_or(usual.max, small);
    quantity.finish();
    Quantity { min, max }
}

/// Reads the valid prices, each with its section.
fn prices(section: &mut Section) -> (Vec<Price>, Vec<Section>) {
    let sections = section.sections("prices").into_iter();
    sections.filter_map(|mut section| Some((price(&mut section)?, section))).unzip()
}

fn former_prices(section: &mut Section) -> Vec<String> {
    let prices: Vec<Slug> = section.list("former_prices");
    prices.iter().map(ToString::to_string).collect()
}
