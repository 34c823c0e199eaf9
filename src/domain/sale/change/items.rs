//! The items of a subscription before and after a change, and the edits between them.

use super::{ChangeRefused, ChangeRequest, ItemEdit};
use crate::domain::sale::plan::{Addon, Catalog, Currency, Interval, Plan, Price, Sold};
use crate::domain::sale::selection::{self, CustomerCurrency, NotSold};
use crate::domain::sale::subscription::{Item, Subscription};

/// The items that a subscription bills now.
pub(super) struct ItemsBefore<'a> {
    pub plan: &'a Plan,
    /// The plan's item. Items of other plans and prices are left alone.
    item: &'a Item,
    /// `None` for a former price.
    pub interval: Option<Interval>,
    pub addons: Vec<(&'a Addon, &'a Item)>,
}

impl<'a> ItemsBefore<'a> {
    pub fn of(subscription: &'a Subscription, catalog: &'a Catalog) -> Result<Self, ChangeRefused> {
        let (plan, item) = subscription.plan(catalog).ok_or(ChangeRefused::UnknownPrice)?;
        let interval = match catalog.sold(&item.price) {
            Some(Sold::Plan { price, .. }) => price.map(|price| price.interval),
            _ => None,
        };
        let addons = subscription.items.iter().filter_map(|item| {
            let Some(Sold::Addon { addon, .. }) = catalog.sold(&item.price) else { return None };
            Some((addon, item))
        });
        Ok(Self { plan, item, interval, addons: addons.collect() })
    }

    pub fn quantity(&self) -> u32 {
        self.item.quantity.unwrap_or(1)
    }

    /// Returns the ids of the add-ons, each once.
    fn addon_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for (addon, _) in &self.addons {
            if !ids.iter().any(|id| *id == addon.id.to_string()) {
                ids.push(addon.id.to_string());
            }
        }
        ids
    }

    /// Returns the item of an add-on that gets `price`. An add-on may have several items, at its
    /// present and at a former price, and Stripe allows one item for each price.
    fn item_for(&self, addon: &Addon, price: &str) -> Option<&'a Item> {
        let items = || self.addons.iter().filter(|(held, _)| held.id == addon.id);
        let with_price = items().find(|(_, item)| item.price == price);
        with_price.or_else(|| items().next()).map(|(_, item)| *item)
    }
}

/// The items that the subscription bills after the change.
pub(super) struct ItemsAfter<'a> {
    pub plan: &'a Plan,
    price: String,
    /// `None` for a former price.
    pub interval: Option<Interval>,
    pub quantity: u32,
    pub addons: Vec<(&'a Addon, String)>,
    pub currency: Currency,
    /// Whether the plan and the interval stay.
    pub is_same_price: bool,
}

impl<'a> ItemsAfter<'a> {
    pub fn of(
        before: &ItemsBefore<'a>,
        subscription: &Subscription,
        request: &ChangeRequest,
        catalog: &'a Catalog,
    ) -> Result<Self, ChangeRefused> {
        let plan = match &request.plan {
            Some(id) => catalog.plan(id).ok_or(NotSold::Plan)?,
            None => before.plan,
        };
        if request.interval.is_some_and(|interval| !interval.is_recurring()) {
            return Err(ChangeRefused::NotRecurring);
        }
        let is_same_price = plan.id == before.plan.id
            && request.interval.is_none_or(|interval| before.interval == Some(interval));
        let currency = currency(subscription, before, catalog)?;
        let (price, interval) = if is_same_price {
            (before.item.price.clone(), before.interval)
        } else {
            let default = || plan.price(None).map(|price| price.interval);
            let interval = request.interval.or(before.interval).or_else(default);
            let interval = interval.filter(|interval| interval.is_recurring());
            let interval = interval.filter(|one| plan.price(Some(*one)).is_some());
            let interval = interval.ok_or(NotSold::Plan)?;
            let customer =
                CustomerCurrency { pinned: Some(currency.clone()), ..CustomerCurrency::default() };
            let (price, _) = selection::price(plan, interval, None, &customer)?;
            (price.id.clone(), Some(interval))
        };
        let quantity = quantity(before, plan, request)?;
        let ids = request.addons.clone().unwrap_or_else(|| before.addon_ids());
        // An add-on that stays is not checked: it may have a former price.
        let keeps = |addon: &Addon| {
            let held = before.addons.iter().find(|(held, _)| held.id == addon.id);
            held.filter(|_| is_same_price).map(|(_, item)| item.price.clone())
        };
        let mut addons: Vec<(&Addon, String)> = Vec::new();
        for (place, id) in ids.iter().enumerate() {
            let known = catalog.addon(id).filter(|_| !ids[..place].contains(id));
            let price = match known.and_then(keeps) {
                Some(price) => price,
                None => {
                    let interval = interval.ok_or(ChangeRefused::FormerPrice)?;
                    let sold =
                        selection::addons(catalog, plan, interval, &currency, &ids[..=place])?;
                    sold.last()
                        .map(|(_, price): &(_, &Price)| price.id.clone())
                        .ok_or(NotSold::Plan)?
                }
            };
            addons.extend(known.map(|addon| (addon, price)));
        }
        Ok(Self { plan, price, interval, quantity, addons, currency, is_same_price })
    }

