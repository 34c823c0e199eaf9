//! The plans that are for sale. Responses have no Stripe price ids.

use std::collections::BTreeMap;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::domain::sale::plan::{Addon, Catalog, Plan, Price, Slug};
use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore};

pub struct PlansApi;

/// A price of a plan or an add-on, in one currency.
#[derive(Object)]
#[oai(rename = "Price")]
struct PriceView {
    /// How often it is charged: `month`, `year`, `once` (a perpetual license) or `updates` (newer
    /// builds for a perpetual license that the customer has).
    interval: String,
    /// The amount in the smallest unit of the currency, for example cents.
    amount: u32,
    /// The currency (ISO 4217), in lower case.
    currency: String,
    /// How many months of builds it pays for, with `once` and `updates`. Without it, `once` pays
    /// for all builds.
    #[oai(skip_serializing_if_is_none)]
    updates_months: Option<u32>,
}

/// How many units of a plan a customer can buy.
#[derive(Object)]
#[oai(rename = "Quantity", example)]
struct QuantityView {
    /// The fewest.
    min: u32,
    /// The most.
    max: u32,
}

/// A plan: its features, limits and prices.
#[derive(Object)]
#[oai(rename = "Plan", example)]
struct PlanView {
    /// The plan's id, as in the claim `plan` of a license.
    id: String,
    /// The display name.
    name: String,
    /// The features that the plan grants.
    features: Vec<String>,
    /// The limits of one unit of the plan, for example the number of seats.
    limits: BTreeMap<String, u64>,
    /// The names of the limits that are multiplied by the quantity.
    per_unit: Vec<String>,
    /// How many units can be bought. Missing for a plan that is not sold by the unit.
    #[oai(skip_serializing_if_is_none)]
    quantity: Option<QuantityView>,
    /// The length of the trial that the first purchase begins with, in days. The trial needs a
    /// card.
    #[oai(skip_serializing_if_is_none)]
    trial_days: Option<u32>,
    /// The prices, from `month` to `updates`, one for each currency. Empty for a plan that is not
    /// for sale, such as the trial.
    prices: Vec<PriceView>,
    /// The ids of the add-ons that can be bought with the plan.
    addons: Vec<String>,
}

/// An add-on: features and limits that are added to those of a plan.
#[derive(Object)]
#[oai(rename = "Addon")]
struct AddonView {
    /// The add-on's id.
    id: String,
    /// The display name.
    name: String,
    /// The features that the add-on grants.
    features: Vec<String>,
    /// The limits that it adds to those of the plan.
    limits: BTreeMap<String, u64>,
    /// The prices, from `month` to `once`, one for each currency.
    prices: Vec<PriceView>,
}

/// Everything that is for sale.
#[derive(Object)]
struct Plans {
    /// The plans, from the lowest to the highest.
    plans: Vec<PlanView>,
    /// The add-ons.
    addons: Vec<AddonView>,
}

impl Example for QuantityView {
    fn example() -> Self {
        Self { min: 1, max: 500 }
    }
}

impl Example for PlanView {
    fn example() -> Self {
        let price = PriceView {
            interval: "month".into(),
            amount: 4900,
            currency: "usd".into(),
            updates_months: None,
        };
        Self {
            id: "professional".into(),
            name: "Professional".into(),
            features: vec!["editor".into(), "export".into(), "sso".into()],
            limits: BTreeMap::from([("devices".into(), 3), ("seats".into(), 1)]),
            per_unit: vec!["seats".into()],
            quantity: Some(QuantityView::example()),
            trial_days: Some(14),
            prices: vec![price],
            addons: vec!["pdf".into()],
        }
    }
}

/// Returns the prices that are for sale: by interval, and in the order of the file.
fn prices(prices: &[Price]) -> Vec<PriceView> {
    let mut sold: Vec<_> = prices.iter().filter(|price| price.is_for_sale).collect();
    sold.sort_by_key(|price| price.interval);
    let in_each_currency = sold.into_iter().flat_map(|price| {
        price.amounts().map(|(currency, amount)| PriceView {
            interval: price.interval.as_str().into(),
            amount,
            currency: currency.as_str().into(),
            updates_months: price.updates_months,
        })
    });
    in_each_currency.collect()
}

fn names<'s>(slugs: impl IntoIterator<Item = &'s Slug>) -> Vec<String> {
    slugs.into_iter().map(ToString::to_string).collect()
}

fn limits(limits: &BTreeMap<Slug, u64>) -> BTreeMap<String, u64> {
    limits.iter().map(|(name, limit)| (name.to_string(), *limit)).collect()
}

fn plan_view(plan: &Plan, catalog: &Catalog) -> PlanView {
    let addons = catalog.addons.iter().filter(|addon| addon.is_for(plan));
    let prices = prices(&plan.prices);
    PlanView {
        id: plan.id.to_string(),
        name: plan.name.clone(),
        features: names(&plan.features),
        limits: limits(&plan.limits),
        per_unit: names(&plan.per_unit),
        quantity: plan
            .is_per_unit()
            .then_some(QuantityView { min: plan.quantity.min, max: plan.quantity.max }),
        trial_days: plan.trial_days,
        // Nothing can be bought with a plan that is not for sale.
        addons: names(addons.filter(|_| !prices.is_empty()).map(|addon| &addon.id)),
        prices,
    }
}

fn addon_view(addon: &Addon) -> AddonView {
    AddonView {
        id: addon.id.to_string(),
        name: addon.name.clone(),
        features: names(&addon.features),
        limits: limits(&addon.limits),
        prices: prices(&addon.prices),
    }
}

#[OpenApi(prefix_path = "/api/plans", tag = "Tag::Plans")]
impl PlansApi {
    /// List the plans
    ///
    /// Returns all plans and add-ons with their prices, for a pricing page.
    #[oai(path = "/", method = "get", operation_id = "listPlans")]
    async fn list(&self, Data(app): Data<&App>) -> Result<Json<Plans>, Failure<NothingMore>> {
        let catalog = &app.plans;
        let plans = catalog.plans.iter().map(|plan| plan_view(plan, catalog)).collect();
        Ok(Json(Plans { plans, addons: catalog.addons.iter().map(addon_view).collect() }))
    }
}
