//! Reads the statistics. They are computed in [`crate::domain::operator::stats`].

use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::app::App;
use crate::domain::operator::stats::{self, Active, Day, Period};
use crate::error::Result;

/// The statistics of a period, and of now.
#[derive(Clone, Debug)]
pub struct Stats {
    /// The figures of each day, in order.
    pub days: Vec<(NaiveDate, Day)>,
    /// The number of customers now.
    pub customers: i64,
    /// The customers who pay now, by plan.
    pub active: BTreeMap<String, Active>,
}

/// Returns the statistics of a period.
///
/// # Errors
/// A failure of the database.
pub async fn of(app: &App, period: Period) -> Result<Stats> {
    let (from, to) = period.bounds();
    let mut tx = app.store.read().await?;
    let actions = tx.count_actions(from, to).await?;
    let revenue = tx.revenue(from, to).await?;
    let subscribers = tx.subscribers().await?;
    let customers = tx.count_customers().await?;
    let days = stats::days(period, &actions, &revenue);
    Ok(Stats { days, customers, active: stats::active(&subscribers, &app.plans) })
}
