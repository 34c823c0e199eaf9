//! The customer's email address: sends the links that verify it, verifies it, changes it, and
//! undoes a change.

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::{Customer, FormerAddress};
use crate::domain::account::mail_link::{LinkKind, LinkToken};
use crate::domain::account::signup::Verification;
use crate::domain::contact::Email;
use crate::domain::message::Kind;
use crate::domain::operator::audit::AuditAction;
use crate::domain::outbox::To;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::customer::{by_customer, personal, save};
use crate::flows::account::session::SignedIn;
use crate::flows::account::{mail_link, pending};
use crate::flows::{audit, idempotency, mail, secret};
use crate::store::Tx;

/// Mails the link that verifies the caller's new address, or else the present one. There is no mail
/// if neither waits.
///
/// # Errors
/// A failure of the database.
pub async fn send_verification(app: &App, caller: &SignedIn) -> Result<()> {
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(&caller.customer.customer_id).await?;
    let customer = customer.ok_or(Error::Unauthenticated)?;
    let id = &customer.customer_id;
    let (kind, to) = match &customer.pending_email {
        Some(email) => (Kind::VerifyAddress, To::Other(id, email)),
        None if customer.is_email_verified() => return Ok(()),
        None => (Kind::Verify, To::Customer(id)),
    };
    mail::enqueue(app, &mut tx, kind, to, app.now()).await?;
    tx.commit(app.fail_points.at(Place::VerificationRequested)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Mails the link to a requested address, and a notice to the present one, in the transaction of
/// the caller.
///
/// # Errors
/// [`Error::EmailTaken`], or a failure of the database.
pub(super) async fn request(
    app: &App,
    tx: &mut Tx,
    customer: &Customer,
    email: &Email,
    now: Timestamp,
) -> Result<()> {
    let id = &customer.customer_id;
    // With required verification, nobody learns which addresses are taken: there is no mail then.
    let may_tell = app.signup_verification == Verification::Optional;
    if may_tell && tx.is_email_taken(email, Some(id), now).await? {
        return Err(Error::EmailTaken);
    }
    mail::enqueue(app, tx, Kind::VerifyAddress, To::Other(id, email), now).await?;
    let to = To::Other(id, &customer.email);
    mail::enqueue(app, tx, Kind::AddressChangeRequested, to, now).await
}

/// Verifies the address that the link with this token was mailed to. A new address then replaces
/// the present one, and a sign-up that waits becomes an account. Returns the customer.
///
/// # Errors
/// [`Error::InvalidLink`] when there is no such link, or the customer's address has changed since.
/// [`Error::LinkUsed`], [`Error::LinkExpired`], [`Error::EmailTaken`] for a new address that
/// belongs to another customer by now, or a failure of the database.
pub async fn verify(app: &App, token: &str) -> Result<Customer> {
    let parsed: LinkToken = token.parse().map_err(|_| Error::InvalidLink)?;
    if let Some(customer) = pending::confirm(app, &parsed).await? {
        return Ok(customer);
    }
    secret::prepare(app).await?;

    let now = app.now();
    let mut tx = app.store.write().await?;
    let (link, before) = mail_link::take(app, &mut tx, LinkKind::Verify, token).await?;
    let (customer, place) = if link.email == before.email {
        (verified(app, &mut tx, before, now).await?, Place::AddressVerified)
    } else if before.pending_email.as_ref() == Some(&link.email) {
        let after = Customer {
            email: link.email,
            email_verified_at: Some(now),
            pending_email: None,
            ..before.clone()
        };
        let after = change(app, &mut tx, &before, after, now).await?;
        app.fail_points.reach(Place::AddressWritten);
        (after, Place::AddressChanged)
    } else {
        return Err(Error::InvalidLink);
    };
    idempotency::record_created(&mut tx, customer.customer_id.as_str()).await?;
    tx.commit(app.fail_points.at(place)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(customer)
}

/// Records that the customer's address is verified. Returns the customer.
async fn verified(app: &App, tx: &mut Tx, before: Customer, now: Timestamp) -> Result<Customer> {
    if before.is_email_verified() {
        return Ok(before);
    }
    let after = Customer { email_verified_at: Some(now), ..before };
    let after = tx.update_customer(&after, now).await?;
    let (id, action) = (&after.customer_id, AuditAction::CustomerVerified);
    audit(app, tx, by_customer(id, action, json!({})), now).await?;
    Ok(after)
}

/// Changes the address, reserves the former one, and mails the link that undoes the change to it.
/// Returns the customer.
async fn change(
    app: &App,
    tx: &mut Tx,
    before: &Customer,
    after: Customer,
    now: Timestamp,
) -> Result<Customer> {
    let id = &before.customer_id;
    let after = save(app, tx, before, &after, now).await?;
    tx.delete_former_address(id, &after.email).await?;
    let former = FormerAddress {
        customer_id: id.clone(),
        email: before.email.clone(),
        seq: tx.next_former_seq(id).await?,
        email_verified_at: before.email_verified_at,
        reserved_until: now + LinkKind::Undo.lifetime(),
    };
    tx.insert_former_address(&former, now).await?;
    let entry =
        by_customer(id, AuditAction::CustomerAddressChanged, json!({ "changed": ["email"] }))
            .changed_personal(&personal(before), &personal(&after));
    audit(app, tx, entry, now).await?;
    mail::enqueue(app, tx, Kind::AddressChanged, To::Other(id, &before.email), now).await?;
    Ok(after)
}

/// Undoes a change of the address, and all later ones, with the token that was mailed to the former
/// address. It ends every login session and mails the link that sets a password: whoever changed
/// the address knows the present one. Until that link is used, the password logs in, and
/// [`crate::flows::account::password::refuse_if_reset_required`] refuses what a thief could do for
/// good. Returns the customer.
///
/// # Errors
/// [`Error::InvalidLink`] when there is no such link, or the change was already undone.
/// [`Error::LinkUsed`], [`Error::LinkExpired`], or a failure of the database.
pub async fn undo(app: &App, token: &str) -> Result<Customer> {
    secret::prepare(app).await?;

    let now = app.now();
    let mut tx = app.store.write().await?;
    let (link, before) = mail_link::take(app, &mut tx, LinkKind::Undo, token).await?;
    let id = &before.customer_id;
    let former = tx.former_address(id, &link.email).await?.ok_or(Error::InvalidLink)?;
    tx.delete_former_addresses_from(id, former.seq).await?;
    tx.delete_unused_mail_links(id).await?;
    tx.delete_sessions(&before.user_id, None).await?;
    let after = Customer {
        email: former.email,
        email_verified_at: former.email_verified_at,
        pending_email: None,
        reset_required_at: Some(now),
        ..before.clone()
    };
    let after = save(app, &mut tx, &before, &after, now).await?;
    let entry =
        by_customer(id, AuditAction::CustomerAddressUndone, json!({ "changed": ["email"] }))
            .changed_personal(&personal(&before), &personal(&after));
    audit(app, &mut tx, entry, now).await?;
    mail::enqueue(app, &mut tx, Kind::AddressUndone, To::Customer(id), now).await?;
    tx.commit(app.fail_points.at(Place::AddressUndone)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(after)
}
