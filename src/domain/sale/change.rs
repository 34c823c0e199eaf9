//! Decides how a subscription changes: which of its items at Stripe are edited, and whether that is
//! billed now. [`crate::flows::sale::change`] makes the change.

mod refused;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::column::row;
use crate::domain::ids::AttemptId;
use crate::domain::private::Private;
use crate::domain::sale::entitlement::{PaidEntitlement, assess};
use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus};
use crate::domain::sale::plan::{Addon, Catalog, Currency, Interval, Plan, Price, Sold};
use crate::domain::sale::promotion::{EnteredCode, PromotionCode};
use crate::domain::sale::selection::holdings::{Owned, Subscribed};
use crate::domain::sale::selection::{self, CustomerCurrency, NotSold};
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Item, Status, Subscription};
use crate::domain::time::Timestamp;

pub use refused::ChangeRefused;

/// A requested change. `None` keeps the present value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The plan's id.
    pub plan: Option<String>,
    /// How often the price is charged.
    pub interval: Option<Interval>,
    /// The number of units.
    pub quantity: Option<u32>,
    /// The ids of all add-ons.
    pub addons: Option<Vec<String>>,
    /// A promotion code to add.
    pub promotion_code: Option<EnteredCode>,
}

impl ChangeRequest {
    /// Returns it as JSON: the same for the same request.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut addons = self.addons.clone();
        addons.iter_mut().for_each(|ids| ids.sort());
        json!({
            "plan": self.plan,
            "interval": self.interval.map(Interval::as_str),
            "quantity": self.quantity,
            "addons": addons,
            "promotion_code": self.promotion_code.as_ref().map(|code| &code.text),
        })
    }
}

/// An edit of one item of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemEdit {
    /// Gives an item another price or quantity.
    Set {
        /// The item.
        item: String,
        /// Its price.
        price: String,
        /// Its quantity.
        quantity: u32,
    },
    /// Adds an item.
    Add {
        /// Its price.
        price: String,
        /// Its quantity.
        quantity: u32,
    },
    /// Removes an item.
    Remove {
        /// The item.
        item: String,
    },
}

/// When a change is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// At once, for the rest of the period.
    Now,
    /// With the next period: nothing more than what is paid for is needed until then. Also in a
    /// trial.
    Later,
}

/// The change of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionChange<'a> {
    /// The subscription.
    pub subscription: &'a Subscription,
    /// The edits of its items: none if they already are as requested.
    pub edits: Vec<ItemEdit>,
    /// When they are billed.
    pub billing: Billing,
    /// The prices after the change: that of the plan, then those of the add-ons.
    pub prices: Vec<String>,
    /// The currency, which stays.
    pub currency: Currency,
    /// The amount of a whole period after the change, without discounts and exclusive tax, in the
    /// currency's smallest unit. `None` if the catalog lacks the amount of a price.
    pub amount: Option<i64>,
    /// The promotion code to add. It is looked up after the decision, because whether a code can be
    /// used depends on the prices.
    pub promotion_code: Option<PromotionCode>,
}

impl SubscriptionChange<'_> {
    /// Returns whether the subscription is already as requested.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.promotion_code.is_none()
    }

    /// Returns the price of the plan after the change.
    #[must_use]
    pub fn plan_price(&self) -> Option<&str> {
        self.prices.first().map(String::as_str)
    }
}

row! {
    /// The last change of a customer's subscription that was made or is about to be made.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredChange {
        /// The idempotency key.
        pub attempt_id: AttemptId,
        /// The hash of the preview that it follows.
        pub preview_hash: String,
        /// The parameters, as JSON.
        pub parameters: Private,
        /// The time at which it was stored, before the call.
        pub created_at: Timestamp,
        /// The time at which its outcome was known; `None` before.
        pub done_at: Option<Timestamp>,
    }
}

/// What the payments for a subscription grant. An add-on that was removed from a monthly
/// subscription is paid for until the end of the month, also when the subscription is yearly now.
#[derive(Clone, Debug, Default)]
pub struct Paid<'a> {
    /// Now.
    pub now: Option<PaidEntitlement<'a>>,
    /// In the last second of the present period.
    pub at_end: Option<PaidEntitlement<'a>>,
    /// The purchases by single payments.
    pub owned: Owned<'a>,
}

