//! The plans that are for sale. Responses have no Stripe price ids.

use std::collections::BTreeMap;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::domain::sale::plan::{Plan, Price};
use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore};

pub struct PlansApi;

/// A price of a plan.
#[derive(Object)]
#[oai(rename = "Price")]
struct PriceView {
    /// The billing interval: `month` or `year`.
    interval: String,
    /// The amount in the smallest unit of the currency, for example cents.
    amount: u32,
    /// The currency (ISO 4217), in lower case.
    currency: String,
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
    /// The limits of the plan, for example the number of seats.
    limits: BTreeMap<String, u64>,
    /// The prices. Empty for a plan that is not for sale, such as the trial.
    prices: Vec<PriceView>,
}

/// All plans.
#[derive(Object)]
struct Plans {
    /// The plans, from the lowest to the highest.
    plans: Vec<PlanView>,
}

impl Example for PlanView {
    fn example() -> Self {
        let price = PriceView { interval: "month".into(), amount: 4900, currency: "usd".into() };
        Self {
            id: "professional".into(),
            name: "Professional".into(),
            features: vec!["editor".into(), "export".into(), "sso".into()],
            limits: BTreeMap::from([("devices".into(), 3), ("seats".into(), 5)]),
            prices: vec![price],
        }
    }
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        Self {
            interval: price.interval.as_str().into(),
            amount: price.amount,
            currency: price.currency.to_string(),
        }
    }
}

impl From<&Plan> for PlanView {
    fn from(plan: &Plan) -> Self {
        let limits = plan.limits.iter();
        Self {
            id: plan.id.to_string(),
            name: plan.name.clone(),
            features: plan.features.iter().map(ToString::to_string).collect(),
            limits: limits.map(|(name, limit)| (name.to_string(), *limit)).collect(),
            prices: plan.prices.iter().filter(|price| price.is_sold).map(PriceView::from).collect(),
        }
    }
}

#[OpenApi(prefix_path = "/api/plans", tag = "Tag::Plans")]
impl PlansApi {
    /// List the plans
    ///
    /// Returns all plans with their prices, from the lowest to the highest, for a pricing page.
    #[oai(path = "/", method = "get", operation_id = "listPlans")]
    async fn list(&self, Data(app): Data<&App>) -> Result<Json<Plans>, Failure<NothingMore>> {
        Ok(Json(Plans { plans: app.plans.plans.iter().map(PlanView::from).collect() }))
    }
}
