//! Trusts no event: fetches those that were never delivered, then brings every linked customer in
//! line with Stripe. At the start, once a day, and by command. Finding nothing is the normal
//! answer.

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::buyer::UnknownBuyer;
use crate::domain::sale::settlement::SyncReport;
use crate::domain::sale::webhook::Envelope;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::buyers;
use crate::flows::sale::sync;
use crate::flows::{Mode, audit};
use crate::store::Tx;
use crate::stripe::Undelivered;

/// Customers that are looked at at once: a fifth of what Stripe takes from one account in test
/// mode, so that sales go on meanwhile (<https://docs.stripe.com/rate-limits>).
pub const AT_ONCE: usize = 4;

/// Customers that are looked up at once.
const PAGE: i64 = 500;

/// Events that are stored at once.
const BATCH: usize = 256;

/// What a look at everybody found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events that Stripe could not deliver, and that were not here.
    pub missed_events: u64,
    /// Why those could not be listed, if so.
    pub events_error: Option<String>,
    /// Customers that were compared with Stripe.
    pub checked: usize,
    /// Those who were not as Stripe has them.
    pub drifted: Vec<Drifted>,
    /// Those who could not be compared.
    pub failed: Vec<Failed>,
    /// Those about whom something needs a look.
    pub alerts: Vec<Alerted>,
    /// Stripe customers who pay for a plan and are linked to nobody here.
    pub unknown_buyers: Vec<UnknownBuyer>,
    /// Why those could not be listed, if so.
    pub buyers_error: Option<String>,
}

impl Report {
    /// How many must be acted on, whom a comparison cannot repair.
    #[must_use]
    pub fn left(&self) -> usize {
        self.alerts.iter().filter(|alerted| alerted.needs_action).count()
    }

    /// Whether something of the comparison is left to do.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.events_error.is_some() || self.buyers_error.is_some() || !self.failed.is_empty()
    }

    fn add(&mut self, customer_id: CustomerId, compared: Result<SyncReport>) {
        self.checked += 1;
        let SyncReport { changes, alerts, needs_action } = match compared {
            Ok(looked) => looked,
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
            tracing::warn!(customer_id, ?changes, "was not as Stripe has it");
            self.drifted.push(Drifted { customer_id, changes });
        }
    }
}

/// A customer about whom something needs a look.
#[derive(Debug, Serialize)]
pub struct Alerted {
    /// Who.
    pub customer_id: String,
    /// What it is, in words.
    pub alerts: Vec<String>,
    /// Whether somebody must act: they pay twice, or pay and are granted nothing for it.
    pub needs_action: bool,
}

/// A customer who was not as Stripe has them.
#[derive(Debug, Serialize)]
pub struct Drifted {
    /// Who.
    pub customer_id: String,
    /// What was wrong, in words.
    pub changes: Vec<String>,
}

/// A customer who could not be compared.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Who.
    #[serde(serialize_with = "as_text")]
    pub customer_id: CustomerId,
    /// Why.
    pub error: String,
}

fn as_text<S: Serializer>(id: &CustomerId, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// What is kept of a look at everybody that repaired what differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Customers that were compared with Stripe.
    pub checked: usize,
    /// How many of them were not as Stripe has them.
    pub drifted: usize,
    /// How many could not be compared.
    pub failed: usize,
    /// How many somebody must act on. Older entries do not say.
    #[serde(default)]
    pub left: usize,
}

/// Compares everybody with Stripe, `at_once` at the same time, and repairs what differs if that is
/// the mode. `progress` is told how many were compared so far.
///
/// # Errors
/// [`Error::BillingNotConfigured`], [`Error::Stripe`] or a failure of the database. A customer who
/// cannot be compared is in the report.
pub async fn everybody(
    app: &App,
    mode: Mode,
    at_once: usize,
    progress: impl Fn(usize),
) -> Result<Report> {
    compare_all(app, mode, at_once, true, progress).await
}

/// Does the same when the server starts. On a new installation it makes no call to Stripe.
///
/// # Errors
/// As [`everybody`].
pub async fn at_start(app: &App) -> Result<Report> {
    let is_new = is_new_installation(app).await?;
    compare_all(app, Mode::Apply, AT_ONCE, !is_new, |_| {}).await
}

async fn compare_all(
    app: &App,
    mode: Mode,
    at_once: usize,
    finds_buyers: bool,
    progress: impl Fn(usize),
) -> Result<Report> {
    let mut report = Report::default();
    let mut last: Option<CustomerId> = None;
    loop {
        let page = app.store.read().await?.linked_customers(last.as_ref(), PAGE).await?;
        let Some(newest) = page.last() else { break };
        if last.is_none() {
            // While nobody is linked, no event can be about anybody here.
            list_missed(app, mode, &mut report).await?;
        }
        last = Some(newest.clone());
        compare_each(app, page, mode, at_once, &mut report, &progress).await;
    }
    if last.is_some() || finds_buyers {
        Box::pin(find_unknown_buyers(app, mode, &mut report)).await?;
    }
    count(&report);
    if mode == Mode::Apply {
        note(app, &report).await?;
    }
    Ok(report)
}

/// Whether no unknown buyer and no earlier comparison is on record.
async fn is_new_installation(app: &App) -> Result<bool> {
    let mut tx = app.store.read().await?;
    Ok(tx.count_unknown_buyers().await? == 0 && self::last(&mut tx).await?.is_none())
}

