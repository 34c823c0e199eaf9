//! A sign-up that waits until its address is confirmed (`signup.verification = "required"`).
//!
//! The response, its time and the writes are the same for every address, so that nobody learns
//! which ones have an account (security_15). Whether there is one is read when the mail is written:
//! its owner then gets a mail that says so. Each sign-up has a link of its own, so the link of one
//! never activates the password of another.

use crate::app::App;
use crate::domain::account::customer::{Customer, NewAccount};
use crate::domain::account::mail_link::{LinkKind, LinkToken};
use crate::domain::account::signup::PendingSignup;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, MailId, UserId};
use crate::domain::message::{Kind, Language};
use crate::domain::outbox::{NewMail, To};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::password;
use crate::flows::account::signup::{self, Signup};
use crate::flows::idempotency;
use crate::store::Tx;

/// Stores a sign-up, and queues the mail with the link that confirms it.
///
/// # Errors
/// [`Error::UnfitPassword`], or a failure of the database.
pub async fn sign_up(app: &App, request: Signup) -> Result<()> {
    let Signup { email, password, name, company_name, language } = request;
    let password_hash = password::choose(app, password, &email, [&name, &company_name]).await?;
    let now = app.now();
    let mail_id = MailId::from_random(app.random.bits());
    let pending = PendingSignup {
        mail_id: mail_id.clone(),
        email: email.to_string(),
        password_hash,
        name: name.map(|name| name.to_string()),
        company_name: company_name.map(|name| name.to_string()),
        language,
        created_at: now,
        kept_until: PendingSignup::kept_until(now),
        confirmed_at: None,
    };
    let mut tx = app.store.write().await?;
    tx.insert_pending_signup(&pending).await?;
    let (kind, to) = (Kind::ConfirmSignup, To::Address(&email));
    let mail = NewMail { mail_id, kind, to, order_id: None, once_key: None };
    tx.insert_mail(mail, now).await?;
    tx.commit(app.fail_points.at(Place::SignupPending)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// The mail to the owner of a mailbox about a sign-up with its address.
pub(in crate::flows) enum SignupMail {
    /// The link that confirms it, in this language.
    Link(String, Option<Language>),
    /// The address has an account.
    AccountExists,
    /// The address is reserved for a customer who had it before.
    AddressReserved,
    /// No mail: the sign-up was confirmed or has expired.
    Nothing,
}

/// Makes the link for the mail about a sign-up.
///
/// # Errors
/// A failure of the database.
pub(in crate::flows) async fn link(
    app: &App,
    mail_id: &MailId,
    email: &Email,
) -> Result<SignupMail> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    if tx.customer_by_email(email).await?.is_some() {
        return Ok(SignupMail::AccountExists);
    }
    let pending = tx.pending_signup(mail_id).await?;
    let Some(pending) = pending.filter(|pending| pending.confirmed_at.is_none()) else {
        return Ok(SignupMail::Nothing);
    };
    if tx.reserved_for(email, now).await?.is_some() {
        return Ok(SignupMail::AddressReserved);
    }
    let token = LinkToken::from_random(app.random.bytes());
    let expires_at = now + LinkKind::Verify.lifetime();
    tx.insert_signup_link(&token.hash(), mail_id, expires_at).await?;
    tx.commit(app.fail_points.at(Place::MailLinkMade)).await?;
    let url = LinkKind::Verify.url(&app.public_url.to_string(), &token);
    Ok(SignupMail::Link(url, pending.language))
}

/// Creates the account of the sign-up that the link with this token confirms. Returns the customer,
/// or `None` if the token belongs to no sign-up.
///
/// # Errors
/// [`Error::LinkUsed`], [`Error::LinkExpired`], [`Error::EmailTaken`] when the address has got an
/// account in another way, or a failure of the database.
pub(super) async fn confirm(app: &App, token: &LinkToken) -> Result<Option<Customer>> {
    let mut tx = app.store.read().await?;
    let Some((mail_id, expires_at)) = tx.signup_link(&token.hash()).await? else { return Ok(None) };
    let pending = waiting(&mut tx, &mail_id).await?;
    drop(tx);
    let now = app.now();
    let email: Email = pending.email.parse().map_err(|_| Error::LinkUsed)?;
    if expires_at <= now {
        return Err(Error::LinkExpired);
    }
    // They were parsed at the sign-up.
    let name = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let account = NewAccount {
        user_id: UserId::from_random(app.random.bits()),
        customer_id: CustomerId::from_random(app.random.bits()),
        password_hash: pending.password_hash,
        name: name(pending.name),
        company_name: name(pending.company_name),
        email_verified_at: Some(now),
        language: pending.language,
        email: email.clone(),
    };

    let mut tx = app.store.write().await?;
    // The account is first: of several confirmations for one address at once, one inserts it, and
    // the others wait for that. Each has another sign-up to mark.
    let customer = match signup::create(app, &mut tx, account, now).await {
        Ok((customer, _)) => customer,
        Err(Error::EmailTaken) => {
            drop(tx);
            waiting(&mut app.store.read().await?, &mail_id).await?;
            return Err(Error::EmailTaken);
        }
        Err(error) => return Err(error),
    };
    idempotency::record_created(&mut tx, customer.customer_id.as_str()).await?;
    if !tx.confirm_signup(&mail_id, &email, now).await? {
        return Err(Error::LinkUsed);
    }
    app.fail_points.reach(Place::SignupConfirmWritten);
    tx.commit(app.fail_points.at(Place::SignupConfirmed)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(Some(customer))
}

/// Returns a sign-up that is not confirmed yet.
///
/// # Errors
/// [`Error::LinkUsed`] for a confirmed one, [`Error::InvalidLink`] when another one for the address
/// was confirmed.
async fn waiting(tx: &mut Tx, mail_id: &MailId) -> Result<PendingSignup> {
    let pending = tx.pending_signup(mail_id).await?.ok_or(Error::InvalidLink)?;
    if pending.confirmed_at.is_some() { Err(Error::LinkUsed) } else { Ok(pending) }
}
