//! Reads the plans and the add-ons.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::on_end::on_end;
use super::price::{MONTHS, price};
use super::{LIMITS, TOKEN_DAYS, small};
use crate::domain::contact::DisplayName;
use crate::domain::sale::plan::{Addon, Interval, MAX_QUANTITY, Plan, Price, Quantity, Slug};
use crate::settings::Section;

const GRACE_DAYS: RangeInclusive<u64> = 0..=90;
/// Stripe's longest trial (API reference: `subscription_data.trial_period_days`).
const TRIAL_DAYS: RangeInclusive<u64> = 1..=730;
const QUANTITIES: RangeInclusive<u64> = 1..=MAX_QUANTITY as u64;
/// At most a hundred years: a perpetual license may be for a machine that is never online.
const PERPETUAL_TOKEN_DAYS: RangeInclusive<u64> = 1..=36_525;

/// At most a year: a yearly license may warn from its first day.
const WARN_DAYS: RangeInclusive<u64> = 0..=365;

/// A plan or an add-on, with the sections of the file that it was read from, for the problems of
/// [`super::check`]. After an invalid setting, which is reported already, it has a default.
pub(super) struct Read<T> {
    pub(super) section: Section,
    pub(super) value: T,
    /// The section of each price.
    pub(super) prices: Vec<Section>,
}

impl<T> Read<T> {
    /// Returns each of its prices with its section.
    pub(super) fn zip<'r>(&'r self, prices: &'r [Price]) -> Vec<(&'r Price, &'r Section)> {
        prices.iter().zip(&self.prices).collect()
    }
}

/// Reads a plan. Returns `None` if its id is invalid.
pub(super) fn plan(mut section: Section) -> Option<Read<Plan>> {
    let (id, name) = id_and_name(&mut section, "\"professional\"", "\"Professional\"");
    let former_ids = section.list("former_ids");
    let features = features(&mut section);
    let limits: BTreeMap<_, _> = section.numbers("limits", LIMITS).into_iter().collect();
    let per_unit = list_of_ids(&mut section, "per_unit").into_iter().collect();
    let quantity = quantity(&mut section, &limits, &per_unit);
    let trial_days = section.integer("trial_days", TRIAL_DAYS).map(small);
    let fallback_months = section.integer("fallback_months", MONTHS).map(small);
    let token_days = section.integer("token_days", PERPETUAL_TOKEN_DAYS).map(small);
    let warn_days = section.integer("warn_days", WARN_DAYS).map_or(0, small);
    let on_end = on_end(&mut section);
    let grace_days = section.integer("grace_days", GRACE_DAYS).map_or(0, small);
    let (prices, sections) = prices(&mut section);
    let former_prices = former_prices(&mut section);
    section.finish();
    let plan = Plan {
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
        warn_days,
        on_end,
        grace_days,
        prices,
        former_prices,
    };
    sold_once_or_repeatedly(&section, &plan);
    updates_need_a_license(&plan, &sections);
    Some(Read { section, value: plan, prices: sections })
}