/// Looks once more at what a comparison that repairs could not do: who was left out, and what could
/// not be listed. The others are left alone. What comes of it stands in the report.
///
/// # Errors
/// As [`everybody`].
pub async fn again(app: &App, report: &mut Report) -> Result<()> {
    if report.events_error.is_some() {
        list_missed(app, Mode::Apply, report).await?;
    }
    if report.buyers_error.is_some() {
        Box::pin(find_unknown_buyers(app, Mode::Apply, report)).await?;
    }
    let left_out = std::mem::take(&mut report.failed);
    let before = left_out.len();
    report.checked -= before;
    let ids = left_out.into_iter().map(|failed| failed.customer_id).collect();
    compare_each(app, ids, Mode::Apply, AT_ONCE, report, |_| {}).await;
    count(report);
    if report.failed.len() < before {
        note(app, report).await?;
    }
    Ok(())
}

/// Compares each of these with Stripe.
async fn compare_each(
    app: &App,
    ids: Vec<CustomerId>,
    mode: Mode,
    at_once: usize,
    report: &mut Report,
    progress: impl Fn(usize),
) {
    let compared = ids.into_iter().map(async |id| {
        // On its own: if the server stops meanwhile, its lease is still given back.
        let (own, about) = (app.clone(), id.clone());
        (id, app.tasks.run(async move { sync::compare(&own, &about, mode).await }).await)
    });
    let mut compared = stream::iter(compared).buffered(at_once);
    while let Some((customer_id, compared)) = compared.next().await {
        // Deleted meanwhile.
        if let Err(Error::NotFound(_)) = compared {
            continue;
        }
        report.add(customer_id, compared);
        progress(report.checked);
    }
}

/// For alarms.
fn count(report: &Report) {
    metrics::gauge!("licentia_drifted_customers").set(report.drifted.len() as f64);
    metrics::gauge!("licentia_uncompared_customers").set(report.failed.len() as f64);
}

/// Writes down that everybody was compared, for [`last`].
async fn note(app: &App, report: &Report) -> Result<()> {
    let comparison = Comparison {
        checked: report.checked,
        drifted: report.drifted.len(),
        failed: report.failed.len(),
        left: report.left(),
    };
    let entry = AuditEntry {
        actor: Actor::System,
        action: AuditAction::StripeCompared,
        customer_id: None,
        detail: json!(comparison),
    };
    let mut tx = app.store.write().await?;
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::ReconcileNoted)).await
}

/// When everybody was last compared with Stripe to the end, by whichever server or command, and
/// what was found.
pub(in crate::flows) async fn last(tx: &mut Tx) -> Result<Option<(Timestamp, Comparison)>> {
    let Some((at, detail)) = tx.last_comparison().await? else { return Ok(None) };
    let comparison = serde_json::from_str(&detail);
    let unread = |error| Error::Internal(format!("a comparison cannot be read: {error}"));
    Ok(Some((at, comparison.map_err(unread)?)))
}

/// Lists who bought and is unknown here, if it can be listed: their events may have been lost, or
/// there were none for us.
async fn find_unknown_buyers(app: &App, mode: Mode, report: &mut Report) -> Result<()> {
    match buyers::find(app, mode).await {
        Ok(found) => (report.unknown_buyers, report.buyers_error) = (found, None),
        Err(error @ Error::Stripe(_)) => {
            tracing::warn!(%error, "the subscriptions of the account cannot be listed");
            report.buyers_error = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Takes in what Stripe could not deliver, if it can be listed: the comparison does not need it.
async fn list_missed(app: &App, mode: Mode, report: &mut Report) -> Result<()> {
    match missed(app, mode).await {
        Ok(missed) => (report.missed_events, report.events_error) = (missed, None),
        Err(error @ Error::Stripe(_)) => {
            tracing::warn!(%error, "undelivered events cannot be listed");
            report.events_error = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Takes in what Stripe could not deliver; the worker works on it as on any event. Answers how many
/// were new.
async fn missed(app: &App, mode: Mode) -> Result<u64> {
    let stripe = app.stripe()?;
    let live = stripe.config().mode == crate::config::StripeMode::Live;
    let Undelivered { events, more } = stripe.undelivered_events().await?;
    if more {
        let listed = events.len();
        tracing::warn!(listed, "Stripe has more undelivered events; the newest are taken in");
    }
    let listed = events.into_iter().map(|event| event.to_string());
    let ours = listed.filter_map(|body| {
        let event = Envelope::parse(&body).ok()?;
        (event.livemode == live && event.is_of_interest()).then_some((event, body))
    });
    let mut ours: Vec<(Envelope, String)> = ours.collect();
    // In the order in which webhooks are stored, so that neither waits for the other for ever.
    ours.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let mut missed = 0;
    for batch in ours.chunks(BATCH) {
        let events = batch.iter().map(|(event, body)| (event, body.as_str()));
        let mut tx = app.store.write().await?;
        missed += tx.insert_events(events, app.now()).await?;
        if mode == Mode::Apply {
            tx.commit(app.fail_points.at(Place::ReconcileMissed)).await?;
        }
    }
    app.events_due.notify_one();
    Ok(missed)
}
