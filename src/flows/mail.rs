//! Mail. A transaction that changes a license also adds the mail about it to the outbox. Each mail
//! is sent from there at least once; a repeat has the same Message-ID. The texts are in
//! [`crate::domain::message`].

use secrecy::ExposeSecret;
use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::MailId;
use crate::domain::license::IssuedLicense;
use crate::domain::message::{Facts, Kind, Letter, Link};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::outbox::{GivenUpMail, LeasedMail, NewMail, To};
use crate::domain::queue::Leased;
use crate::domain::retry;
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::mail_link;
use crate::flows::account::pending::{self, Told};
use crate::flows::{audit, brief, license, queue};
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
    let mail_id = MailId::from_random(app.random.bits());
    tx.insert_mail(NewMail { mail_id, kind, to }, now).await
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
    let sent = match compose(app, mail).await {
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

/// Returns the recipient and the text of a mail. Returns `None` if it needs not be sent any more:
/// the customer was deleted or has already verified the address, the address has no account, or its
/// link would not work.
///
/// The customer's name is used only if the email address is verified. Otherwise anyone could sign
/// up with another person's address, and put a message to them into the name (security_34).
async fn compose(app: &App, mail: &LeasedMail) -> Result<Option<(Recipient, Letter)>> {
    let mut kind: Kind = mail.kind.parse().map_err(|_| {
        Error::Internal(format!("this version does not know mails of the kind {:?}", mail.kind))
    })?;
    match (kind, &mail.recipient) {
        (Kind::ConfirmSignup, Some(email)) => match pending::link(app, &mail.mail_id, email).await?
        {
            Told::Link(url) => {
                let link = Some(Link { kind: LinkKind::Verify, url: &url });
                let facts = Facts::about(kind, None, None, &app.plans, app.now());
                let to = Recipient { email: email.clone(), name: None };
                return Ok(Some((to, write(&Facts { link, ..facts })?)));
            }
            Told::AccountExists => kind = Kind::AccountExists,
            Told::Nothing => return Ok(None),
        },
        (Kind::ConfirmSignup, None) => return Ok(None),
        (Kind::Recovered, Some(email)) => license::freshen(app, email).await?,
        _ => {}
    }
    let mut tx =
        if kind.link().is_some() { app.store.write().await? } else { app.store.read().await? };
    let Some(About { customer, license, email }) = about(&mut tx, kind, mail).await? else {
        return Ok(None);
    };
    // A new or a former address is not known to be theirs.
    let is_verified =
        customer.as_ref().is_some_and(|one| one.is_email_verified() && one.email == email);
    if is_verified && matches!(kind, Kind::Verify | Kind::VerifyAddress) {
        return Ok(None);
    }
    let mut link: Option<(LinkKind, String)> = None;
    if let (Some(kind), Some(customer)) = (kind.link(), &customer)
        && !(is_verified && kind == LinkKind::Verify)
    {
        let Some(url) = mail_link::make(app, &mut tx, kind, customer, &email).await? else {
            return Ok(None);
        };
        link = Some((kind, url));
        tx.commit(app.fail_points.at(Place::MailLinkMade)).await?;
    }
    let name = customer.and_then(|customer| customer.name).filter(|_| is_verified);
    let greeted = name.as_ref().map(DisplayName::as_str);
    let facts = Facts::about(kind, license.as_ref(), greeted, &app.plans, app.now());
    let link = link.as_ref().map(|(kind, url)| Link { kind: *kind, url });
    let letter = write(&Facts { link, ..facts })?;
    Ok(Some((Recipient { email, name }, letter)))
}

/// The customer and the license that a mail is about, and its address.
struct About {
    customer: Option<Customer>,
    license: Option<IssuedLicense>,
    email: Email,
}

/// Reads what a mail is about. Returns `None` if the customer was deleted in the meantime, and the
/// mail with them; also for a link to set a password and for the license, if the address has no account.
async fn about(tx: &mut Tx, kind: Kind, mail: &LeasedMail) -> Result<Option<About>> {
    let Some(id) = &mail.customer_id else {
        let Some(email) = mail.recipient.clone() else { return Ok(None) };
        if kind == Kind::Recovered {
            let Some(customer) = tx.customer_by_email(&email).await? else { return Ok(None) };
            let license = tx.current_license(&customer.customer_id).await?;
            return Ok(Some(About { customer: Some(customer), license, email }));
        }
        let customer = match kind.link() {
            Some(_) => match owner(tx, &email).await? {
                None => return Ok(None),
                owner => owner,
            },
            None => None,
        };
        return Ok(Some(About { customer, license: None, email }));
    };
    let customer =
        if kind.link().is_some() { tx.lock_customer(id).await? } else { tx.customer(id).await? };
    let Some(customer) = customer else { return Ok(None) };
    let mut license = match &mail.license_id {
        Some(license_id) => tx.license(license_id).await?,
        None => None,
    };
    if kind.needs_license() && license.as_ref().is_some_and(|one| one.revoked_at.is_some()) {
        // The license was revoked in the meantime: the current one is sent instead.
        license = tx.current_license(id).await?.or(license);
    }
    let email = mail.recipient.clone().unwrap_or_else(|| customer.email.clone());
    Ok(Some(About { customer: Some(customer), license, email }))
}

/// Returns the customer with this address, locked.
async fn owner(tx: &mut Tx, email: &Email) -> Result<Option<Customer>> {
    let Some(found) = tx.customer_by_email(email).await? else { return Ok(None) };
    let customer = tx.lock_customer(&found.customer_id).await?;
    Ok(customer.filter(|customer| customer.email == *email))
}

fn write(facts: &Facts<'_>) -> Result<Letter> {
    Letter::write(facts)
        .map_err(|error| Error::Internal(format!("a mail cannot be written: {error}")))
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

/// The link in a previewed mail.
const SAMPLE_LINK: &str = "https://licenses.acme.example/account/sample#token=llnk_sample";

/// Returns a mail of this kind with made-up facts. `ended` selects the text for a license that
/// has ended.
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
        product: &catalog.name,
        name: None,
        plan: &plan.name,
        expires: Some(now + catalog.trial_lasts()),
        token: Some("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl")
            .filter(|_| !ended && kind.has_license()),
        link: kind.link().map(|kind| Link { kind, url: SAMPLE_LINK }),
    })
}

/// Sends a mail of this kind with a sample license, without the outbox.
///
/// # Errors
/// [`Error::Setup`] with the SMTP server's response.
pub async fn send_test(app: &App, kind: Kind, to: Email) -> Result<()> {
    let letter = preview(&app.plans, kind, false, app.now())?;
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
