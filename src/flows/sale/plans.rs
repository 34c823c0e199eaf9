//! A changed plans file: reports what it takes away from customers, before they notice.

use std::collections::BTreeMap;

use serde_json::json;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::order::OrderedPlan;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::plan_diff::{
    LicenseChange, PlansSnapshot, Removal, StoredPurchases, license_change,
};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::audit;
use crate::store::Store;

/// How many licenses are read at once.
const READ_AT_ONCE: i64 = 500;

/// Compares the plans with those of the last start on this database, and logs everything that they
/// no longer grant. Each start compares with the last one: while servers with different files run,
/// each of them reports its differences.
///
/// # Errors
/// A failure of the database.
pub async fn report_removals(app: &App) -> Result<Vec<Removal>> {
    let granted = serde_json::to_string(&PlansSnapshot::of(&app.plans))
        .map_err(|error| Error::Internal(format!("no JSON: {error}")))?;
    let mut tx = app.store.write().await?;
    let before = tx.seen_plans().await?;
    if before.as_ref() == Some(&granted) {
        return Ok(Vec::new());
    }
    // A content that another version stored in another form is not compared.
    let before: Option<PlansSnapshot> = before.and_then(|text| serde_json::from_str(&text).ok());
    let removals = before.map(|before| before.removals(&app.plans)).unwrap_or_default();
    let now = app.now();
    tx.put_seen_plans(&granted, now).await?;
    if !removals.is_empty() {
        let texts: Vec<_> = removals.iter().map(ToString::to_string).collect();
        let detail = json!({ "removals": texts });
        let entry = AuditEntry::new(Actor::System, AuditAction::PlansReduced, None, detail);
        audit(app, &mut tx, entry, now).await?;
    }
    tx.commit(app.fail_points.at(Place::PlansSeen)).await?;
    for removal in &removals {
        tracing::warn!("the plans file has changed: {removal}");
    }
    Ok(removals)
}

/// Calls `report` with each license that the new plans would change: those that work, and those
/// that another policy gives back. Returns the number of both.
///
/// # Errors
/// An error of `report`, or a failure of the database.
pub async fn changed_licenses(
    store: &Store,
    (old, new): (&Catalog, &Catalog),
    now: Timestamp,
    mut report: impl FnMut(LicenseChange) -> Result<()>,
) -> Result<usize> {
    let (mut count, mut last) = (0, None);
    loop {
        let mut tx = store.read().await?;
        let licenses = tx.licenses_to_compare(now, last.as_ref(), READ_AT_ONCE).await?;
        let Some((newest, _)) = licenses.last() else { return Ok(count) };
        let newest = newest.customer_id.clone();
        let orders = tx.ordered_plans((last.as_ref(), &newest)).await?;
        drop(tx);
        let mut orders_of: BTreeMap<CustomerId, Vec<OrderedPlan>> = BTreeMap::new();
        for order in orders {
            orders_of.entry(order.customer_id.clone()).or_default().push(order);
        }
        last = Some(newest);
        for (license, subscription) in &licenses {
            let orders = orders_of.get(&license.customer_id).map_or(&[][..], Vec::as_slice);
            let purchases = StoredPurchases { subscription, orders };
            let change = license_change(license, purchases, (old, new), now);
            count += usize::from(license.works(now) || change.is_some());
            change.map_or(Ok(()), &mut report)?;
        }
    }
}
