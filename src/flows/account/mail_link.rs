//! Links in mails: makes one while its mail is written, and takes the token that its holder sends.
//! The outbox has no token, so nobody who reads it can use a link.

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::{LinkKind, LinkToken, MailLink};
use crate::domain::contact::Email;
use crate::error::{Error, Result};
use crate::store::Tx;

/// Makes a link for a mail to this address, in the transaction of the caller. Returns its URL, or
/// `None` for an address that was changed in the meantime: the link would not work. A mail that is
/// written again gets another link; each works once.
pub(in crate::flows) async fn make(
    app: &App,
    tx: &mut Tx,
    kind: LinkKind,
    customer: &Customer,
    email: &Email,
) -> Result<Option<String>> {
    let now = app.now();
    let mut expires_at = now + kind.lifetime();
    let works = match kind {
        LinkKind::Verify if *email == customer.email => true,
        LinkKind::Verify => {
            let id = Some(&customer.customer_id);
            customer.pending_email.as_ref() == Some(email)
                && !tx.is_email_taken(email, id, now).await?
        }
        LinkKind::Reset | LinkKind::FirstPassword | LinkKind::Portal => *email == customer.email,
        LinkKind::Undo => {
            let former = tx.former_address(&customer.customer_id, email).await?;
            let until = former.map(|former| former.reserved_until).filter(|until| *until > now);
            expires_at = until.map_or(expires_at, |until| until.min(expires_at));
            until.is_some()
        }
    };
    if !works {
        return Ok(None);
    }
    let token = LinkToken::from_random(app.random.bytes());
    let link = MailLink {
        customer_id: customer.customer_id.clone(),
        kind,
        email: email.clone(),
        created_at: now,
        expires_at,
        used_at: None,
    };
    tx.insert_mail_link(&link, &token.hash()).await?;
    Ok(Some(kind.url(&app.public_url.to_string(), &token)))
}

/// Returns the customer of the link with this token, without using it: so that a long or refused
/// request does not cost its holder the link.
///
/// # Errors
/// Those of [`take`].
pub(in crate::flows) async fn holder(app: &App, kind: LinkKind, sent: &str) -> Result<Customer> {
    let token: LinkToken = sent.parse().map_err(|_| Error::InvalidLink)?;
    let mut tx = app.store.read().await?;
    let link = tx.mail_link(&token.hash(), kind).await?.ok_or(Error::InvalidLink)?;
    if link.used_at.is_some() || link.expires_at <= app.now() {
        return Err(refused(&link));
    }
    tx.customer(&link.customer_id).await?.ok_or(Error::InvalidLink)
}

/// Returns the error for a link that does not work any more.
fn refused(link: &MailLink) -> Error {
    if link.used_at.is_some() { Error::LinkUsed } else { Error::LinkExpired }
}

/// Returns the customer of a link that works repeatedly, if the link was mailed to the customer's
/// present address: a former address gives no access.
///
/// # Errors
/// [`Error::InvalidLink`] or [`Error::LinkExpired`].
pub(in crate::flows) async fn open(app: &App, kind: LinkKind, sent: &str) -> Result<Customer> {
    let token: LinkToken = sent.parse().map_err(|_| Error::InvalidLink)?;
    let mut tx = app.store.read().await?;
    let link = tx.mail_link(&token.hash(), kind).await?.ok_or(Error::InvalidLink)?;
    let customer = tx.customer(&link.customer_id).await?.ok_or(Error::InvalidLink)?;
    if link.email != customer.email {
        return Err(Error::InvalidLink);
    }
    if link.expires_at <= app.now() { Err(Error::LinkExpired) } else { Ok(customer) }
}

/// Uses the link with this token, in the transaction of its effect. Returns the link and its
/// customer, who is locked until the transaction ends. The caller checks `email`: the customer's
/// address may have changed since.
///
/// # Errors
/// [`Error::InvalidLink`] when the token is not one of this kind, or its customer was deleted.
/// [`Error::LinkUsed`] or [`Error::LinkExpired`].
pub(in crate::flows) async fn take(
    app: &App,
    tx: &mut Tx,
    kind: LinkKind,
    sent: &str,
) -> Result<(MailLink, Customer)> {
    let token: LinkToken = sent.parse().map_err(|_| Error::InvalidLink)?;
    let hash = token.hash();
    let link = tx.mail_link(&hash, kind).await?.ok_or(Error::InvalidLink)?;
    // Locked first, as in every flow: a deletion locks the customer and then deletes the link.
    let customer = tx.lock_customer(&link.customer_id).await?.ok_or(Error::InvalidLink)?;
    if tx.use_mail_link(&hash, app.now()).await? {
        return Ok((link, customer));
    }
    // Read again: another request may have used it in the meantime.
    let link = tx.mail_link(&hash, kind).await?.ok_or(Error::InvalidLink)?;
    Err(refused(&link))
}
