//! What happens in the background: the inbox and the outbox are drained, at once when something was
//! written into them, and every second for what is to be tried again. Whatever is slow (one customer's
//! sync, one mail) holds up nothing but itself.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::error::Result;
use crate::flows::{inbox, mail};

/// How often the boxes are looked at without having been told.
const POLL: Duration = Duration::from_secs(1);

/// Events that are worked on at once: as many calls as Stripe takes well from one account
/// (<https://docs.stripe.com/rate-limits>).
const EVENTS_AT_ONCE: usize = 32;

/// Mails that are sent at once; each has a connection to the SMTP server of its own.
const MAILS_AT_ONCE: usize = 10;

/// Works until `stopped` changes, and finishes what is under way.
pub async fn run(app: App, stopped: watch::Receiver<()>) {
    let (events, mails) = (app.clone(), app.clone());
    let inbox = drain(
        EVENTS_AT_ONCE,
        &app.events_due,
        stopped.clone(),
        |room| inbox::take_due(&app, room),
        move |(id, about)| {
            let app = events.clone();
            async move { inbox::work(&app, &id, &about).await }
        },
    );
    let outbox = drain(
        MAILS_AT_ONCE,
        &app.mail_due,
        stopped,
        |room| mail::take_due(&app, room),
        move |due| {
            let app = mails.clone();
            async move { mail::send(&app, &due).await }
        },
    );
    tokio::join!(inbox, outbox);
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

/// What failed here is tried again when its lease ends. A panic has been told on standard error.
fn tell(done: std::result::Result<Result<()>, tokio::task::JoinError>) {
    match done {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the database failed the worker"),
        Err(error) => tracing::error!(%error, "the worker ended"),
    }
}