    /// Returns whether a trial of the present plan would become one of a higher plan that has none.
    pub fn is_higher_without_trial(&self, before: &ItemsBefore<'_>, catalog: &Catalog) -> bool {
        let rank = |plan: &Plan| catalog.rank(plan.id.as_str());
        self.plan.trial_days.is_none() && rank(self.plan) > rank(before.plan)
    }

    pub fn prices(&self) -> Vec<String> {
        let addons = self.addons.iter().map(|(_, price)| price.clone());
        std::iter::once(self.price.clone()).chain(addons).collect()
    }

    /// Returns the amount of a whole period; `None` if the catalog lacks the amount of a price.
    pub fn amount(&self, catalog: &Catalog) -> Option<i64> {
        let of = |id: &str| catalog.sold(id)?.price()?.amount_in(&self.currency).map(i64::from);
        let plan = of(&self.price)?.saturating_mul(self.quantity.into());
        self.addons.iter().try_fold(plan, |sum, (_, id)| Some(sum.saturating_add(of(id)?)))
    }
}

/// Returns the currency of a subscription, which cannot be changed.
fn currency(
    subscription: &Subscription,
    before: &ItemsBefore<'_>,
    catalog: &Catalog,
) -> Result<Currency, ChangeRefused> {
    let stated = subscription.currency.as_deref().and_then(|text| text.parse().ok());
    let of_price = || Some(catalog.sold(&before.item.price)?.price()?.currency.clone());
    stated.or_else(of_price).ok_or(ChangeRefused::UnknownPrice)
}

/// Returns the requested number of units. Without a request it stays, unless another plan is sold
/// in one unit only.
fn quantity(
    before: &ItemsBefore<'_>,
    plan: &Plan,
    request: &ChangeRequest,
) -> Result<u32, NotSold> {
    let is_same_plan = plan.id == before.plan.id;
    let quantity = match request.quantity {
        Some(quantity) => quantity,
        None if is_same_plan => return Ok(before.quantity()),
        None if !plan.is_per_unit() => 1,
        None => before.quantity(),
    };
    let is_kept = is_same_plan && quantity == before.quantity();
    if is_kept || plan.quantity.allows(quantity) {
        Ok(quantity)
    } else {
        Err(NotSold::Quantity(plan.quantity))
    }
}

/// Returns the edits that turn the present items into those after the change.
pub(super) fn edits(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>) -> Vec<ItemEdit> {
    let mut edits = Vec::new();
    let item = before.item.id.clone();
    if before.item.price != after.price || before.quantity() != after.quantity {
        edits.push(ItemEdit::Set { item, price: after.price.clone(), quantity: after.quantity });
    }
    for (addon, item) in &before.addons {
        match after.addons.iter().find(|(kept, _)| kept.id == addon.id) {
            Some((_, price)) if *price == item.price => {}
            // A second item of the same add-on. At another interval it could not stay.
            Some((_, price))
                if before.item_for(addon, price).is_some_and(|of| of.id != item.id) =>
            {
                if !after.is_same_price {
                    edits.push(ItemEdit::Remove { item: item.id.clone() });
                }
            }
            Some((_, price)) => edits.push(ItemEdit::Set {
                item: item.id.clone(),
                price: price.clone(),
                quantity: 1,
            }),
            None => edits.push(ItemEdit::Remove { item: item.id.clone() }),
        }
    }
    for (addon, price) in &after.addons {
        if !before.addons.iter().any(|(held, _)| held.id == addon.id) {
            edits.push(ItemEdit::Add { price: price.clone(), quantity: 1 });
        }
    }
    edits
}
