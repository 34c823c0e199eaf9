//! Whose license another plans file changes, and how.

use std::collections::BTreeSet;

use super::policy::by_policy;
use super::{Difference, LicenseChange, one_time_good, updates_months};
use crate::domain::license::{Basis, Content, IssuedLicense, Source};
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::OrderedPlan;
use crate::domain::sale::plan::{Addon, Catalog, Plan, Price, Slug};
use crate::domain::sale::policy::Consequence;
use crate::domain::sale::subscription::{BilledItem, BilledItems, StoredBilling};
use crate::domain::time::Timestamp;

/// What the customer of a license has paid for, as far as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredPurchases<'a> {
    /// The customer's subscription.
    pub subscription: &'a StoredBilling,
    /// The customer's orders.
    pub orders: &'a [OrderedPlan],
}

impl<'a> StoredPurchases<'a> {
    /// Returns what the customer's subscription bills.
    fn billed(self) -> Option<&'a BilledItems> {
        self.subscription.billed_items.as_ref()
    }

    /// Returns the ids of all plans of which the customer may have an entitlement by the new plans:
    /// of single payments, of a subscription that has not ended, and of what one left.
    fn plans(self, old: &'a Catalog, new: &'a Catalog) -> impl Iterator<Item = &'a str> {
        let ordered = self.orders.iter().filter(|order| {
            let leaves =
                || new.plan(&order.plan).is_some_and(|plan| plan.fallback_months.is_some());
            counts(order.status, new) && (!order.is_recurring() || leaves())
        });
        let is_live =
            self.subscription.billed_status.as_ref().is_some_and(|status| status.is_live());
        let billed = self.billed().filter(|_| is_live);
        let subscribed = billed.into_iter().flat_map(|billed| &billed.0);
        let subscribed = subscribed.filter_map(|item| old.by_price(&item.price));
        let subscribed = subscribed.map(|(_, plan)| plan.id.as_str());
        ordered.map(|order| order.plan.as_str()).chain(subscribed)
    }
}

/// Returns whether an order may count as paid.
fn counts(status: OrderStatus, catalog: &Catalog) -> bool {
    match status {
        OrderStatus::Succeeded | OrderStatus::Disputed => true,
        OrderStatus::Refunded => catalog.policy.refund == Consequence::Keep,
        OrderStatus::Pending | OrderStatus::Failed => false,
    }
}

/// Returns how a license changes at its next refresh or sync when the old plans are replaced by the
/// new ones; `None` if it does not. One that does not work at `now` changes if another policy gives
/// it back.
#[must_use]
pub fn license_change(
    license: &IssuedLicense,
    purchases: StoredPurchases<'_>,
    (old, new): (&Catalog, &Catalog),
    now: Timestamp,
) -> Option<LicenseChange> {
    // A license whose plan the old file lacks still grants what its token says.
    let signed = || license.claims().map(Content::from);
    let before = license.content(old).or_else(signed)?;
    let mut differences = match license.works(now) {
        true => grant_differences(license, &before, purchases, (old, new)),
        false => Vec::new(),
    };
    differences.extend(by_policy(license, purchases, (old, new), now));
    (!differences.is_empty()).then(|| LicenseChange {
        customer_id: license.customer_id.clone(),
        license_id: license.license_id.clone(),
        plan: before.plan,
        differences,
    })
}