/// Returns the customer's current subscription, and what is paid for. `current` is the one that was
/// current at the last sync.
///
/// # Errors
/// [`ChangeRefused::NoSubscription`] when there is none, or it has ended.
pub fn current<'a>(
    state: &'a StripeState,
    current: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Result<(&'a Subscription, Paid<'a>), ChangeRefused> {
    let assessment = assess(state, current, catalog, now);
    let subscription = assessment.subscription.filter(|one| !one.status.has_ended());
    let subscription = subscription.ok_or(ChangeRefused::NoSubscription)?;
    let its = |all: Vec<PaidEntitlement<'a>>| {
        all.into_iter().find(|paid| paid.of.is_some_and(|of| of.id == subscription.id))
    };
    let end = subscription.period_end(catalog).map(|end| now.max(end - TimeDelta::seconds(1)));
    let at_end = end.and_then(|end| its(assess(state, current, catalog, end).entitlements));
    let owned = Owned::of(state, &assessment, catalog, now);
    Ok((subscription, Paid { now: its(assessment.entitlements), at_end, owned }))
}

/// Returns how a subscription changes as requested.
///
/// # Errors
/// The reason why it cannot.
pub fn decide<'a>(
    subscription: &'a Subscription,
    paid: &Paid<'_>,
    request: &ChangeRequest,
    catalog: &Catalog,
) -> Result<SubscriptionChange<'a>, ChangeRefused> {
    match subscription.status {
        Status::Active | Status::Trialing => {}
        Status::PastDue | Status::Unpaid => return Err(ChangeRefused::Unpaid),
        Status::Paused => return Err(ChangeRefused::Paused),
        Status::Incomplete => return Err(ChangeRefused::Incomplete),
        _ => return Err(ChangeRefused::NoSubscription),
    }
    let before = ItemsBefore::of(subscription, catalog)?;
    let after = ItemsAfter::of(&before, subscription, request, catalog)?;
    let billed = Subscribed::new(before.plan, before.quantity(), &before.addons);
    let wanted = Subscribed::new(after.plan, after.quantity, &after.addons);
    paid.owned.refuse_change((&billed, &wanted), catalog)?;
    let edits = edits(&before, &after);
    let is_trialing = subscription.status == Status::Trialing;
    if is_trialing && after.is_higher_without_trial(&before, catalog) {
        return Err(ChangeRefused::Trial);
    }
    let is_billed_now = !edits.is_empty() && !is_trialing && !is_paid(&before, &after, paid);
    // With another plan or interval, the rest of the period is credited in any case.
    if is_billed_now && paid.now.as_ref().is_some_and(|paid| takes_away(&before, &after, paid)) {
        return Err(ChangeRefused::MoreAndLess);
    }
    // Another interval begins a new period.
    let is_cut_short =
        |end| before.interval != after.interval || Some(end) < subscription.period_end(catalog);
    if is_billed_now && subscription.ends_at(catalog).is_some_and(is_cut_short) {
        return Err(ChangeRefused::Ending);
    }
    let billing = if is_billed_now { Billing::Now } else { Billing::Later };
    let (amount, prices) = (after.amount(catalog), after.prices());
    let currency = after.currency;
    Ok(SubscriptionChange {
        subscription,
        edits,
        billing,
        prices,
        currency,
        amount,
        promotion_code: None,
    })
}

/// Returns the invoice of a former change, or of the resumption of a paused subscription, that
/// waits for its payment; `None` if none waits. The subscription may have a newer invoice, for
/// example of a renewal. In `invoices`, the oldest is first.
#[must_use]
pub fn waiting_invoice<'a>(
    subscription: &Subscription,
    invoices: &'a [Invoice],
) -> Option<&'a InvoiceId> {
    if !subscription.may_wait() {
        return None;
    }
    let is_its = |invoice: &&Invoice| {
        invoice.subscription.as_ref() == Some(&subscription.id)
            && invoice.status == InvoiceStatus::Open
            && invoice.reason == BillingReason::Change
    };
    invoices.iter().rev().find(is_its).map(|invoice| &invoice.id)
}

/// Returns whether a subscription is as these edits make it.
#[must_use]
pub fn is_applied(edits: &[ItemEdit], subscription: &Subscription) -> bool {
    let items = || subscription.items.iter();
    edits.iter().all(|edit| match edit {
        ItemEdit::Set { item, price, quantity } => items()
            .any(|one| one.id == *item && one.price == *price && one.quantity == Some(*quantity)),
        ItemEdit::Add { price, .. } => items().any(|one| one.price == *price),
        ItemEdit::Remove { item } => !items().any(|one| one.id == *item),
    })
}

