//! Reports drift from our own database: customers who paid and have no working license, unknown
//! buyers, the backlog of events and mails, and the last reconciliation. It does not call Stripe:
//! [`crate::flows::sale::reconcile`] does.

use crate::app::App;
use crate::domain::outbox::LeasedMail;
use crate::domain::queue::Backlog;
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::sale::subscription::PaidWithoutLicense;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::sale::reconcile::{self, Summary};
use crate::flows::sale::settle::ALERTS;

/// The most customers and buyers that are listed. More than these have a common cause.
const MOST_LISTED: i64 = 100;

/// The drift report.
#[derive(Clone, Debug)]
pub struct Drift {
    /// The number of customers who paid and have no working license.
    pub paid_without_license: i64,
    /// These customers, at most [`MOST_LISTED`].
    pub customers: Vec<PaidWithoutLicense>,
    /// The number of Stripe customers who pay for a plan and are not linked to a customer here.
    pub unknown_buyers: i64,
    /// These Stripe customers, at most [`MOST_LISTED`].
    pub buyers: Vec<UnknownBuyer>,
    /// The backlog of the inbox.
    pub events: Backlog,
    /// The backlog of the outbox.
    pub mails: Backlog,
    /// The time and the result of the last reconciliation of all customers.
    pub compared: Option<(Timestamp, Summary)>,
}

/// Returns the drift report.
///
/// # Errors
/// A failure of the database.
pub async fn report(app: &App) -> Result<Drift> {
    let mut tx = app.store.read().await?;
    let customers = tx.paid_without_license(app.now(), MOST_LISTED).await?;
    Ok(Drift {
        paid_without_license: total(&customers),
        customers,
        unknown_buyers: tx.count_unknown_buyers().await?,
        buyers: tx.unknown_buyers(MOST_LISTED).await?,
        events: tx.backlog::<LeasedEvent>().await?,
        mails: tx.backlog::<LeasedMail>().await?,
        compared: reconcile::last(&mut tx, app.now()).await?,
    })
}

fn total(customers: &[PaidWithoutLicense]) -> i64 {
    customers.first().map_or(0, |row| row.total)
}

/// Sets the Prometheus gauges of the drift report.
///
/// # Errors
/// A failure of the database.
pub async fn measure(app: &App) -> Result<()> {
    let mut tx = app.store.read().await?;
    let lacking = total(&tx.paid_without_license(app.now(), 1).await?);
    let unknown_buyers = tx.count_unknown_buyers().await?;
    let (events, mails) = (tx.backlog::<LeasedEvent>().await?, tx.backlog::<LeasedMail>().await?);
    drop(tx);
    metrics::gauge!("licentia_paid_customers_without_license").set(lacking as f64);
    metrics::gauge!("licentia_unknown_buyers").set(unknown_buyers as f64);
    let set_backlog = |name: &'static str, Backlog { waiting, given_up }: Backlog| {
        metrics::gauge!(name, "state" => "waiting").set(waiting as f64);
        metrics::gauge!(name, "state" => "given_up").set(given_up as f64);
    };
    set_backlog("licentia_inbox_events", events);
    set_backlog("licentia_outbox_mails", mails);
    // The counter is published from the start: an alarm on its increase then sees the first alert.
    metrics::counter!(ALERTS).increment(0);
    Ok(())
}
