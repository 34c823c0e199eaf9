//! The reconciliation: fetches undelivered events, syncs every customer who may have bought
//! something at Stripe, and looks for unknown buyers. It runs when the server starts, once a day,
//! and by command. Normally it finds no drift.

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::settlement::SyncReport;
use crate::domain::sale::webhook::Envelope;
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::buyers;
use crate::flows::sale::sync;
use crate::flows::{Mode, audit};
use crate::store::Tx;
use crate::stripe::Undelivered;

/// The number of customers that are synced concurrently: a fifth of Stripe's limit in test mode, so
/// that sales are not held up (<https://docs.stripe.com/rate-limits>).
pub const AT_ONCE: usize = 4;

/// The number of customers that are read in one transaction.
const PAGE: i64 = 500;

/// The number of events that are stored in one transaction.
const BATCH: usize = 256;

/// The result of a reconciliation.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The number of events that Stripe could not deliver and that were not in the inbox.
    pub missed_events: u64,
    /// The error if the undelivered events could not be listed or stored.
    pub events_error: Option<String>,
    /// The number of customers that were compared with Stripe.
    pub checked: usize,
    /// The customers who differed from Stripe.
    pub drifted: Vec<Drifted>,
    /// The customers who could not be compared.
    pub failed: Vec<Failed>,
    /// The customers with alerts for an operator.
    pub alerts: Vec<Alerted>,
    /// The buyers who pay for a plan and are not linked to a customer here.
    pub unknown_buyers: Vec<UnknownBuyer>,
    /// The error if the account's subscriptions could not be listed, or the buyers not recorded.
    pub buyers_error: Option<String>,
    /// The error if the result could not be recorded.
    pub record_error: Option<String>,
}

impl Report {
    /// Returns the number of customers who need an operator's action, which a sync cannot repair.
    #[must_use]
    pub fn need_action(&self) -> usize {
        self.alerts.iter().filter(|alerted| alerted.needs_action).count()
    }

    /// Returns whether a part of the reconciliation failed and must be repeated.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        let errors = [&self.events_error, &self.buyers_error, &self.record_error];
        errors.into_iter().any(Option::is_some) || !self.failed.is_empty()
    }

    fn add(&mut self, customer_id: CustomerId, compared: Result<SyncReport>) {
        self.checked += 1;
        let SyncReport { changes, alerts, needs_action } = match compared {
            Ok(synced) => synced,
            Err(error) => {
                self.failed.push(Failed { customer_id, error: error.to_string() });
                return;
            }
        };
        let customer_id = customer_id.to_string();
        if !alerts.is_empty() {
            self.alerts.push(Alerted { customer_id: customer_id.clone(), alerts, needs_action });
        }
        if !changes.is_empty() {
            tracing::warn!(customer_id, ?changes, "the customer differed from Stripe");
            self.drifted.push(Drifted { customer_id, changes });
        }
    }
}

/// A customer with alerts for an operator.
#[derive(Debug, Serialize)]
pub struct Alerted {
    /// The customer.
    pub customer_id: String,
    /// The alerts, one sentence each.
    pub alerts: Vec<String>,
    /// Whether an operator must act: the customer pays twice, or pays and has no license for it.
    pub needs_action: bool,
}

/// A customer who differed from Stripe.
#[derive(Debug, Serialize)]
pub struct Drifted {
    /// The customer.
    pub customer_id: String,
    /// The changes, and the mails about them, one sentence each.
    pub changes: Vec<String>,
}

/// A customer who could not be compared.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// The customer.
    #[serde(serialize_with = "as_text")]
    pub customer_id: CustomerId,
    /// The error.
    pub error: String,
}

fn as_text<S: Serializer>(id: &CustomerId, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// The stored result of a reconciliation that was not a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The number of customers that were compared with Stripe.
    pub checked: usize,
    /// The number of them who differed from Stripe.
    pub drifted: usize,
    /// The number of customers who could not be compared.
    pub failed: usize,
    /// The number of customers who need an operator's action. Older entries lack it.
    #[serde(default, rename = "left")]
    pub need_action: usize,
}

