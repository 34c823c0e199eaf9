//! Compares two plans files: finds what the newer one takes away, and whose license it changes
//! (`licenses.rs`).

mod licenses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use licentia_verify::OnEnd;
use serde::{Deserialize, Serialize};

use crate::domain::count::counted;
use crate::domain::sale::plan::{
    Addon, Catalog, Interval, Plan, Slug, Sold, promise_text, promises_less,
};

pub use licenses::{Difference, LicenseChange, license_change};

/// The content of a plans file, as it is stored to compare it with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlansSnapshot {
    plans: Vec<GrantedItem>,
    addons: Vec<GrantedItem>,
}

/// The features and limits that a plan or an add-on grants, and the ids of its prices. The fields
/// with a default are missing in what an earlier version stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct GrantedItem {
    id: String,
    features: BTreeSet<String>,
    limits: BTreeMap<String, u64>,
    per_unit: BTreeSet<String>,
    prices: BTreeSet<String>,
    /// After how many paid months a subscription to the plan leaves a perpetual license.
    #[serde(default)]
    fallback_months: Option<u32>,
    /// The months of builds that each one-time price of the plan pays for; `None` covers all
    /// builds.
    #[serde(default)]
    updates_months: BTreeMap<String, Option<u32>>,
    /// The prices of the plan that extend the updates of a perpetual license.
    #[serde(default)]
    updates: BTreeSet<String>,
    /// The plans that the add-on is sold with.
    #[serde(default)]
    with_plans: BTreeSet<String>,
    /// What remains of the plan's licenses at their end.
    #[serde(default)]
    on_end: OnEnd,
    /// How many days before the next change for the worse apps warn.
    #[serde(default)]
    warn_days: u32,
    /// The longest lifetime of the plan's license tokens, in days; 0 if it was not stored.
    #[serde(default)]
    token_days: u32,
}

impl PlansSnapshot {
    /// Returns what these plans grant.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            plans: catalog.plans.iter().map(|plan| GrantedItem::of_plan(plan, catalog)).collect(),
            addons: catalog
                .addons
                .iter()
                .map(|addon| GrantedItem::of_addon(addon, catalog))
                .collect(),
        }
    }

    /// Returns everything that these plans granted and the new ones do not.
    #[must_use]
    pub fn removals(&self, new: &Catalog) -> Vec<Removal> {
        let plan = |id: &str| new.plan(id).map(|plan| GrantedItem::of_plan(plan, new));
        let plans = self.plans.iter().map(|old| (old, plan(&old.id)));
        let addon = |id: &str| new.addon(id).map(|addon| GrantedItem::of_addon(addon, new));
        let addons = self.addons.iter().map(|old| (old, addon(&old.id)));
        let mut removals = Vec::new();
        for (old, item) in plans.chain(addons) {
            match item {
                Some(item) => old.compare(&item, new, &mut removals),
                None => removals.push(Removal::Gone { id: old.id.clone() }),
            }
            for price in &old.prices {
                let of = match new.sold(price) {
                    Some(Sold::Plan { plan, .. }) if plan.has_id(&old.id) => continue,
                    Some(Sold::Addon { addon, .. }) if addon.id.as_str() == old.id => continue,
                    sold => sold.map(|sold| sold.id().to_string()),
                };
                removals.push(Removal::Price { id: old.id.clone(), price: price.clone(), of });
            }
        }
        removals
    }
}

fn names<'s>(slugs: impl IntoIterator<Item = &'s Slug>) -> BTreeSet<String> {
    slugs.into_iter().map(ToString::to_string).collect()
}

fn limits(limits: &BTreeMap<Slug, u64>) -> BTreeMap<String, u64> {
    limits.iter().map(|(name, limit)| (name.to_string(), *limit)).collect()
}

/// Returns the prices of a plan that extend the updates of a perpetual license.
fn updates_prices(plan: &Plan) -> impl Iterator<Item = &str> {
    let updates = plan.prices.iter().filter(|price| price.interval == Interval::Updates);
    updates.map(|price| price.id.as_str())
}

/// Returns the months of builds that a one-time price of a plan pays for now: a former price those
/// of the present one. `None` if it does not pay for the plan; `Some(None)` covers all builds.
fn updates_months(plan: &str, price: &str, catalog: &Catalog) -> Option<Option<u32>> {
    let (plan, price) = match catalog.sold(price)? {
        Sold::Plan { plan: of, price, .. } if of.has_id(plan) => (of, price),
        Sold::Plan { .. } | Sold::Addon { .. } => return None,
    };
    let once = || plan.prices.iter().find(|price| price.interval == Interval::Once);
    Some(price.or_else(once).and_then(|price| price.updates_months))
}

