//! The background work of a server. It drains the inbox, the outbox and the deliveries of outgoing
//! webhooks: at once when an entry was added, and every second for retries. It adds reminders every
//! hour, reconciles all customers with Stripe daily, sets the gauges for alarms, and checkpoints an
//! idle SQLite file. A slow sync, mail or receiver does not delay others. [`crate::tasks`] restarts
//! work that ends.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::clock::within;
use crate::domain::license::signing_key::NOTICED_WITHIN;
use crate::error::Result;
use crate::flows::mail::{self, reminders};
use crate::flows::operator::{customers, drift, outgoing};
use crate::flows::sale::inbox;
use crate::flows::sale::reconcile;
use crate::flows::sale::reconcile::Report;
use crate::flows::{Mode, license};
use crate::keys::bundle;
use crate::metrics::Background;

/// How often the queues are polled for retries, and for new deliveries of outgoing webhooks.
const POLL: Duration = Duration::from_secs(1);

/// The number of events that are processed concurrently, within Stripe's rate limits
/// (<https://docs.stripe.com/rate-limits>).
const EVENTS_AT_ONCE: usize = 32;

/// The time from one reconciliation to the next.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The pause before a failed reconciliation is repeated, and the first pause before its failed
/// parts are retried. The latter doubles with each retry.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// How often reminders are added to the outbox. One may be that much late.
const REMINDERS_INTERVAL: Duration = Duration::from_secs(3600);

/// How often the gauges are set: about as often as metrics are scraped.
const MEASURE_INTERVAL: Duration = Duration::from_secs(30);

/// The number of mails that are sent concurrently, each over its own SMTP connection.
const MAILS_AT_ONCE: usize = 10;

/// The number of outgoing webhooks that are delivered concurrently: seven for each of the most
/// webhooks, so that receivers that do not answer hold up no other.
const DELIVERIES_AT_ONCE: usize = 140;

/// How often the keys are read again: every server notices a change within a minute, also if one
/// reading fails.
const KEYS_INTERVAL: Duration = Duration::from_secs(20);

const _: () = assert!(KEYS_INTERVAL.as_secs() as i64 * 2 < NOTICED_WITHIN.num_seconds());

/// The database is idle when nothing was written for this long. A checkpoint costs about a commit.
const IDLE: Duration = Duration::from_secs(2);

/// Runs the background work until `stopped` changes, then finishes what it has started.
pub async fn run(app: App, stopped: watch::Receiver<()>) {
    let (tasks, stopped) = (&app.tasks, || stopped.clone());
    let inbox = tasks.keep(Background::Inbox, stopped(), || drain_inbox(&app, stopped()));
    let outbox = tasks.keep(Background::Outbox, stopped(), || drain_outbox(&app, stopped()));
    let deliver = || drain_deliveries(&app, stopped());
    let deliveries = tasks.keep(Background::Webhooks, stopped(), deliver);
    let gauges = tasks.keep(Background::Counts, stopped(), || measure(&app, stopped()));
    let reminders = tasks.keep(Background::Reminders, stopped(), || remind(&app, stopped()));
    let reconciliation = async {
        if app.stripe.is_some() {
            let begin = || reconcile_daily(&app, stopped());
            tasks.keep(Background::Reconcile, stopped(), begin).await;
        }
    };
    let checkpoints = async {
        if app.store.has_log() {
            let begin = || checkpoint_when_idle(&app, stopped());
            tasks.keep(Background::Checkpoint, stopped(), begin).await;
        }
    };
    let keys = tasks.keep(Background::Keys, stopped(), || follow_keys(&app, stopped()));
    let search = tasks.keep(Background::Search, stopped(), || fill_search(&app, stopped()));
    tokio::join!(
        inbox,
        outbox,
        deliveries,
        gauges,
        reminders,
        reconciliation,
        checkpoints,
        keys,
        search
    );
}

