//! Compares two plans files: finds what the newer one takes away, and whose license it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{Basis, Content, IssuedLicense, Source};
use crate::domain::sale::plan::{Addon, Catalog, Interval, Plan, Slug, Sold};
use crate::domain::sale::subscription::BilledItems;

/// The content of a plans file, as it is stored to compare it with the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    plans: Vec<Goods>,
    addons: Vec<Goods>,
}

/// The features and limits that a plan or an add-on grants, and the ids of its prices. The fields
/// with a default are missing in what an earlier version stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Goods {
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
    /// The plans that the add-on is sold with.
    #[serde(default)]
    with_plans: BTreeSet<String>,
}

impl Granted {
    /// Returns what these plans grant.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        Self {
            plans: catalog.plans.iter().map(Goods::from).collect(),
            addons: catalog.addons.iter().map(|addon| Goods::of_addon(addon, catalog)).collect(),
        }
    }

    /// Returns everything that these plans granted and the new ones do not.
    #[must_use]
    pub fn removals(&self, new: &Catalog) -> Vec<Removal> {
        let plans = self.plans.iter().map(|old| (old, new.plan(&old.id).map(Goods::from)));
        let addon = |id: &str| new.addon(id).map(|addon| Goods::of_addon(addon, new));
        let addons = self.addons.iter().map(|old| (old, addon(&old.id)));
        let mut removals = Vec::new();
        for (old, goods) in plans.chain(addons) {
            match goods {
                Some(goods) => old.compare(&goods, new, &mut removals),
                None => removals.push(Removal::Gone { id: old.id.clone() }),
            }
            for price in &old.prices {
                let of = match new.sold(price) {
                    Some(Sold::Plan { plan, .. }) if plan.has_id(&old.id) => continue,
                    Some(Sold::Addon { addon, .. }) if addon.id.as_str() == old.id => continue,
                    Some(Sold::Plan { plan, .. }) => Some(plan.id.to_string()),
                    Some(Sold::Addon { addon, .. }) => Some(addon.id.to_string()),
                    None => None,
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

impl From<&Plan> for Goods {
    fn from(plan: &Plan) -> Self {
        Self {
            id: plan.id.to_string(),
            features: names(&plan.features),
            limits: limits(&plan.limits),
            per_unit: names(&plan.per_unit),
            prices: plan.price_ids().map(str::to_owned).collect(),
            fallback_months: plan.fallback_months,
            updates_months: plan
                .prices
                .iter()
                .filter(|price| !price.interval.is_recurring())
                .map(|price| (price.id.clone(), price.updates_months))
                .collect(),
            with_plans: BTreeSet::new(),
        }
    }
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

impl Goods {
    fn of_addon(addon: &Addon, catalog: &Catalog) -> Self {
        let with_plans = catalog.plans.iter().filter(|plan| addon.is_for(plan));
        Self {
            fallback_months: None,
            updates_months: BTreeMap::new(),
            with_plans: names(with_plans.map(|plan| &plan.id)),
            id: addon.id.to_string(),
            features: names(&addon.features),
            limits: limits(&addon.limits),
            per_unit: BTreeSet::new(),
            prices: addon.price_ids().map(str::to_owned).collect(),
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
        for (price, before) in &self.updates_months {
            let after = updates_months(&self.id, price, catalog).flatten();
            if let Some(after) = after
                && before.is_none_or(|before| after < before)
            {
                let (price, before) = (price.clone(), *before);
                removals.push(Removal::Updates { id: id(), price, before, after });
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
            Self::Fallback { id, before, after } => write!(
                formatter,
                "`{id}` leaves a perpetual license after {}, and not after {before} paid months: \
                 perpetual licenses that it has left are revoked or cover fewer builds",
                after.map_or("no time".to_owned(), |after| format!("{after} paid months"))
            ),
            Self::Updates { id, price, before, after } => write!(
                formatter,
                "{price} pays for {after} months of builds of `{id}` and not for {}: perpetual \
                 licenses that were bought at it cover fewer builds; sell fewer months by another \
                 price",
                before.map_or("all".to_owned(), |before| before.to_string())
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
                "{price} no longer pays for `{id}`; if anybody still pays it, add it to \
                 `former_prices`"
            ),
        }
    }
}

/// A license that another plans file changes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseChange {
    /// The customer.
    pub customer_id: CustomerId,
    /// The license.
    pub license_id: LicenseId,
    /// Its plan by the old file.
    pub plan: String,
    /// The differences, at least one.
    pub differences: Vec<Difference>,
}

/// One difference between what a license grants by two plans files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The new file does not have its plan.
    PlanGone,
    /// The price that its customer pays is of no plan in the new file.
    PriceGone,
    /// Its plan is another one now, or has another id.
    NewPlan(String),
    /// A feature is granted in addition.
    Gains(String),
    /// A feature is no longer granted.
    Loses(String),
    /// A limit has another value; `None` if there is none.
    Limit {
        /// Its name.
        name: String,
        /// The value by the old file.
        before: Option<u64>,
        /// The value by the new file.
        after: Option<u64>,
    },
    /// An add-on is lost: it is not for the plan any more.
    LosesAddon(String),
    /// A subscription left it after another number of months; `None` if it leaves nothing now.
    Fallback {
        /// The number by the old file.
        before: Option<u32>,
        /// The number by the new file.
        after: Option<u32>,
    },
    /// A one-time price of its plan pays for another number of months of builds; `None` for all.
    Updates {
        /// The price.
        price: String,
        /// The number by the old file.
        before: Option<u32>,
        /// The number by the new file.
        after: Option<u32>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value =
            |limit: &Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        match self {
            Self::PlanGone => formatter.write_str("its plan is gone; it is not refreshed"),
            Self::PriceGone => formatter.write_str("its price pays for no plan"),
            Self::NewPlan(id) => write!(formatter, "its plan is now {id}"),
            Self::Gains(feature) => write!(formatter, "gains {feature}"),
            Self::Loses(feature) => write!(formatter, "loses {feature}"),
            Self::Limit { name, before, after } => {
                write!(formatter, "{name}: {} → {}", value(before), value(after))
            }
            Self::LosesAddon(addon) => write!(formatter, "loses the add-on {addon}"),
            Self::Fallback { before, after } => {
                let months = |months: &Option<u32>| value(&months.map(u64::from));
                write!(formatter, "fallback_months: {} → {}", months(before), months(after))
            }
            Self::Updates { price, before, after } => {
                let months =
                    |months: &Option<u32>| months.map_or("all".to_owned(), |n| n.to_string());
                write!(formatter, "updates_months of {price}: ")?;
                write!(formatter, "{} → {}", months(before), months(after))
            }
        }
    }
}

/// Returns how a license changes at its next refresh or sync when the old plans are replaced by the
/// new ones; `None` if it does not. `billed` is what the customer's subscription bills.
#[must_use]
pub fn license_change(
    license: &IssuedLicense,
    billed: Option<&BilledItems>,
    old: &Catalog,
    new: &Catalog,
) -> Option<LicenseChange> {
    // A license whose plan the old file lacks still grants what its token says.
    let signed = || license.claims().map(Content::from);
    let before = license.content(old).or_else(signed)?;
    let is_subscribed = license.source == Source::Paid && license.basis == Basis::Subscription;
    let billed = billed.filter(|_| is_subscribed);
    let differences = match billed.and_then(|billed| moved(billed, old, new)) {
        Some(Some(plan)) => {
            let moved = IssuedLicense { plan: plan.id.to_string(), ..license.clone() };
            moved.content(new).map(|after| differences(&before, &after)).unwrap_or_default()
        }
        Some(None) => vec![Difference::PriceGone],
        None => match license.content(new) {
            Some(after) => {
                let mut all = differences(&before, &after);
                all.extend(purchase_differences(license, old, new));
                all
            }
            None if license.entitlement(old).is_none() => Vec::new(),
            None => vec![Difference::PlanGone],
        },
    };
    (!differences.is_empty()).then(|| LicenseChange {
        customer_id: license.customer_id.clone(),
        license_id: license.license_id.clone(),
        plan: before.plan,
        differences,
    })
}

/// Returns how what a payment gives differs: the builds of a perpetual license, and the add-ons.
/// The price of a purchase is not stored with its license, so each one-time price of the plan
/// counts.
fn purchase_differences(license: &IssuedLicense, old: &Catalog, new: &Catalog) -> Vec<Difference> {
    let (Some(before), Some(after)) = (old.plan(&license.plan), new.plan(&license.plan)) else {
        return Vec::new();
    };
    if license.source != Source::Paid {
        return Vec::new();
    }
    let is_lost = |id: &&Slug| {
        let is_for = |catalog: &Catalog, plan: &Plan| {
            catalog.addon(id.as_str()).map(|addon| addon.is_for(plan))
        };
        is_for(old, before) == Some(true) && is_for(new, after) == Some(false)
    };
    let addons = license.addons.0.iter().filter(is_lost);
    let mut all: Vec<_> = addons.map(|id| Difference::LosesAddon(id.to_string())).collect();
    match license.basis {
        Basis::Subscription => {}
        Basis::Fallback => {
            let (before, after) = (before.fallback_months, after.fallback_months);
            all.extend((before != after).then_some(Difference::Fallback { before, after }));
        }
        Basis::Once => {
            for price in before.prices.iter().filter(|price| !price.interval.is_recurring()) {
                let after = updates_months(before.id.as_str(), &price.id, new);
                if let Some(after) = after.filter(|after| *after != price.updates_months) {
                    let (price, before) = (price.id.clone(), price.updates_months);
                    all.push(Difference::Updates { price, before, after });
                }
            }
        }
    }
    all
}

/// Returns the plan that a subscription pays for by the new plans, if it is another one than by the
/// old plans; `Some(None)` if it pays for no plan any more.
fn moved<'c>(billed: &BilledItems, old: &'c Catalog, new: &'c Catalog) -> Option<Option<&'c Plan>> {
    let paid = |catalog: &'c Catalog| {
        let plans = billed.0.iter().filter_map(|item| catalog.by_price(&item.price));
        plans.max_by_key(|(rank, _)| *rank).map(|(_, plan)| plan)
    };
    let before = paid(old)?;
    match paid(new) {
        Some(after) if new.is_same_plan(before.id.as_str(), after.id.as_str()) => None,
        after => Some(after),
    }
}

fn differences(before: &Content, after: &Content) -> Vec<Difference> {
    let new_plan = (before.plan != after.plan).then(|| Difference::NewPlan(after.plan.clone()));
    let loses = before.features.difference(&after.features).cloned().map(Difference::Loses);
    let gains = after.features.difference(&before.features).cloned().map(Difference::Gains);
    let names: BTreeSet<_> = before.limits.keys().chain(after.limits.keys()).collect();
    let limits = names.into_iter().filter_map(|name| {
        let (before, after) = (before.limits.get(name), after.limits.get(name));
        (before != after).then(|| Difference::Limit {
            name: name.clone(),
            before: before.copied(),
            after: after.copied(),
        })
    });
    new_plan.into_iter().chain(loses).chain(gains).chain(limits).collect()
}

#[cfg(test)]
mod tests;