impl GrantedItem {
    /// Adds what `new` promises less about the end of a license and of its token.
    fn compare_ends(&self, new: &Self, removals: &mut Vec<Removal>) {
        let id = || new.id.clone();
        if promises_less(&new.on_end, &self.on_end) {
            let (before, after) = (self.on_end.clone(), new.on_end.clone());
            removals.push(Removal::OnEnd { id: id(), before, after });
        }
        if new.warn_days < self.warn_days {
            let (before, after) = (self.warn_days, new.warn_days);
            removals.push(Removal::WarnDays { id: id(), before, after });
        }
        if new.token_days < self.token_days {
            let (before, after) = (self.token_days, new.token_days);
            removals.push(Removal::TokenDays { id: id(), before, after });
        }
    }

    fn of_plan(plan: &Plan, catalog: &Catalog) -> Self {
        let once = plan.prices.iter().filter(|price| !price.interval.is_recurring());
        Self {
            id: plan.id.to_string(),
            features: names(&plan.features),
            limits: limits(&plan.limits),
            per_unit: names(&plan.per_unit),
            prices: plan.price_ids().map(str::to_owned).collect(),
            fallback_months: plan.fallback_months,
            updates_months: once.map(|price| (price.id.clone(), price.updates_months)).collect(),
            updates: updates_prices(plan).map(str::to_owned).collect(),
            with_plans: BTreeSet::new(),
            on_end: plan.on_end.clone(),
            warn_days: plan.warn_days,
            token_days: catalog.token_days_of(Some(plan)),
        }
    }

    fn of_addon(addon: &Addon, catalog: &Catalog) -> Self {
        let with_plans = catalog.plans.iter().filter(|plan| addon.is_for(plan));
        Self {
            fallback_months: None,
            updates_months: BTreeMap::new(),
            updates: BTreeSet::new(),
            with_plans: names(with_plans.map(|plan| &plan.id)),
            id: addon.id.to_string(),
            features: names(&addon.features),
            limits: limits(&addon.limits),
            per_unit: BTreeSet::new(),
            prices: addon.price_ids().map(str::to_owned).collect(),
            on_end: OnEnd::Stop,
            warn_days: 0,
            token_days: 0,
        }
    }

    /// Adds what `new`, which is of a catalog, does not grant any more.
    fn compare(&self, new: &Self, catalog: &Catalog, removals: &mut Vec<Removal>) {
        let id = || new.id.clone();
        for feature in self.features.difference(&new.features) {
            removals.push(Removal::Feature { id: id(), feature: feature.clone() });
        }
        for (limit, before) in &self.limits {
            let after = new.limits.get(limit).copied();
            if after.is_none_or(|after| after < *before) {
                let (limit, before) = (limit.clone(), *before);
                removals.push(Removal::Limit { id: id(), limit, before, after });
            } else if self.per_unit.contains(limit) && !new.per_unit.contains(limit) {
                removals.push(Removal::PerUnit { id: id(), limit: limit.clone() });
            }
        }
        let after = new.fallback_months;
        if let Some(before) = self.fallback_months
            && after.is_none_or(|after| after > before)
        {
            removals.push(Removal::Fallback { id: id(), before, after });
        }
        self.compare_ends(new, removals);
        for (price, before) in &self.updates_months {
            let after = updates_months(&self.id, price, catalog).flatten();
            if let Some(after) = after
                && before.is_none_or(|before| after < before)
            {
                let (price, before) = (price.clone(), *before);
                removals.push(Removal::Updates { id: id(), price, before, after });
            }
        }
        // Other prices are looked up by the caller.
        let one_time = self.updates_months.keys().filter(|price| new.prices.contains(*price));
        for price in one_time {
            let was_updates = self.updates.contains(price);
            if was_updates != new.updates.contains(price) {
                removals.push(Removal::Purchase { id: id(), price: price.clone(), was_updates });
            }
        }
        for plan in self.with_plans.iter().filter_map(|plan| catalog.plan(plan)) {
            if !new.with_plans.contains(plan.id.as_str()) {
                removals.push(Removal::WithPlan { id: id(), plan: plan.id.to_string() });
            }
        }
    }
}

