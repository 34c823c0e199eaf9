//! Mail: written into the outbox by the transaction of what it tells, and sent from there, at least
//! once. A repeat carries the same Message-ID.

use crate::app::App;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, LicenseId, MailId};
use crate::domain::license::{Phase, Source};
use crate::domain::message::{Facts, Kind, Letter};
use crate::domain::outbox::{LeasedMail, NewMail};
use crate::domain::plan::Catalog;
use crate::domain::queue::Leased;
use crate::domain::retry;
use crate::domain::time::{DAY, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::{brief, queue};
use crate::mailer::Recipient;
use crate::store::Tx;

/// Writes a mail with a license into the outbox, within the transaction that issued the license.
pub(super) async fn due(
    app: &App,
    tx: &mut Tx,
    kind: Kind,
    customer_id: &CustomerId,
    license_id: &LicenseId,
    now: Timestamp,
) -> Result<()> {
    let mail_id = MailId::from_random(app.random.bits());
    tx.insert_mail(NewMail { mail_id, customer_id, license_id, kind }, now).await
}

/// Takes mails that are due, `most` at the most.
///
/// # Errors
/// A failure of the database.
pub async fn take_due(app: &App, most: usize) -> Result<Vec<LeasedMail>> {
    queue::take(app, most, Place::MailTaken).await
}

/// Sends a mail that was taken.
///
/// # Errors
/// A failure of the database. That the mail is not accepted is none: it is tried again later.
pub async fn send(app: &App, mail: &LeasedMail) -> Result<()> {
    let sent = match compose(app, mail).await {
        Ok(Some((to, letter))) => {
            let at = app.fail_points.at(Place::MailAccepted);
            app.mailer.send(&mail.mail_id, &to, &letter, mail.created_at, at).await
        }
        // The customer was deleted meanwhile, and the mail with it.
        Ok(None) => return Ok(()),
        // A mail that cannot be written must not be tried for ever, nor hold up the others.
        Err(Error::Internal(problem)) => Err(problem),
        Err(error) => return Err(error),
    };
    let now = app.now();
    let mut tx = app.store.write().await?;
    match sent {
        Ok(()) => {
            tx.mail_sent(mail, now).await?;
            metrics::counter!("licentia_mails_total", "result" => "sent").increment(1);
        }
        Err(error) => {
            let error = brief(&error);
            let due = retry::next(mail.since(), mail.attempts, now, app.random.bits());
            tracing::warn!(mail_id = %mail.mail_id, error, given_up = due.is_none(), "not accepted");
            tx.failed(mail, &error, due, now).await?;
            metrics::counter!("licentia_mails_total", "result" => "failed").increment(1);
        }
    }
    tx.commit(app.fail_points.at(Place::MailNoted)).await?;
    Ok(())
}

/// Who a mail goes to, and what it says.
async fn compose(app: &App, mail: &LeasedMail) -> Result<Option<(Recipient, Letter)>> {
    let mut tx = app.store.read().await?;
    let customer = tx.customer(&mail.customer_id).await?;
    let license = tx.license(&mail.license_id).await?;
    let (Some(customer), Some(mut license)) = (customer, license) else { return Ok(None) };
    let mut kind = mail.kind.parse().map_err(|_| {
        Error::Internal(format!("this version does not know mails of the kind {:?}", mail.kind))
    })?;
    let carries = !matches!(kind, Kind::PaymentProblem | Kind::Cancellation);
    if carries && license.revoked_at.is_some() {
        // Taken back since, because its key was: the one in its place is what works.
        license = tx.current_license(&mail.customer_id).await?.unwrap_or(license);
    }
    let term = license.term();
    let works = license.works(app.now());
    // Somebody whose first payment failed has nothing that it could be about.
    let works = works && (kind != Kind::PaymentProblem || license.source == Source::Subscription);
    if carries && !works {
        // It ended while nobody accepted the mail.
        kind = Kind::Cancellation;
    }
    let facts = Facts {
        kind,
        product: app.plans.product.as_str(),
        name: customer.name.as_ref().map(DisplayName::as_str),
        plan: app.plans.plan(&license.plan).map_or(&*license.plan, |plan| &plan.name),
        // Past what was paid, the day that counts is the last of the grace.
        expires: if term.phase(app.now()) == Phase::Active { term.expires } else { term.ends() },
        token: Some(license.token.as_str()).filter(|_| works),
    };
    let letter = write(&facts)?;
    Ok(Some((Recipient { email: customer.email, name: customer.name }, letter)))
}

fn write(facts: &Facts<'_>) -> Result<Letter> {
    Letter::write(facts)
        .map_err(|error| Error::Internal(format!("a mail cannot be written: {error}")))
}

/// A mail as it would look, with a license that is none, or as it looks without one.
///
/// # Errors
/// [`Error::Internal`], which must not happen.
pub fn preview(catalog: &Catalog, kind: Kind, ended: bool, now: Timestamp) -> Result<Letter> {
    let plan = match kind {
        Kind::Trial => catalog.trial(),
        _ => catalog.plans.last().unwrap_or(catalog.trial()),
    };
    write(&Facts {
        kind,
        product: catalog.product.as_str(),
        name: None,
        plan: &plan.name,
        expires: Some(now.plus(i64::from(catalog.trial_days) * DAY)),
        token: Some("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl").filter(|_| !ended),
    })
}

/// Sends such a mail at once.
///
/// # Errors
/// [`Error::Setup`] with what the SMTP server said.
pub async fn send_test(app: &App, kind: Kind, to: Email) -> Result<()> {
    let letter = preview(&app.plans, kind, false, app.now())?;
    let mail_id = MailId::from_random(app.random.bits());
    let to = Recipient { email: to, name: None };
    let at = app.fail_points.at(Place::TestMailSent);
    let sent = app.mailer.send(&mail_id, &to, &letter, app.now(), at).await;
    sent.map_err(|error| Error::setup(format!("the mail was not accepted: {error}")))
}