/// Processes events from Stripe.
async fn drain_inbox(app: &App, stopped: watch::Receiver<()>) {
    let take = |room| inbox::take_due(app, room);
    drain(EVENTS_AT_ONCE, &app.events_due, stopped, take, |(customer, events)| {
        let app = app.clone();
        async move { inbox::work(&app, &customer, &events).await }
    })
    .await;
}

/// Sends mails.
async fn drain_outbox(app: &App, stopped: watch::Receiver<()>) {
    let take = |room| mail::take_due(app, room);
    drain(MAILS_AT_ONCE, &app.mail_due, stopped, take, |mail| {
        let app = app.clone();
        async move { mail::send(&app, &mail).await }
    })
    .await;
}

/// Delivers outgoing webhooks.
async fn drain_deliveries(app: &App, stopped: watch::Receiver<()>) {
    let take = |room| outgoing::take_due(app, room);
    drain(DELIVERIES_AT_ONCE, &app.deliveries_due, stopped, take, |delivery| {
        let app = app.clone();
        async move { outgoing::deliver(&app, &delivery).await }
    })
    .await;
}

/// Checkpoints an idle SQLite file, so that a copy of the file alone is complete.
async fn checkpoint_when_idle(app: &App, mut stopped: watch::Receiver<()>) {
    let mut before = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            _ = stopped.changed() => return,
        }
        let log = app.store.log_state();
        if log.is_some() && log == before {
            match app.store.checkpoint().await {
                Ok(true) => {}
                Ok(false) => tracing::debug!("no checkpoint: the database is in use; retrying"),
                Err(error) => tracing::warn!(%error, "the checkpoint failed; retrying"),
            }
        }
        before = log;
    }
}

/// Writes the search terms of customers who are older than the search, then waits for the stop.
async fn fill_search(app: &App, mut stopped: watch::Receiver<()>) {
    let fill = async {
        while let Err(error) = customers::fill_search(app).await {
            tracing::warn!(%error, "the search terms could not be written; retrying");
            app.clock.sleep(RETRY_PAUSE).await;
        }
    };
    tokio::select! {
        () = fill => {}
        _ = stopped.changed() => return,
    }
    // It fails when the server is gone, which is a stop too.
    let _ = stopped.changed().await;
}