/// Reads an add-on. Returns `None` if its id is invalid.
pub(super) fn addon(mut section: Section) -> Option<Read<Addon>> {
    let (id, name) = id_and_name(&mut section, "\"pdf\"", "\"PDF export\"");
    let features = features(&mut section);
    let limits = section.numbers("limits", LIMITS).into_iter().collect();
    let plans = section.is_set("plans").then(|| list_of_ids(&mut section, "plans"));
    if plans.as_ref().is_some_and(Vec::is_empty) && !section.is_wrong("plans") {
        section.problem(
            "plans",
            "the add-on is sold with none of the plans; list some, or remove it for all of them",
        );
    }
    let (prices, sections) = prices(&mut section);
    let former_prices = former_prices(&mut section);
    section.finish();
    for (price, section) in prices.iter().zip(&sections) {
        match (price.interval, price.updates_months) {
            (Interval::Updates, _) => {
                section.problem("interval", "an add-on has no updates; use month, year or once");
            }
            (_, Some(_)) => section.problem("updates_months", "only plans have updates; remove it"),
            (_, None) => {}
        }
    }
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

pub(super) fn features(section: &mut Section) -> Vec<Slug> {
    let features: Vec<Slug> = section.list("features");
    if features.iter().collect::<BTreeSet<_>>().len() < features.len() {
        section.problem("features", "a feature is listed twice; remove one of them");
    }
    features
}

/// Reads a list in which each id stands once.
fn list_of_ids(section: &mut Section, key: &'static str) -> Vec<Slug> {
    let ids: Vec<Slug> = section.list(key);
    for (item, id) in ids.iter().enumerate().filter(|(item, id)| ids[..*item].contains(id)) {
        let id = id.as_str();
        section.item_problem(key, item, format_args!("{id:?} is listed twice; list it once"));
    }
    ids
}

/// Reads the quantity, and checks it and `per_unit`.
fn quantity(
    section: &mut Section,
    limits: &BTreeMap<Slug, u64>,
    per_unit: &BTreeSet<Slug>,
) -> Quantity {
    for name in per_unit.iter().filter(|name| !limits.contains_key(name)) {
        if !section.is_wrong("limits") {
            let name = name.as_str();
            section.problem("per_unit", format_args!("there is no limit {name:?} in `limits`"));
        }
    }
    let is_per_unit = !per_unit.is_empty();
    if section.is_set("quantity") && !is_per_unit && !section.is_wrong("per_unit") {
        section.problem(
            "quantity",
            "every quantity of this plan grants the same; list the limits to multiply in \
             `per_unit`, or remove it",
        );
    }
    let usual = if is_per_unit { Quantity::PER_UNIT } else { Quantity::ONE };
    let mut quantity = section.section("quantity");
    let min = quantity.integer("min", QUANTITIES).map_or(usual.min, small);
    let max = quantity.integer("max", QUANTITIES).map_or(usual.max, small);
    if min > max && is_per_unit {
        quantity.problem("min", format_args!("{min} is more than the most, {max}"));
    }
    quantity.finish();
    Quantity { min, max }
}

/// Checks the settings that suit only a plan that is sold by subscription, or only one that is sold
/// once.
fn sold_once_or_repeatedly(section: &Section, plan: &Plan) {
    let is_once = |price: &Price| !price.interval.is_recurring();
    if plan.trial_days.is_some()
        && plan.prices.iter().any(|price| price.is_for_sale && is_once(price))
    {
        section.problem(
            "trial_days",
            "a trial at Stripe begins a subscription, but this plan is sold once; remove it, or \
             sell the subscription as a plan of its own",
        );
    }
    // The interval of a former price is unknown.
    let is_subscribed = !plan.former_prices.is_empty() || !plan.prices.iter().all(is_once);
    if plan.trial_days.is_some() && !is_subscribed && !section.is_wrong("trial_days") {
        section.problem(
            "trial_days",
            "a trial at Stripe begins a subscription, but this plan has no price with the interval \
             month or year",
        );
    }
    if plan.fallback_months.is_some() && !is_subscribed {
        section.problem(
            "fallback_months",
            "it is for a subscription, but this plan has no price with the interval month or year",
        );
    }
    let is_perpetual = plan.fallback_months.is_some() || plan.prices.iter().any(is_once);
    let longest = *TOKEN_DAYS.end();
    if !is_perpetual && plan.token_days.is_some_and(|days| u64::from(days) > longest) {
        section.problem(
            "token_days",
            format_args!("use at most {longest}; more is for plans that are sold once"),
        );
    }
}

/// Checks the months of updates, and that updates are sold only beside the license that they are
/// for.
fn updates_need_a_license(plan: &Plan, sections: &[Section]) {
    let is_sold_once = plan.prices.iter().any(|price| price.interval == Interval::Once);
    for (price, section) in plan.prices.iter().zip(sections) {
        if price.interval == Interval::Updates {
            section.require("updates_months", price.updates_months, "12");
            if !is_sold_once {
                section.problem(
                    "interval",
                    "updates are for a perpetual license, but this plan has no price with the \
                     interval once",
                );
            }
        }
        if price.interval.is_recurring() && price.updates_months.is_some() {
            section.problem(
                "updates_months",
                "a subscription has all updates while it is paid; remove it",
            );
        }
    }
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
