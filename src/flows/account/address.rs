//! The customer's email address: sends the link that verifies it, and verifies it.

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::message::Kind;
use crate::domain::operator::audit::AuditAction;
use crate::domain::outbox::To;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::customer::by_customer;
use crate::flows::account::mail_link;
use crate::flows::account::session::SignedIn;
use crate::flows::{audit, mail};

/// Mails the link that verifies the caller's address. A verified address gets no mail.
///
/// # Errors
/// A failure of the database.
pub async fn send_verification(app: &App, caller: &SignedIn) -> Result<()> {
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(&caller.customer.customer_id).await?;
    let customer = customer.ok_or(Error::Unauthenticated)?;
    if customer.is_email_verified() {
        return Ok(());
    }
    let to = To::Customer(&customer.customer_id);
    mail::enqueue(app, &mut tx, Kind::Verify, to, app.now()).await?;
    tx.commit(app.fail_points.at(Place::VerificationRequested)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Verifies the address that the link with this token was mailed to. Returns the customer.
///
/// # Errors
/// [`Error::InvalidLink`] when there is no such link, or the customer's address has changed since.
/// [`Error::LinkUsed`], [`Error::LinkExpired`], or a failure of the database.
pub async fn verify(app: &App, token: &str) -> Result<Customer> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let (link, mut customer) = mail_link::take(app, &mut tx, LinkKind::Verify, token).await?;
    if link.email != customer.email {
        return Err(Error::InvalidLink);
    }
    if !customer.is_email_verified() {
        customer.email_verified_at = Some(now);
        customer = tx.update_customer(&customer, now).await?;
        let (id, action) = (&customer.customer_id, AuditAction::CustomerVerified);
        audit(app, &mut tx, by_customer(id, action, json!({})), now).await?;
    }
    tx.commit(app.fail_points.at(Place::AddressVerified)).await?;
    Ok(customer)
}
