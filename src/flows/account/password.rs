//! Passwords: mails the link that sets one, sets it, and changes it.

use std::net::IpAddr;

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::account::password::Password;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::license::Source;
use crate::domain::message::Kind;
use crate::domain::operator::audit::AuditAction;
use crate::domain::outbox::To;
use crate::domain::sale::inbox::TaskKind;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::customer::{by_customer, personal, save};
use crate::flows::account::session::{self, NewSession, SignedIn};
use crate::flows::account::{attempts, mail_link};
use crate::flows::sale::inbox;
use crate::flows::{audit, license, mail, secret};
use crate::passwords::{NO_PASSWORD, PasswordCheck};
use crate::store::Tx;

/// Mails the link that sets a password, if the address has an account. That is read when the mail
/// is sent: here, an unknown address causes the same writes as a known one, so that the response
/// and its time do not reveal which one it is.
///
/// # Errors
/// A failure of the database.
pub async fn forgot(app: &App, email: &Email) -> Result<()> {
    let mut tx = app.store.write().await?;
    mail::enqueue(app, &mut tx, Kind::Reset, To::Address(email), app.now()).await?;
    tx.commit(app.fail_points.at(Place::ResetRequested)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Sets the password of the customer to whom the link with this token was mailed. It ends all login
/// sessions and every lockout, and opens a session. Returns it and the customer, whose address is
/// then verified. A refused password does not use the link. `client` is the name of the caller's
/// software, `address` is the caller's.
///
/// # Errors
/// [`Error::InvalidLink`] when there is no such link, or the customer's address has changed since.
/// [`Error::LinkUsed`], [`Error::LinkExpired`], [`Error::UnfitPassword`], or a failure of the
/// database.
pub async fn reset(
    app: &App,
    token: &str,
    password: Password,
    client: Option<String>,
    address: IpAddr,
) -> Result<(NewSession, Customer)> {
    secret::prepare(app).await?;
    let holder = mail_link::holder(app, LinkKind::Reset, token).await?;
    let names = [&holder.name, &holder.company_name];
    let hash = choose(app, password, &holder.email, names).await?;

    let now = app.now();
    let mut tx = app.store.write().await?;
    let (link, before) = mail_link::take(app, &mut tx, LinkKind::Reset, token).await?;
    if link.email != before.email {
        return Err(Error::InvalidLink);
    }
    let had_password = has_password(&mut tx, &before.email).await?;
    let customer = owned(app, &mut tx, &before, had_password, now).await?;
    tx.delete_sessions(&customer.user_id, None).await?;
    tx.delete_unused_mail_links(&customer.customer_id).await?;
    set(app, &mut tx, &customer, &hash, "reset", now).await?;
    let opened = session::open(app, &mut tx, &customer.user_id, client, now).await?;
    attempts::unlock(app, &mut tx, &customer, address, now).await?;
    let has_waiting = !tx.waiting_purchases(&customer.customer_id).await?.is_empty();
    // A stranger who signed up with the address has a license token, which could fetch what the
    // owner buys. The apps of an account that has paid, or was granted a license, keep theirs.
    let has_only_a_trial = async |tx: &mut Tx| {
        let current = tx.current_license(&customer.customer_id).await?;
        Ok::<_, Error>(current.is_none_or(|held| held.source == Source::Trial))
    };
    let is_first_proof = had_password && !before.is_email_verified();
    if had_password && has_waiting || is_first_proof && has_only_a_trial(&mut tx).await? {
        license::replace_all(app, &mut tx, &customer.customer_id, now).await?;
    }
    if has_waiting {
        let (kind, id) = (TaskKind::AddressProven, &customer.customer_id);
        inbox::queue_task(app, &mut tx, kind, id, now).await?;
    }
    app.fail_points.reach(Place::PasswordWritten);
    tx.commit(app.fail_points.at(Place::PasswordChanged)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok((opened, customer))
}

/// Returns whether the account with this address has a password. Imported accounts and those of
/// unknown buyers have none.
///
/// # Errors
/// A failure of the database.
pub(in crate::flows) async fn has_password(tx: &mut Tx, email: &Email) -> Result<bool> {
    let login = tx.login_of(email).await?;
    Ok(login.is_some_and(|(_, hash)| hash != NO_PASSWORD))
}

/// Changes the caller's password, and ends their other login sessions.
///
/// # Errors
/// [`Error::ResetRequired`]. [`Error::InvalidCredentials`] when `current` is wrong.
/// [`Error::UnfitPassword`], [`Error::Unauthenticated`] when the session has ended in the meantime,
/// or a failure of the database.
pub async fn change(
    app: &App,
    caller: &SignedIn,
    current: Password,
    password: Password,
) -> Result<()> {
    confirm(app, caller, current).await?;
    let customer = &caller.customer;
    let names = [&customer.name, &customer.company_name];
    let hash = choose(app, password, &customer.email, names).await?;

    let now = app.now();
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(&customer.customer_id).await?.ok_or(Error::Unauthenticated)?;
    let own = &caller.session.session_id;
    if !tx.password_entered(own, now).await? {
        // Ended in the meantime, perhaps by a reset: then `current` is no longer the password.
        return Err(Error::Unauthenticated);
    }
    tx.delete_sessions(&customer.user_id, Some(own)).await?;
    set(app, &mut tx, &customer, &hash, "password", now).await?;
    app.fail_points.reach(Place::PasswordWritten);
    tx.commit(app.fail_points.at(Place::PasswordChanged)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Checks the caller's password. The caller of this function checks under the customer's lock that
/// the session still exists: a reset and an undone change of the address end it.
///
/// # Errors
/// Those of [`refuse_if_reset_required`], [`Error::InvalidCredentials`], or a failure of the
/// database.
pub(super) async fn confirm(app: &App, caller: &SignedIn, current: Password) -> Result<()> {
    let customer = &caller.customer;
    refuse_if_reset_required(customer)?;
    let login = app.store.read().await?.login_of(&customer.email).await?;
    let own = login.filter(|(found, _)| found.customer_id == customer.customer_id);
    let check = app.passwords.check(current, own.map(|(_, hash)| hash)).await?;
    if check == PasswordCheck::Wrong { Err(Error::InvalidCredentials) } else { Ok(()) }
}

/// Refuses what cannot be undone while a reset is required: after an undone address change, a thief
/// may know the password until a mailed link has set another one.
///
/// # Errors
/// [`Error::ResetRequired`].
pub fn refuse_if_reset_required(customer: &Customer) -> Result<()> {
    if customer.reset_required_at.is_some() { Err(Error::ResetRequired) } else { Ok(()) }
}

/// Returns the hash of a new password if it is acceptable for this account.
///
/// # Errors
/// [`Error::UnfitPassword`], or [`Error::Busy`] when too many are waiting.
pub(in crate::flows) async fn choose(
    app: &App,
    password: Password,
    email: &Email,
    names: [&Option<DisplayName>; 2],
) -> Result<String> {
    let host = app.public_url.host().unwrap_or_default();
    let names = names.into_iter().flatten().map(DisplayName::as_str);
    let product = [app.plans.product.as_str(), &app.plans.name, &host, "licentia"];
    let about = [email.as_str()].into_iter().chain(product).chain(names);
    let about = about.map(str::to_owned).collect();
    app.passwords.choose(password, about, app.random.bytes()).await
}

/// Stores the hash of a new password, and mails the customer that it was changed. `by` is the proof
/// that the audit log names.
async fn set(
    app: &App,
    tx: &mut Tx,
    customer: &Customer,
    hash: &str,
    by: &str,
    now: Timestamp,
) -> Result<()> {
    tx.set_password_hash(&customer.user_id, hash, now).await?;
    let id = &customer.customer_id;
    mail::enqueue(app, tx, Kind::PasswordChanged, To::Customer(id), now).await?;
    let detail = json!({ "by": by });
    let entry = by_customer(id, AuditAction::CustomerPasswordChanged, detail);
    audit(app, tx, entry, now).await
}

/// Records that the customer reads the mailbox. Returns the customer. If the address was not
/// verified, a stranger who chose the password may have typed the names, so they are cleared: later
/// mails would contain them (security_34). Names of an account that had no password are the
/// vendor's.
async fn owned(
    app: &App,
    tx: &mut Tx,
    before: &Customer,
    had_password: bool,
    now: Timestamp,
) -> Result<Customer> {
    let mut after = Customer { pending_email: None, reset_required_at: None, ..before.clone() };
    if !before.is_email_verified() {
        after.email_verified_at = Some(now);
        if had_password {
            (after.name, after.company_name) = (None, None);
        }
    }
    if after == *before {
        return Ok(after);
    }
    let after = save(app, tx, before, &after, now).await?;
    if !before.is_email_verified() {
        let (id, action) = (&after.customer_id, AuditAction::CustomerVerified);
        let names = [
            ("name", before.name != after.name),
            ("company_name", before.company_name != after.company_name),
        ];
        let cleared = names.into_iter().filter(|(_, is_new)| *is_new).map(|(field, _)| field);
        let changed: Vec<_> = std::iter::once("email_verified").chain(cleared).collect();
        let entry = by_customer(id, action, json!({ "changed": changed }))
            .changed_personal(&personal(before), &personal(&after));
        audit(app, tx, entry, now).await?;
    }
    Ok(after)
}
