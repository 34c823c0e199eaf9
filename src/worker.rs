//! What happens in the background: the outbox is drained, at once when something was written into
//! it, and every second for what is to be tried again.

use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::flows::mail;

/// How often the outbox is looked at without having been told.
const POLL: Duration = Duration::from_secs(1);

/// Works until `stopped` changes, and finishes what is under way.
pub async fn run(app: App, mut stopped: watch::Receiver<()>) {
    loop {
        match mail::send_due(&app).await {
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