/// Compares every customer of [`at_stripe`] with Stripe, `at_once` of them concurrently. Repairs
/// drift unless this is a dry run. Calls `progress` with the number of compared customers so far.
///
/// # Errors
/// [`Error::BillingNotConfigured`], or a failure of the database while the customers are read. Any
/// other failure is in the report, so that [`again`] repeats only what failed.
pub async fn run(
    app: &App,
    mode: Mode,
    at_once: usize,
    progress: impl Fn(usize),
) -> Result<Report> {
    reconcile_all(app, mode, at_once, true, progress).await
}

/// Runs the reconciliation at the start of the server. On a new installation
/// without linked customers it does not call Stripe.
///
/// # Errors
/// As [`run`].
pub async fn at_start(app: &App) -> Result<Report> {
    let is_new = is_new_installation(app).await?;
    reconcile_all(app, Mode::Apply, AT_ONCE, !is_new, |_| {}).await
}

async fn reconcile_all(
    app: &App,
    mode: Mode,
    at_once: usize,
    finds_buyers: bool,
    progress: impl Fn(usize),
) -> Result<Report> {
    app.stripe()?;
    let mut report = Report::default();
    // Read before anything else is done: if the database fails here, all of it is repeated.
    let customers = at_stripe(app).await.inspect_err(|_| set_gauges(app, None))?;
    // While there are none, no event can be about a customer here.
    if !customers.is_empty() {
        list_missed(app, mode, &mut report).await;
    }
    if !customers.is_empty() || finds_buyers {
        sync_each(app, customers, mode, at_once, &mut report, progress).await;
        Box::pin(find_unknown_buyers(app, mode, &mut report)).await;
    }
    if mode == Mode::Apply {
        record(app, &mut report).await;
    }
    set_gauges(app, Some(&report));
    Ok(report)
}

