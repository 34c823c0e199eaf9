//! Statistics by day.

use std::sync::Arc;

use chrono::NaiveDate;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{AdminCodes, permit};
use crate::app::App;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::stats::{Active, Amounts, Day, Period};
use crate::error::Error;
use crate::flows::operator::stats::{self, Stats};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::problem::Failure;
use crate::http::throttle::Throttle;

pub struct StatsApi;

/// An amount of money.
#[derive(Object)]
#[oai(rename = "Amount", example)]
struct AmountView {
    /// ISO 4217, lower case.
    currency: String,
    /// In the currency's smallest unit, for example cents.
    amount: i64,
}

impl Example for AmountView {
    fn example() -> Self {
        Self { currency: "usd".into(), amount: 4900 }
    }
}

fn amounts(amounts: Amounts) -> Vec<AmountView> {
    amounts.into_iter().map(|(currency, amount)| AmountView { currency, amount }).collect()
}

/// The figures of one UTC day.
#[derive(Object)]
#[oai(rename = "DayStats", example)]
struct DayView {
    /// The day.
    date: NaiveDate,
    /// New customers.
    signups: i64,
    /// Trials that began.
    trials: i64,
    /// Customers who got their first license for a payment.
    conversions: i64,
    /// Customers whose subscription ended.
    churned: i64,
    /// Licenses that were issued, without the refreshes of apps.
    licenses_issued: i64,
    /// Payments of that day, less the refunds, credits and disputes that the server recorded on
    /// that day. Negative if these are more. A dispute that is won adds its amount again.
    revenue: Vec<AmountView>,
}

impl Example for DayView {
    fn example() -> Self {
        let revenue = Amounts::from([("usd".to_owned(), 14_700)]);
        let day =
            Day { signups: 7, trials: 7, conversions: 3, churned: 1, licenses_issued: 10, revenue };
        (NaiveDate::from_ymd_opt(2026, 11, 20).unwrap_or_default(), day).into()
    }
}

impl From<(NaiveDate, Day)> for DayView {
    fn from((date, day): (NaiveDate, Day)) -> Self {
        Self {
            date,
            signups: day.signups,
            trials: day.trials,
            conversions: day.conversions,
            churned: day.churned,
            licenses_issued: day.licenses_issued,
            revenue: amounts(day.revenue),
        }
    }
}

/// The customers who pay for a plan now.
#[derive(Object)]
#[oai(rename = "ActivePlan", example)]
struct ActiveView {
    /// The plan's id.
    plan: String,
    /// The number of customers with a live subscription, or with a perpetual license that they
    /// bought.
    customers: i64,
    /// The monthly recurring revenue: the prices of the plan's units and of the add-ons that
    /// subscriptions bill, without discounts, a yearly one as a twelfth. A perpetual license has
    /// none.
    mrr: Vec<AmountView>,
}

impl Example for ActiveView {
    fn example() -> Self {
        let mrr = vec![AmountView { currency: "usd".into(), amount: 19_600 }];
        Self { plan: "professional".into(), customers: 4, mrr }
    }
}

/// The figures of now.
#[derive(Object)]
struct NowView {
    /// The number of customers.
    customers: i64,
    /// The customers who pay, by plan.
    active: Vec<ActiveView>,
}

/// Statistics.
#[derive(Object)]
#[oai(rename = "Stats")]
struct StatsView {
    /// The figures of each day, in order.
    days: Vec<DayView>,
    /// The figures of now.
    now: NowView,
}

impl From<Stats> for StatsView {
    fn from(stats: Stats) -> Self {
        let active = stats.active.into_iter();
        let active = active.map(|(plan, Active { customers, monthly })| ActiveView {
            plan,
            customers,
            mrr: amounts(monthly),
        });
        Self {
            days: stats.days.into_iter().map(DayView::from).collect(),
            now: NowView { customers: stats.customers, active: active.collect() },
        }
    }
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl StatsApi {
    /// Get statistics
    ///
    /// Returns the figures of each UTC day from `from` to `to`, both inclusive, and the customers
    /// and the recurring revenue of now. Without dates, it returns the last 30 days; at most 366.
    /// Needs the scope `read`.
    #[oai(path = "/stats", method = "get", operation_id = "getStats")]
    async fn get(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The first day.
        #[oai(example = "example_date")]
        from: Query<Option<String>>,
        /// The last day.
        #[oai(example = "example_date")]
        to: Query<Option<String>>,
    ) -> Result<Json<StatsView>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::GetStats, Target::Service).await?;
        let period = Period::parse(from.as_deref(), to.as_deref(), app.now());
        let period = period.map_err(|error| Error::InvalidRequest(error.to_string()))?;
        Ok(Json(stats::of(app, period).await?.into()))
    }
}

fn example_date() -> Option<String> {
    Some("2026-11-20".into())
}
