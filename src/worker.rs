//! What happens in the background: the inbox and the outbox are drained, at once when something was
//! written into them, and every second for what is to be tried again. Each has a loop of its own, so
//! that a slow mail server does not hold up a license, nor Stripe the mail.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};

use crate::app::App;
use crate::error::{Error, Result};
use crate::flows::{inbox, mail};

/// How often the boxes are looked at without having been told.
const POLL: Duration = Duration::from_secs(1);

/// Works until `stopped` changes, and finishes what is under way.
pub async fn run(app: App, stopped: watch::Receiver<()>) {
    let inbox = drain("inbox", &app.events_due, stopped.clone(), || inbox::work_on_due(&app));
    let outbox = drain("outbox", &app.mail_due, stopped, || mail::send_due(&app));
    tokio::join!(inbox, outbox);
}

async fn drain<F: Future<Output = Result<usize>>>(
    name: &'static str,
    due: &Notify,
    mut stopped: watch::Receiver<()>,
    work: impl Fn() -> F,
) {
    loop {
        let tried = AssertUnwindSafe(work()).catch_unwind().await;
        // A panic is told on standard error; what it was about is tried again when its lease ends.
        match tried.unwrap_or_else(|_| Err(Error::Internal("the worker panicked".into()))) {
            // There may be more.
            Ok(tried) if tried > 0 => {}
            Ok(_) => {
                tokio::select! {
                    () = due.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                    _ = stopped.changed() => return,
                }
            }
            Err(error) => {
                tracing::error!(%error, "the {name} cannot be drained");
                tokio::time::sleep(POLL).await;
            }
        }
        if stopped.has_changed().unwrap_or(true) {
            return;
        }
    }
}