/// Sets the gauges for alarms, at the start and regularly.
async fn measure(app: &App, mut stopped: watch::Receiver<()>) {
    loop {
        if let Err(error) = drift::measure(app).await {
            tracing::warn!(%error, "the gauges could not be set");
        }
        tokio::select! {
            () = tokio::time::sleep(MEASURE_INTERVAL) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// The least time between two readings of the keys: an issue that finds its key ended asks for the
/// next one, also one that a reading causes.
const KEYS_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the keys are due, but not shorter than [`KEYS_PAUSE`].
async fn due_keys(app: &App) {
    tokio::time::sleep(KEYS_PAUSE).await;
    app.keys_due.notified().await;
}

/// Follows the signing keys: reads the files and the database again regularly, and at once on
/// SIGHUP.
async fn follow_keys(app: &App, mut stopped: watch::Receiver<()>) {
    let mut reported = String::new();
    let warning = || bundle::end_warning(app.keys.current().bundle.as_ref(), app.now());
    // The start has logged it.
    let mut warned = warning();
    loop {
        tokio::select! {
            () = tokio::time::sleep(KEYS_INTERVAL) => {}
            () = due_keys(app) => reported.clear(),
            _ = stopped.changed() => return,
        }
        let problem = license::keys::follow_keys(app).await.err().map(|error| error.to_string());
        let problem = problem.unwrap_or_default();
        if problem != reported && !problem.is_empty() {
            tracing::warn!(problem, "the keys could not all be read; retrying");
        }
        reported = problem;
        let warning = warning();
        if let Some(warning) = warning.as_ref().filter(|_| warning != warned) {
            tracing::warn!("{warning}");
        }
        warned = warning;
    }
}

/// Adds reminders to the outbox, at the start and every hour.
async fn remind(app: &App, mut stopped: watch::Receiver<()>) {
    loop {
        match reminders::queue(app).await {
            Ok(0) => {}
            Ok(reminders) => tracing::info!(reminders, "added reminders to the outbox"),
            Err(error) => tracing::warn!(%error, "reminders could not be added; retrying"),
        }
        tokio::select! {
            () = tokio::time::sleep(REMINDERS_INTERVAL) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Compares all customers with Stripe at the start and once a day, independently of events.
async fn reconcile_daily(app: &App, mut stopped: watch::Receiver<()>) {
    let mut is_first = true;
    loop {
        let reconcile = async {
            if std::mem::take(&mut is_first) {
                return reconcile::at_start(app).await;
            }
            reconcile::run(app, Mode::Apply, reconcile::AT_ONCE, |_| {}).await
        };
        let result = tokio::select! {
            result = reconcile => result,
            _ = stopped.changed() => return,
        };
        let (pause, unfinished) = match result {
            Ok(report) => {
                let (checked, drifted) = (report.checked, report.drifted.len());
                tracing::info!(
                    checked,
                    drifted,
                    failed = report.failed.len(),
                    "compared all customers with Stripe"
                );
                (RECONCILE_INTERVAL, Some(report))
            }
            Err(error) => {
                tracing::warn!(%error, "the reconciliation failed; retrying");
                (RETRY_PAUSE, None)
            }
        };
        // Until the next reconciliation, only the failed parts are retried.
        let rest = within(&*app.clock, pause, retry_failed(app, unfinished));
        let next = async { tokio::join!(app.clock.sleep(pause), rest) };
        tokio::select! {
            _ = next => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Retries the failed parts of a reconciliation, with backoff. A customer who can never be compared
/// must not cause another reconciliation of all customers.
async fn retry_failed(app: &App, unfinished: Option<Report>) {
    let Some(mut report) = unfinished else { return };
    let mut pause = RETRY_PAUSE;
    while report.is_unfinished() {
        let failed = report.failed.len();
        tracing::warn!(failed, "a part of the reconciliation failed; retrying");
        app.clock.sleep(pause).await;
        pause *= 2;
        reconcile::again(app, &mut report).await;
    }
}

/// Leases due entries, at most `at_once` at a time, and processes each in its own task. Returns
/// when `stopped` changes and all tasks have finished.
async fn drain<T, Taking, Working>(
    at_once: usize,
    due: &Notify,
    mut stopped: watch::Receiver<()>,
    take: impl Fn(usize) -> Taking,
    work: impl Fn(T) -> Working,
) where
    Taking: Future<Output = Result<Vec<T>>>,
    Working: Future<Output = Result<()>> + Send + 'static,
{
    let mut busy: JoinSet<Result<()>> = JoinSet::new();
    while !stopped.has_changed().unwrap_or(true) {
        let room = at_once.saturating_sub(busy.len());
        let taken = if room > 0 { take(room).await } else { Ok(Vec::new()) };
        let taken = taken.unwrap_or_else(|error| {
            tracing::error!(%error, "due entries cannot be read");
            Vec::new()
        });
        if !taken.is_empty() {
            for entry in taken {
                busy.spawn(work(entry));
            }
            // More entries may be due.
            continue;
        }
        tokio::select! {
            () = due.notified(), if room > 0 => {}
            () = tokio::time::sleep(POLL) => {}
            Some(done) = busy.join_next() => log_failure(done),
            _ = stopped.changed() => break,
        }
    }
    while let Some(done) = busy.join_next().await {
        log_failure(done);
    }
}

/// Logs a failure. The entry is retried when its lease expires.
fn log_failure(done: std::result::Result<Result<()>, tokio::task::JoinError>) {
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "an entry could not be processed; retrying"),
        Err(error) => tracing::error!(%error, "processing an entry was aborted; retrying"),
    }
}