/// Returns how what a license grants differs from `before`, by what is paid for.
fn grant_differences(
    license: &IssuedLicense,
    before: &Content,
    purchases: StoredPurchases<'_>,
    (old, new): (&Catalog, &Catalog),
) -> Vec<Difference> {
    let is_subscribed = license.source == Source::Paid && license.basis == Basis::Subscription;
    let billed = purchases.billed().filter(|_| is_subscribed);
    match billed.and_then(|billed| moved(billed, old, new)) {
        Some(Moved::To(plan)) => {
            let moved = IssuedLicense { plan: plan.id.to_string(), ..license.clone() };
            moved.content(new).map(|after| differences(before, &after)).unwrap_or_default()
        }
        Some(Moved::Gone(price)) => {
            vec![Difference::PriceMoved { price: price.to_owned(), of: None, is_possible: false }]
        }
        None => match license.content(new) {
            Some(after) => {
                let mut all = differences(before, &after);
                all.extend(token_days(license, old, new));
                all.extend(payment_differences(license, billed, old, new));
                all.extend(ranks(license, purchases, old, new));
                all
            }
            None if license.entitlement(old).is_none() => Vec::new(),
            None => vec![Difference::PlanGone],
        },
    }
}

/// Returns how the longest lifetime of the license's tokens differs.
fn token_days(license: &IssuedLicense, old: &Catalog, new: &Catalog) -> Option<Difference> {
    let days = |catalog: &Catalog| Some(catalog.token_days_of(Some(catalog.plan(&license.plan)?)));
    let (before, after) = (days(old)?, days(new)?);
    (before != after).then_some(Difference::TokenDays { before, after })
}

/// Returns how what a payment gives differs: the builds of a perpetual license, the add-ons, and
/// the prices that pay for all of it. The price of a purchase is not stored with its license, so
/// each one-time price of the plan counts.
fn payment_differences(
    license: &IssuedLicense,
    billed: Option<&BilledItems>,
    old: &Catalog,
    new: &Catalog,
) -> Vec<Difference> {
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
        Basis::Subscription => {
            let (before, after) = (before.grace_days, after.grace_days);
            all.extend((before != after).then_some(Difference::GraceDays { before, after }));
        }
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
    all.extend(prices_that_sell_other(license, old, new));
    all.extend(prices_gone(license, billed, old, new));
    all
}

/// Returns the plans that the customer has paid for too and that changed places with the plan of
/// the license: the highest plan that was paid for is the license. What a subscription leaves also
/// depends on the plans above it, which count for it.
fn ranks(
    license: &IssuedLicense,
    purchases: StoredPurchases<'_>,
    old: &Catalog,
    new: &Catalog,
) -> Vec<Difference> {
    let is_left = license.source == Source::Paid && license.basis == Basis::Fallback;
    let is_above = |catalog: &Catalog, plan: &str| {
        catalog.plan(plan).map(|_| catalog.rank(plan) > catalog.rank(&license.plan))
    };
    let moved = purchases.plans(old, new).filter_map(|plan| {
        let (before, after) = (is_above(old, plan)?, is_above(new, plan)?);
        let is_same = new.is_same_plan(plan, &license.plan);
        let counts = !is_same && before != after && (after || is_left);
        let id = new.plan(plan)?.id.to_string();
        counts.then_some(Difference::Rank { plan: id, is_above: after })
    });
    let mut all: Vec<Difference> = Vec::new();
    for difference in moved {
        if !all.contains(&difference) {
            all.push(difference);
        }
    }
    all
}

/// Returns the one-time prices of the license's plan and add-ons that sell something else now. The
/// add-ons beside a subscription may have been bought once.
fn prices_that_sell_other(
    license: &IssuedLicense,
    old: &Catalog,
    new: &Catalog,
) -> Vec<Difference> {
    let plan = old.plan(&license.plan).filter(|_| license.basis == Basis::Once);
    let of_plan = plan.into_iter().flat_map(Plan::price_ids);
    let addons = license.addons.0.iter().filter_map(|id| old.addon(id.as_str()));
    let prices = of_plan.chain(addons.flat_map(Addon::price_ids));
    let other = prices.filter_map(|price| {
        let (before, was_former) = (one_time_good(price, old)?, old.sold(price)?.price().is_none());
        let (now, after) = (new.sold(price)?, one_time_good(price, new));
        let is_of_same = new.is_same_plan(old.sold(price)?.id().as_str(), now.id().as_str());
        // A former price may have been charged for each period before too.
        let is_other = after != Some(before) && !(was_former && after.is_none());
        (is_of_same && is_other)
            .then(|| Difference::PriceSellsOther { price: price.to_owned(), after })
    });
    other.collect()
}