/// Returns every customer who is linked to a Stripe customer, or has a claimed payment: the
/// Stripe customer may have been deleted.
async fn at_stripe(app: &App) -> Result<Vec<CustomerId>> {
    let mut all: Vec<CustomerId> = Vec::new();
    loop {
        let page = app.store.read().await?.customers_at_stripe(all.last(), PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Returns whether the database has neither an unknown buyer nor an earlier reconciliation.
async fn is_new_installation(app: &App) -> Result<bool> {
    let mut tx = app.store.read().await?;
    Ok(tx.count_unknown_buyers().await? == 0 && self::last(&mut tx, app.now()).await?.is_none())
}

/// Repeats the failed parts of a reconciliation that was not a dry run: the customers who could not
/// be compared, the lists that could not be fetched, and the record of the result. Updates the
/// report.
pub async fn again(app: &App, report: &mut Report) {
    if report.events_error.is_some() {
        list_missed(app, Mode::Apply, report).await;
    }
    if report.buyers_error.is_some() {
        Box::pin(find_unknown_buyers(app, Mode::Apply, report)).await;
    }
    let failed = std::mem::take(&mut report.failed);
    let before = failed.len();
    report.checked -= before;
    let ids = failed.into_iter().map(|failed| failed.customer_id).collect();
    sync_each(app, ids, Mode::Apply, AT_ONCE, report, |_| {}).await;
    set_gauges(app, Some(report));
    if report.failed.len() < before || report.record_error.is_some() {
        record(app, report).await;
    }
}

/// Compares each of these customers with Stripe, and adds the results to the report.
async fn sync_each(
    app: &App,
    ids: Vec<CustomerId>,
    mode: Mode,
    at_once: usize,
    report: &mut Report,
    progress: impl Fn(usize),
) {
    let compared = ids.into_iter().map(async |id| {
        // Runs in its own task: if the server stops, the lease is still released.
        let (own, about) = (app.clone(), id.clone());
        (id, app.tasks.run(async move { sync::compare(&own, &about, mode).await }).await)
    });
    let mut compared = stream::iter(compared).buffered(at_once);
    while let Some((customer_id, compared)) = compared.next().await {
        // The customer was deleted in the meantime.
        if let Err(Error::NotFound(_)) = compared {
            continue;
        }
        report.add(customer_id, compared);
        progress(report.checked);
    }
}

/// Sets the gauges for alarms. Without a report, they are absent.
fn set_gauges(app: &App, report: Option<&Report>) {
    let number = |of: fn(&Report) -> usize| report.and_then(|report| of(report).try_into().ok());
    app.metrics.drifted_customers.set(number(|report| report.drifted.len()));
    app.metrics.uncompared_customers.set(number(|report| report.failed.len()));
}

/// Records the finished reconciliation, or adds the error to the report.
async fn record(app: &App, report: &mut Report) {
    report.record_error = match write_record(app, report).await {
        Ok(()) => None,
        Err(error) => {
            tracing::warn!(%error, "the result of the reconciliation cannot be recorded");
            Some(error.to_string())
        }
    };
}

/// Writes the audit entry of a finished reconciliation, for [`last`].
async fn write_record(app: &App, report: &Report) -> Result<()> {
    let summary = Summary {
        checked: report.checked,
        drifted: report.drifted.len(),
        failed: report.failed.len(),
        need_action: report.need_action(),
    };
    let detail = json!(summary);
    let entry = AuditEntry::new(Actor::System, AuditAction::StripeCompared, None, detail);
    let mut tx = app.store.write().await?;
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::ReconcileNoted)).await
}

/// Returns the time and the result of the last reconciliation that was recorded, by any server or
/// command.
pub(in crate::flows) async fn last(
    tx: &mut Tx,
    now: Timestamp,
) -> Result<Option<(Timestamp, Summary)>> {
    let Some((at, detail)) = tx.last_reconciliation(now + SKEW).await? else { return Ok(None) };
    let summary = serde_json::from_str(&detail);
    let unreadable =
        |error| Error::Internal(format!("the result of a reconciliation cannot be read: {error}"));
    Ok(Some((at, summary.map_err(unreadable)?)))
}

/// Adds the unknown buyers to the report, or the error. Their events may be lost, or may never have
/// been sent to this server.
async fn find_unknown_buyers(app: &App, mode: Mode, report: &mut Report) {
    match buyers::find(app, mode).await {
        Ok(found) => (report.unknown_buyers, report.buyers_error) = (found, None),
        Err(error) => {
            tracing::warn!(%error, "the unknown buyers cannot be found");
            report.buyers_error = Some(error.to_string());
        }
    }
}

/// Stores the undelivered events, or adds the error to the report. The reconciliation continues
/// without them.
async fn list_missed(app: &App, mode: Mode, report: &mut Report) {
    match missed(app, mode).await {
        Ok(missed) => (report.missed_events, report.events_error) = (missed, None),
        Err(error) => {
            tracing::warn!(%error, "undelivered events cannot be listed or stored");
            report.events_error = Some(error.to_string());
        }
    }
}

/// Stores the events that Stripe could not deliver, for the worker. Returns the number of new ones.
async fn missed(app: &App, mode: Mode) -> Result<u64> {
    let stripe = app.stripe()?;
    let live = stripe.config().mode == crate::config::StripeMode::Live;
    let Undelivered { events, more } = stripe.undelivered_events().await?;
    if more {
        let listed = events.len();
        tracing::warn!(listed, "Stripe has more undelivered events; only the newest are stored");
    }
    let listed = events.into_iter().map(|event| event.to_string());
    let ours = listed.filter_map(|body| {
        let event = Envelope::parse(&body).ok()?;
        (event.livemode == live && event.is_of_interest()).then_some((event, body))
    });
    let mut ours: Vec<(Envelope, String)> = ours.collect();
    // In the order in which webhooks are stored, to avoid deadlocks with them.
    ours.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let mut missed = 0;
    for batch in ours.chunks(BATCH) {
        if mode == Mode::DryRun {
            let ids = batch.iter().map(|(event, _)| event.id.as_str());
            missed += app.store.read().await?.count_unknown_events(ids).await?;
            continue;
        }
        let events = batch.iter().map(|(event, body)| (event, body.as_str()));
        let mut tx = app.store.write().await?;
        missed += tx.insert_events(events, app.now()).await?;
        tx.commit(app.fail_points.at(Place::ReconcileMissed)).await?;
        app.events_due.notify_one();
    }
    Ok(missed)
}
