//! Compares two plans files: finds what the newer one takes away (`removal.rs`), whose license it
//! changes (`licenses.rs`; `policy.rs` for the payments that count), and how (`difference.rs`).

mod difference;
mod licenses;
mod policy;
mod removal;

use std::collections::{BTreeMap, BTreeSet};

use licentia_verify::OnEnd;
use serde::{Deserialize, Serialize};

use crate::domain::sale::plan::{Addon, Catalog, Interval, Plan, Slug, Sold, promises_less};
use crate::domain::sale::policy::{Consequence, Policy};

pub use difference::{Difference, LicenseChange};
pub use licenses::{StoredPurchases, license_change};
pub use removal::Removal;

use policy::policy_changes;

/// What a price that is charged once sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTimeGood {
    /// A perpetual license or an add-on.
    License,
    /// Updates of a perpetual license.
    Updates,
}

/// The content of a plans file, as it is stored to compare it with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlansSnapshot {
    plans: Vec<GrantedItem>,
    addons: Vec<GrantedItem>,
    /// `None` if an earlier version stored it.
    #[serde(default)]
    policy: Option<Policy>,
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
    /// The one-time prices, and the months of builds that each of those of a plan pays for; `None`
    /// covers all builds.
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
    /// How many days the plan's licenses work after an unpaid renewal.
    #[serde(default)]
    grace_days: u32,
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
            policy: Some(catalog.policy),
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
        removals.extend(self.lower_ranks(new));
        removals.extend(self.stricter_settings(&new.policy));
        removals
    }

    /// Returns the settings of the policy that keep what a payment bought, and by the new policy
    /// revoke it.
    fn stricter_settings(&self, new: &Policy) -> impl Iterator<Item = Removal> {
        let changes = self.policy.iter().flat_map(|old| policy_changes(old, new));
        let stricter = changes.filter(|change| change.after == Consequence::Revoke);
        stricter.map(|change| Removal::Policy(change.setting))
    }

    /// Returns the plans that rank below others now and did not before. Nobody pays for a plan
    /// without a price. The plans are stored in the order of their file.
    fn lower_ranks<'s>(&'s self, new: &'s Catalog) -> impl Iterator<Item = Removal> + 's {
        let sold = || self.plans.iter().filter(|plan| !plan.prices.is_empty());
        sold().enumerate().filter_map(move |(rank, old)| {
            let plan = new.plan(&old.id)?;
            let lower = sold().take(rank).filter_map(|lower| new.plan(&lower.id));
            let is_above = |other: &&Plan| new.rank(other.id.as_str()) > new.rank(&old.id);
            let above: Vec<_> = lower.filter(is_above).map(|other| other.id.to_string()).collect();
            (!above.is_empty()).then(|| Removal::Rank { id: plan.id.to_string(), above })
        })
    }
}

/// Returns what a price of a catalog sells once; `None` if it is charged again and again, or pays
/// for nothing. A former price counts as one for the plan or the add-on itself.
fn one_time_good(price: &str, catalog: &Catalog) -> Option<OneTimeGood> {
    match catalog.sold(price)?.price().map(|price| price.interval) {
        Some(Interval::Month | Interval::Year) => None,
        Some(Interval::Updates) => Some(OneTimeGood::Updates),
        Some(Interval::Once) | None => Some(OneTimeGood::License),
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
    /// Adds what `new` promises less about the end of a license, of its token and of its grace.
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
        if new.grace_days < self.grace_days {
            let (before, after) = (self.grace_days, new.grace_days);
            removals.push(Removal::GraceDays { id: id(), before, after });
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
            grace_days: plan.grace_days,
        }
    }

    fn of_addon(addon: &Addon, catalog: &Catalog) -> Self {
        let with_plans = catalog.plans.iter().filter(|plan| addon.is_for(plan));
        let once = addon.prices.iter().filter(|price| !price.interval.is_recurring());
        Self {
            fallback_months: None,
            updates_months: once.map(|price| (price.id.clone(), None)).collect(),
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
            grace_days: 0,
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
            let is_updates = self.updates.contains(price);
            let before = if is_updates { OneTimeGood::Updates } else { OneTimeGood::License };
            let after = one_time_good(price, catalog);
            if after != Some(before) {
                removals.push(Removal::PriceSellsOther {
                    id: id(),
                    price: price.clone(),
                    before,
                    after,
                });
            }
        }
        for plan in self.with_plans.iter().filter_map(|plan| catalog.plan(plan)) {
            if !new.with_plans.contains(plan.id.as_str()) {
                removals.push(Removal::WithPlan { id: id(), plan: plan.id.to_string() });
            }
        }
    }
}

#[cfg(test)]
mod tests;