/// The items that a subscription bills now.
struct ItemsBefore<'a> {
    plan: &'a Plan,
    /// The plan's item. Items of other plans and prices are left alone.
    item: &'a Item,
    /// `None` for a former price.
    interval: Option<Interval>,
    addons: Vec<(&'a Addon, &'a Item)>,
}

impl<'a> ItemsBefore<'a> {
    fn of(subscription: &'a Subscription, catalog: &'a Catalog) -> Result<Self, ChangeRefused> {
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

    fn quantity(&self) -> u32 {
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
struct ItemsAfter<'a> {
    plan: &'a Plan,
    price: String,
    /// `None` for a former price.
    interval: Option<Interval>,
    quantity: u32,
    addons: Vec<(&'a Addon, String)>,
    currency: Currency,
    /// Whether the plan and the interval stay.
    is_same_price: bool,
}

impl<'a> ItemsAfter<'a> {
    fn of(
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
    fn is_higher_without_trial(&self, before: &ItemsBefore<'_>, catalog: &Catalog) -> bool {
        let rank = |plan: &Plan| catalog.rank(plan.id.as_str());
        self.plan.trial_days.is_none() && rank(self.plan) > rank(before.plan)
    }

    fn prices(&self) -> Vec<String> {
        let addons = self.addons.iter().map(|(_, price)| price.clone());
        std::iter::once(self.price.clone()).chain(addons).collect()
    }

    /// Returns the amount of a whole period; `None` if the catalog lacks the amount of a price.
    fn amount(&self, catalog: &Catalog) -> Option<i64> {
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
fn edits(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>) -> Vec<ItemEdit> {
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

/// Returns whether everything that the change edits is paid for: what is taken away until now, and
/// what is added until the end of the period. An unpaid item that is lowered or removed must be
/// credited now.
fn is_paid(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>, paid: &Paid<'_>) -> bool {
    let Some((now, at_end)) = paid.now.as_ref().zip(paid.at_end.as_ref()) else { return false };
    let is_raised = after.quantity > before.quantity();
    let has_units = match is_raised {
        true => after.quantity <= at_end.quantity,
        false => before.quantity() <= now.quantity,
    };
    keeps_paid_plan(before, after, now)
        && keeps_paid_plan(before, after, at_end)
        && (!edits_units(before, after) || has_units)
        && removed(before, after).all(|addon| has(now, addon))
        && added(before, after).all(|addon| has(at_end, addon))
}

/// Returns whether the change takes away something that is paid for until the end of the period.
/// If that were billed now, the rest of its period would be credited.
fn takes_away(
    before: &ItemsBefore<'_>,
    after: &ItemsAfter<'_>,
    paid: &PaidEntitlement<'_>,
) -> bool {
    keeps_paid_plan(before, after, paid)
        && ((edits_units(before, after) && after.quantity < paid.quantity)
            || removed(before, after).any(|addon| has(paid, addon)))
}

/// Returns whether the plan is the paid one, before and after the change, at the same price.
fn keeps_paid_plan(
    before: &ItemsBefore<'_>,
    after: &ItemsAfter<'_>,
    paid: &PaidEntitlement<'_>,
) -> bool {
    after.is_same_price && paid.plan.id == before.plan.id
}

/// Returns whether the change edits the number of units of a plan that is sold by the unit.
fn edits_units(before: &ItemsBefore<'_>, after: &ItemsAfter<'_>) -> bool {
    before.plan.is_per_unit() && before.quantity() != after.quantity
}

fn has(paid: &PaidEntitlement<'_>, addon: &Addon) -> bool {
    paid.addons.iter().any(|of_paid| of_paid.id == addon.id)
}

fn removed<'a>(
    before: &ItemsBefore<'a>,
    after: &ItemsAfter<'_>,
) -> impl Iterator<Item = &'a Addon> {
    let held = before.addons.iter().map(|(addon, _)| *addon);
    held.filter(|held| !after.addons.iter().any(|(kept, _)| kept.id == held.id))
}

fn added<'a>(before: &ItemsBefore<'_>, after: &ItemsAfter<'a>) -> impl Iterator<Item = &'a Addon> {
    let kept = after.addons.iter().map(|(addon, _)| *addon);
    kept.filter(|kept| !before.addons.iter().any(|(held, _)| held.id == kept.id))
}

#[cfg(test)]
mod tests;
