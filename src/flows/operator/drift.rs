//! Reports drift from our own database: customers who paid and have no working license, unknown
//! buyers, the backlog of events and mails, and the last reconciliation. It does not call Stripe:
//! [`crate::flows::sale::reconcile`] does.

use std::time::Duration;

use crate::app::App;
use crate::clock::within;
use crate::domain::operator::webhook_delivery::LeasedDelivery;
use crate::domain::outbox::LeasedMail;
use crate::domain::queue::Backlog;
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::sale::subscription::PaidWithoutLicense;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::sale::reconcile::{self, Summary};
use crate::metrics::QueueState;
use crate::metrics::series::{Gauge, Series};

/// The most customers and buyers that are listed. More than these have a common cause.
const MOST_LISTED: i64 = 100;

/// How long the counts for the gauges may take. A database that does not answer must not leave old
/// values in the metrics.
const COUNT_TIMEOUT: Duration = Duration::from_secs(20);

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

/// The values of the gauges.
struct Counts {
    paid_without_license: i64,
    unknown_buyers: i64,
    events: Backlog,
    mails: Backlog,
    deliveries: Backlog,
}

/// Sets the gauges of the drift report. If the values cannot be counted in time, the gauges are
/// absent from the metrics.
///
/// # Errors
/// A failure of the database, or [`Error::Busy`] when it takes too long.
pub async fn measure(app: &App) -> Result<()> {
    let counts = within(&*app.clock, COUNT_TIMEOUT, count(app)).await.unwrap_or(Err(Error::Busy));
    let known = counts.as_ref().ok();
    let metrics = &app.metrics;
    metrics.paid_customers_without_license.set(known.map(|known| known.paid_without_license));
    metrics.unknown_buyers.set(known.map(|known| known.unknown_buyers));
    set_backlog(&metrics.inbox_events, known.map(|known| known.events));
    set_backlog(&metrics.outbox_mails, known.map(|known| known.mails));
    set_backlog(&metrics.undelivered_webhooks, known.map(|known| known.deliveries));
    counts.map(drop)
}

async fn count(app: &App) -> Result<Counts> {
    // On SQLite, an open connection still reads a deleted file. The ping notices that.
    app.store.ping().await?;
    let mut tx = app.store.read().await?;
    Ok(Counts {
        paid_without_license: total(&tx.paid_without_license(app.now(), 1).await?),
        unknown_buyers: tx.count_unknown_buyers().await?,
        events: tx.backlog::<LeasedEvent>().await?,
        mails: tx.backlog::<LeasedMail>().await?,
        deliveries: tx.backlog::<LeasedDelivery>().await?,
    })
}

fn set_backlog(gauges: &Series<QueueState, Gauge>, backlog: Option<Backlog>) {
    gauges.of(QueueState::Waiting).set(backlog.map(|backlog| backlog.waiting));
    gauges.of(QueueState::GivenUp).set(backlog.map(|backlog| backlog.given_up));
}