/// Something that a plan or add-on granted and no longer grants. `id` is that of the plan or
/// add-on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The plan or add-on itself.
    Gone {
        /// Its former id.
        id: String,
    },
    /// A feature.
    Feature {
        /// The plan or add-on.
        id: String,
        /// The feature.
        feature: String,
    },
    /// A limit that is lower or missing.
    Limit {
        /// The plan or add-on.
        id: String,
        /// The limit's name.
        limit: String,
        /// Its former value.
        before: u64,
        /// Its present value.
        after: Option<u64>,
    },
    /// A limit that is no longer multiplied by the quantity.
    PerUnit {
        /// The plan.
        id: String,
        /// The limit's name.
        limit: String,
    },
    /// A perpetual license after a number of paid months: they are more, or it is gone.
    Fallback {
        /// The plan.
        id: String,
        /// The former number of months.
        before: u32,
        /// The present number of months.
        after: Option<u32>,
    },
    /// A one-time price that pays for fewer months of builds.
    Updates {
        /// The plan.
        id: String,
        /// The price.
        price: String,
        /// The former number of months; `None` covered all builds.
        before: Option<u32>,
        /// The present number of months.
        after: u32,
    },
    /// A price that sold a perpetual license sells updates now, or the other way round.
    Purchase {
        /// The plan.
        id: String,
        /// The price.
        price: String,
        /// Whether it sold updates.
        was_updates: bool,
    },
    /// The promise about the end of a license is weaker.
    OnEnd {
        /// The plan.
        id: String,
        /// The former promise.
        before: OnEnd,
        /// The present promise.
        after: OnEnd,
    },
    /// Apps warn later.
    WarnDays {
        /// The plan.
        id: String,
        /// The former number of days.
        before: u32,
        /// The present number of days.
        after: u32,
    },
    /// License tokens live shorter.
    TokenDays {
        /// The plan.
        id: String,
        /// The former number of days.
        before: u32,
        /// The present number of days.
        after: u32,
    },
    /// A plan that the add-on is no longer sold with.
    WithPlan {
        /// The add-on.
        id: String,
        /// The plan.
        plan: String,
    },
    /// A price at Stripe that no longer pays for it.
    Price {
        /// The plan or add-on.
        id: String,
        /// The price.
        price: String,
        /// The plan or add-on that it pays for now, if any.
        of: Option<String>,
    },
}

impl fmt::Display for Removal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { id } => write!(
                formatter,
                "`{id}` is no longer in the plans file: its licenses stay as they are and are not \
                 refreshed; if it was renamed, list `{id}` in `former_ids`"
            ),
            Self::Feature { id, feature } => {
                write!(formatter, "`{id}` no longer grants `{feature}`")
            }
            Self::Limit { id, limit, before, after: Some(after) } => {
                write!(formatter, "`{id}` grants {after} `{limit}` instead of {before}")
            }
            Self::Limit { id, limit, before, after: None } => {
                write!(formatter, "`{id}` no longer has the limit `{limit}` ({before})")
            }
            Self::PerUnit { id, limit } => {
                write!(formatter, "`{id}` no longer multiplies `{limit}` by the quantity")
            }
            Self::Fallback { id, before, after: Some(after) } => write!(
                formatter,
                "`{id}` leaves a perpetual license after {} instead of {before}: perpetual \
                 licenses that it has left are revoked or cover fewer builds",
                counted(*after, "paid month")
            ),
            Self::Fallback { id, before, after: None } => write!(
                formatter,
                "`{id}` no longer leaves a perpetual license after {}: perpetual licenses that it \
                 has left are revoked",
                counted(*before, "paid month")
            ),
            Self::Updates { id, price, before, after } => write!(
                formatter,
                "{price} pays for {} of builds of `{id}` and not for {}: perpetual licenses that \
                 were bought at it cover fewer builds; sell fewer months by another price",
                counted(*after, "month"),
                before.map_or("all".to_owned(), |before| before.to_string())
            ),
            Self::Purchase { id, price, was_updates: true } => write!(
                formatter,
                "{price} sold updates of `{id}` and counts as a purchase of the plan now, with \
                 units of its own; keep it under `prices` with `sold = false`, because \
                 `former_prices` does not say what it sold"
            ),
            Self::Purchase { id, price, was_updates: false } => write!(
                formatter,
                "{price} sold perpetual licenses of `{id}` and counts as updates now: its buyers \
                 lose the license"
            ),
            Self::OnEnd { id, before, after } => write!(
                formatter,
                "`{id}` promises less about the end, `on_end`: {} instead of {}; a license in the \
                 field keeps its promise until it is refreshed",
                promise_text(after),
                promise_text(before)
            ),
            Self::WarnDays { id, before, after } => write!(
                formatter,
                "apps with a license of `{id}` warn {} before a change for the worse instead of \
                 {before}",
                counted(*after, "day")
            ),
            Self::TokenDays { id, before, after } => write!(
                formatter,
                "license tokens of `{id}` work for {} without a refresh instead of {before}",
                counted(*after, "day")
            ),
            Self::WithPlan { id, plan } => write!(
                formatter,
                "`{id}` is no longer sold with `{plan}`: customers who pay for both lose it"
            ),
            Self::Price { id, price, of: Some(of) } => {
                write!(formatter, "{price} pays for `{of}` instead of `{id}`")
            }
            Self::Price { id, price, of: None } => write!(
                formatter,
                "{price} no longer pays for `{id}`; if anybody pays it or has bought something \
                 for it, put it back under `prices` with `sold = false`"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
