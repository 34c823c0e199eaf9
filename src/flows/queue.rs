//! Leases entries of a queue. `sale/inbox.rs`, `mail.rs` and `operator/outgoing.rs` process them.

use crate::app::App;
use crate::domain::queue::Leased;
use crate::error::Result;
use crate::fail_point::Place;

/// Leases due entries, at most `most`. Returns them. If none is due, nothing is written.
///
/// # Errors
/// A failure of the database.
pub(super) async fn lease_due<L: Leased>(app: &App, most: usize, place: Place) -> Result<Vec<L>> {
    let now = app.now();
    if !app.store.read().await?.has_due::<L>(now).await? {
        return Ok(Vec::new());
    }
    let mut tx = app.store.write().await?;
    let leased = tx.lease(now, i64::try_from(most).unwrap_or(i64::MAX)).await?;
    tx.sweep::<L>(now).await?;
    tx.commit(app.fail_points.at(place)).await?;
    Ok(leased)
}
