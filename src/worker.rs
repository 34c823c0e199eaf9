//! What happens in the background: the inbox and the outbox are drained, at once when something was
//! written into them, and every second for what is to be tried again; once a day everybody is compared with
//! Stripe; what an alarm can hang on is counted; and an idle SQLite file is made complete. Whatever is slow
//! (one customer's sync, one mail) holds up nothing but itself; whatever ends is restarted.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::clock::within;
use crate::error::Result;
use crate::flows::Mode;
use crate::flows::reconcile::Report;
use crate::flows::{drift, inbox, mail, reconcile};
use crate::tasks::Background;

/// How often the boxes are looked at without having been told.
const POLL: Duration = Duration::from_secs(1);

/// Events that are worked on at once: as many calls as Stripe takes well from one account
/// (<https://docs.stripe.com/rate-limits>).
const EVENTS_AT_ONCE: usize = 32;

/// How long after one comparison with Stripe the next one begins.
const BETWEEN_COMPARISONS: Duration = Duration::from_secs(24 * 3600);

/// How long after one that did not end, and before those whom one left out are looked at again; that doubles
/// each time that somebody still is.
const BEFORE_COMPARING_AGAIN: Duration = Duration::from_secs(60);

/// How often what an alarm can hang on is counted: as often as figures are usually fetched, and seldom
/// enough to cost nothing where there are many customers.
const BETWEEN_COUNTS: Duration = Duration::from_secs(30);

/// Mails that are sent at once; each has a connection to the SMTP server of its own.
const MAILS_AT_ONCE: usize = 10;

/// A database that nobody wrote to for this long is idle. A checkpoint costs as much as a commit.
const IDLE: Duration = Duration::from_secs(2);

/// Works until `stopped` changes, and finishes what is under way. What ends before that is restarted.
pub async fn run(app: App, stopped: watch::Receiver<()>) {
    let (tasks, stopped) = (&app.tasks, || stopped.clone());
    let inbox = tasks.keep(Background::Inbox, stopped(), || drain_inbox(&app, stopped()));
    let outbox = tasks.keep(Background::Outbox, stopped(), || drain_outbox(&app, stopped()));
    let counts = tasks.keep(Background::Counts, stopped(), || count(&app, stopped()));
    let comparison = async {
        if app.stripe.is_some() {
            let begin = || compare_daily(&app, stopped());
            tasks.keep(Background::Reconcile, stopped(), begin).await;
        }
    };
    let checkpoints = async {
        if app.store.has_log() {
            let begin = || checkpoint_when_idle(&app, stopped());
            tasks.keep(Background::Checkpoint, stopped(), begin).await;
        }
    };
    tokio::join!(inbox, outbox, counts, comparison, checkpoints);
}

/// Works on events from Stripe.
async fn drain_inbox(app: &App, stopped: watch::Receiver<()>) {
    let take = |room| inbox::take_due(app, room);
    drain(EVENTS_AT_ONCE, &app.events_due, stopped, take, |(whose, about)| {
        let app = app.clone();
        async move { inbox::work(&app, &whose, &about).await }
    })
    .await;
}

/// Sends mails.
async fn drain_outbox(app: &App, stopped: watch::Receiver<()>) {
    let take = |room| mail::take_due(app, room);
    drain(MAILS_AT_ONCE, &app.mail_due, stopped, take, |due| {
        let app = app.clone();
        async move { mail::send(&app, &due).await }
    })
    .await;
}

/// Makes an idle SQLite file complete, so that a copy of it alone has everything.
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
                Ok(false) => tracing::debug!("the database is in use, and is checkpointed later"),
                Err(error) => tracing::warn!(%error, "the database cannot be checkpointed"),
            }
        }
        before = log;
    }
}

/// Counts what an alarm can hang on, at the start and regularly.
async fn count(app: &App, mut stopped: watch::Receiver<()>) {
    loop {
        if let Err(error) = drift::measure(app).await {
            tracing::warn!(%error, "who lacks a license could not be counted");
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_COUNTS) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Compares everybody with Stripe at the start and once a day, whatever the events said.
async fn compare_daily(app: &App, mut stopped: watch::Receiver<()>) {
    let mut is_first = true;
    loop {
        let compare = async {
            if std::mem::take(&mut is_first) {
                return reconcile::at_start(app).await;
            }
            reconcile::everybody(app, Mode::Apply, reconcile::AT_ONCE, |_| {}).await
        };
        let compared = tokio::select! {
            compared = compare => compared,
            _ = stopped.changed() => return,
        };
        let (pause, unfinished) = match compared {
            Ok(report) => {
                let (checked, drifted) = (report.checked, report.drifted.len());
                tracing::info!(
                    checked,
                    drifted,
                    failed = report.failed.len(),
                    "compared with Stripe"
                );
                (BETWEEN_COMPARISONS, Some(report))
            }
            Err(error) => {
                tracing::warn!(%error, "the comparison with Stripe did not end");
                (BEFORE_COMPARING_AGAIN, None)
            }
        };
        // Until then, only those who were left out.
        let rest = within(&*app.clock, pause, finish(app, unfinished));
        let next = async { tokio::join!(app.clock.sleep(pause), rest) };
        tokio::select! {
            _ = next => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Looks again at those whom a comparison left out, more and more seldom, and at nobody else: one who can
/// never be compared must not have everybody compared for ever.
async fn finish(app: &App, unfinished: Option<Report>) {
    let Some(mut report) = unfinished else { return };
    let mut pause = BEFORE_COMPARING_AGAIN;
    while report.is_unfinished() {
        tracing::warn!(failed = report.failed.len(), "some could not be compared with Stripe");
        app.clock.sleep(pause).await;
        pause *= 2;
        if let Err(error) = reconcile::again(app, &mut report).await {
            tracing::warn!(%error, "those who were left out could not be looked at again");
        }
    }
}

/// Takes what is due, as much as there is room for, and works on each by itself.
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
            tracing::error!(%error, "what is due cannot be looked up");
            Vec::new()
        });
        if !taken.is_empty() {
            for each in taken {
                busy.spawn(work(each));
            }
            // There may be more.
            continue;
        }
        tokio::select! {
            () = due.notified(), if room > 0 => {}
            () = tokio::time::sleep(POLL) => {}
            Some(done) = busy.join_next() => tell(done),
            _ = stopped.changed() => break,
        }
    }
    while let Some(done) = busy.join_next().await {
        tell(done);
    }
}

/// What failed here is tried again when its lease ends. A panic is in the log already.
fn tell(done: std::result::Result<Result<()>, tokio::task::JoinError>) {
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the database failed the worker"),
        Err(error) => tracing::error!(%error, "the worker ended"),
    }
}
