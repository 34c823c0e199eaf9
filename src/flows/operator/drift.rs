//! Whether everything is as it should be, by our own database: who paid and lacks a license, who
//! bought and is unknown, what waits, what was given up, and when Stripe was last compared. Comparing with Stripe is in
//! [`crate::flows::sale::reconcile`].

use crate::app::App;
use crate::domain::outbox::LeasedMail;
use crate::domain::queue::Backlog;
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::sale::subscription::PaidWithoutLicense;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::sale::reconcile::{self, Comparison};
use crate::flows::sale::settle::ALERTS;

/// The most customers who are named; who has more has one cause for all of them.
const MOST: i64 = 100;

/// How everything stands.
#[derive(Clone, Debug)]
pub struct Drift {
    /// How many customers who paid lack a license that works.
    pub paid_without_license: i64,
    /// Who they are, [`MOST`] of them at the most.
    pub customers: Vec<PaidWithoutLicense>,
    /// How many Stripe customers pay for a plan and are linked to nobody here.
    pub unknown_buyers: i64,
    /// Who they are, [`MOST`] of them at the most.
    pub buyers: Vec<UnknownBuyer>,
    /// What came from Stripe.
    pub events: Backlog,
    /// The mails.
    pub mails: Backlog,
    /// When everybody was last compared with Stripe, and what was found.
    pub compared: Option<(Timestamp, Comparison)>,
}

/// Looks how everything stands.
///
/// # Errors
/// A failure of the database.
pub async fn look(app: &App) -> Result<Drift> {
    let mut tx = app.store.read().await?;
    let customers = tx.paid_without_license(app.now(), MOST).await?;
    Ok(Drift {
        paid_without_license: total(&customers),
        customers,
        unknown_buyers: tx.count_unknown_buyers().await?,
        buyers: tx.unknown_buyers(MOST).await?,
        events: tx.backlog::<LeasedEvent>().await?,
        mails: tx.backlog::<LeasedMail>().await?,
        compared: reconcile::last(&mut tx).await?,
    })
}

fn total(customers: &[PaidWithoutLicense]) -> i64 {
    customers.first().map_or(0, |row| row.total)
}

/// Tells Prometheus how everything stands.
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
    let tell = |name: &'static str, Backlog { waiting, given_up }: Backlog| {
        metrics::gauge!(name, "state" => "waiting").set(waiting as f64);
        metrics::gauge!(name, "state" => "given_up").set(given_up as f64);
    };
    tell("licentia_inbox_events", events);
    tell("licentia_outbox_mails", mails);
    // It is there from the beginning, so that the first one is seen to come.
    metrics::counter!(ALERTS).increment(0);
    Ok(())
}
