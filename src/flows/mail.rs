//! Mail. A transaction that changes a license also adds the mail about it to the outbox. Each mail
//! is sent from there at least once; a repeat has the same Message-ID. The texts are in
//! [`crate::domain::message`].

mod compose;
pub mod reminders;

use secrecy::ExposeSecret;
use serde_json::json;

use crate::app::App;
use crate::domain::contact::Email;
use crate::domain::ids::{MailId, OrderId};
use crate::domain::message::Kind;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::outbox::{GivenUpMail, LeasedMail, NewMail, To};
use crate::domain::queue::Leased;
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::{audit, brief, queue};
use crate::mailer::{Cause, NotSent, Recipient};
use crate::metrics::MailResult;
use crate::store::Tx;

/// Adds a mail to the outbox, in the transaction of the change that it reports. The caller notifies
/// [`crate::app::Parts::mail_due`] after the commit.
pub(super) async fn enqueue(
    app: &App,
    tx: &mut Tx,
    kind: Kind,
    to: To<'_>,
    now: Timestamp,
) -> Result<()> {
    enqueue_as(app, tx, kind, to, (None, None), now).await.map(|_| ())
}

/// Adds a mail like [`enqueue`], about an order, and only if there is no mail with this key.
/// Returns whether it was added.
pub(super) async fn enqueue_as(
    app: &App,
    tx: &mut Tx,
    kind: Kind,
    to: To<'_>,
    (order_id, once_key): (Option<&OrderId>, Option<String>),
    now: Timestamp,
) -> Result<bool> {
    let mail_id = MailId::from_random(app.random.bits());
    tx.insert_mail(NewMail { mail_id, kind, to, order_id, once_key }, now).await
}

/// Leases due mails, at most `most`. Returns them.
///
/// # Errors
/// A failure of the database.
pub async fn take_due(app: &App, most: usize) -> Result<Vec<LeasedMail>> {
    queue::lease_due(app, most, Place::MailTaken).await
}

/// Sends a leased mail. A mail that the server does not accept is retried with backoff. A mail that
/// it refuses permanently is given up at once (security_41).
///
/// # Errors
/// A failure of the database only.
pub async fn send(app: &App, mail: &LeasedMail) -> Result<()> {
    let sent = match compose::compose(app, mail).await {
        Ok(Some((to, letter))) => {
            let at = app.fail_points.at(Place::MailAccepted);
            app.mailer.send(&mail.mail_id, &to, &letter, mail.created_at, at).await
        }
        Ok(None) => return skip(app, mail).await,
        // A mail that cannot be rendered must not be retried forever, or hold up the others.
        Err(Error::Internal(problem)) => Err(NotSent::temporary(problem)),
        Err(error) => return Err(error),
    };
    let now = app.now();
    let mut tx = app.store.write().await?;
    match sent {
        Ok(()) => {
            tx.mail_sent(mail, now).await?;
            app.metrics.mails.of(MailResult::Sent).inc();
        }
        Err(not_sent) => {
            let error = brief(&not_sent.to_string());
            let (due, result) = match not_sent.cause() {
                Cause::Refused => (None, MailResult::Refused),
                Cause::Temporary | Cause::Setting(_) => {
                    let random = app.random.bits();
                    (retry::next(mail.since(), mail.attempts, now, random), MailResult::Failed)
                }
            };
            tracing::warn!(mail_id = %mail.mail_id, error, given_up = due.is_none(), "not sent");
            tx.failed(mail, &error, due, now).await?;
            app.metrics.mails.of(result).inc();
        }
    }
    tx.commit(app.fail_points.at(Place::MailRecorded)).await?;
    Ok(())
}

/// Records a mail that needs not be sent any more.
async fn skip(app: &App, mail: &LeasedMail) -> Result<()> {
    let mut tx = app.store.write().await?;
    tx.mail_sent(mail, app.now()).await?;
    tx.commit(app.fail_points.at(Place::MailRecorded)).await
}

/// The most mails that are listed, or retried in one transaction.
pub const MAX_LISTED: i64 = 1000;

/// Returns the mails that were given up, oldest first, at most [`MAX_LISTED`].
///
/// # Errors
/// A failure of the database.
pub async fn given_up(app: &App) -> Result<Vec<GivenUpMail>> {
    app.store.read().await?.given_up_mails(MAX_LISTED).await
}

/// Makes every mail that was given up due now. Returns their number.
///
/// # Errors
/// A failure of the database.
pub async fn retry_given_up(app: &App) -> Result<usize> {
    let now = app.now();
    let mut retried = 0;
    loop {
        let mut tx = app.store.write().await?;
        let mails = tx.given_up_mails(MAX_LISTED).await?;
        let is_last = i64::try_from(mails.len()).is_ok_and(|count| count < MAX_LISTED);
        for mail in mails {
            if !tx.retry_mail(&mail.mail_id, now).await? {
                continue;
            }
            let detail = json!({ "mail_id": mail.mail_id.as_str(), "last_error": mail.last_error });
            let (actor, action) = (Actor::Operator, AuditAction::MailRetried);
            let entry = AuditEntry::new(actor, action, mail.customer_id.as_ref(), detail);
            audit(app, &mut tx, entry, now).await?;
            retried += 1;
        }
        tx.commit(app.fail_points.at(Place::MailsRetried)).await?;
        if is_last {
            return Ok(retried);
        }
    }
}

/// Sends a mail of this kind with made-up facts, without the outbox.
///
/// # Errors
/// [`Error::Setup`] with the SMTP server's response.
pub async fn send_test(app: &App, kind: Kind, to: Email) -> Result<()> {
    let sample = (kind, kind.usual_case());
    let letter = app.templates.preview(sample, app.language, &app.plans, app.now());
    let letter = letter.map_err(|invalid| Error::setup(invalid.to_string()))?;
    let mail_id = MailId::from_random(app.random.bits());
    let to = Recipient { email: to, name: None };
    let at = app.fail_points.at(Place::TestMailSent);
    let sent = app.mailer.send(&mail_id, &to, &letter, app.now(), at).await;
    sent.map_err(|not_sent| {
        let response = not_sent.response().map(|text| format!(": {:?}", text.expose_secret()));
        let response = response.unwrap_or_default();
        let setting = match not_sent.cause() {
            Cause::Setting(setting) => format!("; check `{setting}`"),
            Cause::Temporary | Cause::Refused => String::new(),
        };
        Error::setup(format!("the mail was not accepted ({not_sent}){response}{setting}"))
    })
}