/// Returns the prices that paid for a license and its add-ons, or may have, and pay for something
/// else or nothing now. A former price may have been of any kind.
fn prices_gone(
    license: &IssuedLicense,
    billed: Option<&BilledItems>,
    old: &Catalog,
    new: &Catalog,
) -> Vec<Difference> {
    let is_billed =
        |price: &str| billed.is_some_and(|billed| billed.0.iter().any(|item| item.price == price));
    let addons = license.addons.0.iter().filter_map(|id| old.addon(id.as_str()));
    let of_addons = addons.flat_map(|addon| {
        let is_subscribed = addon.price_ids().any(is_billed);
        let kind = if is_subscribed { Basis::Subscription } else { Basis::Once };
        let prices = paid_by(kind, &addon.prices, &addon.former_prices);
        prices.filter(move |price| !is_subscribed || is_billed(price))
    });
    let plan = old.plan(&license.plan).filter(|_| license.basis != Basis::Subscription);
    let of_plan =
        plan.into_iter().flat_map(|plan| paid_by(license.basis, &plan.prices, &plan.former_prices));
    let gone = of_plan.chain(of_addons).filter_map(|price| {
        let id_of = |catalog: &Catalog| catalog.sold(price).map(|sold| sold.id().to_string());
        let (before, of) = (id_of(old)?, id_of(new));
        let is_same = of.as_ref().is_some_and(|of| new.is_same_plan(&before, of));
        let (price, is_possible) = (price.to_owned(), !is_billed(price));
        (!is_same).then_some(Difference::PriceMoved { price, of, is_possible })
    });
    gone.collect()
}

/// Returns the prices that may have paid for a license on this basis: recurring ones for a
/// subscription and what it left, and one-time ones otherwise.
fn paid_by<'p>(
    basis: Basis,
    prices: &'p [Price],
    former: &'p [String],
) -> impl Iterator<Item = &'p str> {
    let is_of_basis = move |price: &&Price| price.interval.is_recurring() == (basis != Basis::Once);
    let own = prices.iter().filter(is_of_basis).map(|price| price.id.as_str());
    own.chain(former.iter().map(String::as_str))
}

/// The difference for a subscription whose price is of another plan now, or of none.
enum Moved<'a> {
    /// It pays for this plan.
    To(&'a Plan),
    /// This price pays for no plan any more.
    Gone(&'a str),
}

/// Returns the plan that a subscription pays for by the new plans, if it is another one than by the
/// old plans.
fn moved<'a>(billed: &'a BilledItems, old: &Catalog, new: &'a Catalog) -> Option<Moved<'a>> {
    let paid = |catalog: &'a Catalog| {
        let plans = billed.0.iter().filter_map(|item| catalog.by_price(&item.price));
        plans.max_by_key(|(rank, _)| *rank).map(|(_, plan)| plan)
    };
    let of_old = |item: &'a BilledItem| Some((old.by_price(&item.price)?, &item.price));
    let ((_, before), price) =
        billed.0.iter().filter_map(of_old).max_by_key(|((rank, _), _)| *rank)?;
    match paid(new) {
        Some(after) if new.is_same_plan(before.id.as_str(), after.id.as_str()) => None,
        Some(after) => Some(Moved::To(after)),
        None => Some(Moved::Gone(price)),
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
    let on_end = (before.on_end != after.on_end)
        .then(|| Difference::OnEnd { before: before.on_end.clone(), after: after.on_end.clone() });
    let warn_days = (before.warn_days != after.warn_days)
        .then_some(Difference::WarnDays { before: before.warn_days, after: after.warn_days });
    let promises = on_end.into_iter().chain(warn_days);
    new_plan.into_iter().chain(loses).chain(gains).chain(limits).chain(promises).collect()
}
