//! What happens in the background: the outbox is drained, at once when something was written into
//! it, and every second for what is to be tried again.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::app::App;
use crate::error::Error;
use crate::flows::mail;

/// How often the outbox is looked at without having been told.
const POLL: Duration = Duration::from_secs(1);

/// Works until `stopped` changes, and finishes what is under way.
pub async fn run(app: App, mut stopped: watch::Receiver<()>) {
    loop {
        let tried = AssertUnwindSafe(mail::send_due(&app)).catch_unwind().await;
        // A panic is told on standard error; what it was about is tried again when its lease ends.
        match tried.unwrap_or_else(|_| Err(Error::Internal("the worker panicked".into()))) {
            // There may be more.
            Ok(tried) if tried > 0 => {}
            Ok(_) => {
                tokio::select! {
                    () = app.mail_due.notified() => {}
                    () = tokio::time::sleep(POLL) => {}
                    _ = stopped.changed() => return,
                }
            }
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be drained");
                tokio::time::sleep(POLL).await;
            }
        }
        if stopped.has_changed().unwrap_or(true) {
            return;
        }
    }
}
