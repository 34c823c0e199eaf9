//! Reminders: a trial ends soon, a trial or another license has ended. Each is sent once, also if
//! several servers look at the same time.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::message::Kind;
use crate::domain::outbox::To;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::mail;

/// How long before its end a trial counts as ending soon.
const SOON: TimeDelta = TimeDelta::days(3);

/// How long after its end a license is still reported as ended: a weekend without a server. Without
/// a limit, the first version with reminders would write to every former customer.
const REPORTED_FOR: TimeDelta = TimeDelta::days(2);

/// How long the mail about the end of a subscription is awaited first, which says the same: events
/// from Stripe may be that late without a fault.
const PAUSE: TimeDelta = TimeDelta::hours(1);

/// The number of reminders that are added in one transaction.
const AT_ONCE: i64 = 200;

/// Adds the reminders that are due to the outbox. Returns their number.
///
/// # Errors
/// A failure of the database. Another call continues.
pub async fn queue(app: &App) -> Result<u64> {
    let now = app.now();
    let mut queued = 0;
    // A shorter trial would end soon from its beginning.
    if app.plans.trial_lasts() > SOON {
        queued += queue_kind(app, Kind::TrialEnding, true, (now, now + SOON)).await?;
    }
    queued += queue_kind(app, Kind::TrialEnded, true, (now - REPORTED_FOR, now)).await?;
    let ended = (now - REPORTED_FOR, now - PAUSE);
    queued += queue_kind(app, Kind::LicenseEnded, false, ended).await?;
    Ok(queued)
}

/// Adds the reminders of one kind about current licenses that end in a period.
async fn queue_kind(
    app: &App,
    kind: Kind,
    is_trial: bool,
    period: (Timestamp, Timestamp),
) -> Result<u64> {
    let mut queued = 0;
    loop {
        let mut tx = app.store.write().await?;
        let licenses = tx.licenses_to_remind(kind, is_trial, period, AT_ONCE).await?;
        if licenses.is_empty() {
            return Ok(queued);
        }
        let mut added = 0;
        for license in &licenses {
            let to = To::License(&license.customer_id, &license.license_id);
            let key = kind.once_key(license);
            added +=
                u64::from(mail::enqueue_as(app, &mut tx, kind, to, (None, key), app.now()).await?);
        }
        tx.commit(app.fail_points.at(Place::RemindersQueued)).await?;
        app.mail_due.notify_one();
        queued += added;
        if added == 0 {
            // Another server adds them at this moment.
            return Ok(queued);
        }
    }
}
