//! Changes and deletes the caller's own account. Signing up is in `signup.rs`.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::account::customer::{Customer, SyncStatus};
use crate::domain::account::password::Password;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, SessionId};
use crate::domain::message::{Kind, Language};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry, OwnedActor};
use crate::domain::outbox::To;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::session::SignedIn;
use crate::flows::account::{address, password, trial_memory};
use crate::flows::sale::inbox;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::stripe_customer;
use crate::flows::{audit, mail, secret};
use crate::store::Tx;

/// A change of an optional field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Keeps the value.
    Keep,
    /// Removes the value.
    Clear,
    /// Sets this value.
    Set(T),
}

impl<T> Change<T> {
    pub(in crate::flows) fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

/// A new email address, which is also the new login once it is confirmed.
#[derive(Debug)]
pub struct NewEmail {
    /// The address.
    pub email: Email,
    /// The current password, not checked yet.
    pub current_password: Option<Password>,
}

/// The fields that customers may change.
#[derive(Debug)]
pub struct AccountChange {
    /// The new email address. The present one cancels a change that is not confirmed yet.
    pub email: Option<NewEmail>,
    /// The person's name.
    pub name: Change<DisplayName>,
    /// The company's name.
    pub company_name: Change<DisplayName>,
    /// The language of mails.
    pub language: Change<Language>,
}

/// Returns the customer with this id.
///
/// # Errors
/// [`Error::NotFound`], or a failure of the database.
pub async fn get(app: &App, id: &CustomerId) -> Result<Customer> {
    app.store.read().await?.customer(id).await?.ok_or(Error::NotFound("customer"))
}

/// Changes the caller's account. Returns the customer. A new email address waits until the link in
/// the mail to it is used; a session alone does not request it (security_35).
///
/// # Errors
/// [`Error::PasswordRequired`], [`Error::ResetRequired`], [`Error::InvalidCredentials`],
/// [`Error::EmailTaken`], [`Error::Unauthenticated`] when the session has ended in the meantime, or
/// a failure of the database.
pub async fn update(app: &App, caller: &SignedIn, change: AccountChange) -> Result<Customer> {
    let mut pending = None;
    if let Some(NewEmail { email, current_password }) = change.email
        && caller.customer.pending_email.as_ref().unwrap_or(&caller.customer.email) != &email
    {
        let current = current_password.ok_or(Error::PasswordRequired)?;
        password::confirm(app, caller, current).await?;
        pending = Some(email);
    }

    let now = app.now();
    let mut tx = app.store.write().await?;
    // Read again under the lock: another change may have been made in the meantime.
    let Some(before) = tx.lock_customer(&caller.customer.customer_id).await? else {
        return Err(Error::Unauthenticated);
    };
    let mut after = before.clone();
    let session_id = &caller.session.session_id;
    let is_open = match pending {
        Some(email) => {
            after.pending_email = Some(email).filter(|email| *email != before.email);
            tx.password_entered(session_id, now).await?
        }
        None => tx.has_session(session_id).await?,
    };
    if !is_open {
        // Ended in the meantime, perhaps by a reset, which clears what a stranger had typed.
        return Err(Error::Unauthenticated);
    }
    change.name.apply(&mut after.name);
    change.company_name.apply(&mut after.company_name);
    change.language.apply(&mut after.language);
    if after == before {
        return Ok(before);
    }
    let changed = [
        ("pending_email", after.pending_email != before.pending_email),
        ("name", after.name != before.name),
        ("company_name", after.company_name != before.company_name),
        ("language", after.language != before.language),
    ];
    let changed: Vec<_> = changed.iter().filter(|(_, yes)| *yes).map(|(name, _)| name).collect();
    let after = save(app, &mut tx, &before, &after, now).await?;
    let requested =
        after.pending_email.as_ref().filter(|_| after.pending_email != before.pending_email);
    let action = match requested {
        Some(_) => AuditAction::CustomerAddressRequested,
        None => AuditAction::CustomerChanged,
    };
    let detail = json!({ "changed": changed });
    let entry = by_customer(&after.customer_id, action, detail)
        .changed_personal(&personal(&before), &personal(&after));
    audit(app, &mut tx, entry, now).await?;
    if let Some(email) = requested {
        address::request(app, &mut tx, &after, email, now).await?;
    }
    tx.commit(app.fail_points.at(Place::AccountChanged)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(after)
}

/// Stores a changed customer and queues the changed fields for Stripe. After an address change it
/// also remembers the trial of the former address, because another customer may take that address.
/// Before the transaction, a caller that changes the address calls [`secret::prepare`]; after the
/// commit, each caller notifies [`crate::app::Parts::events_due`]. Returns the customer.
///
/// # Errors
/// [`Error::EmailTaken`], or a failure of the database.
pub(in crate::flows) async fn save(
    app: &App,
    tx: &mut Tx,
    before: &Customer,
    after: &Customer,
    now: Timestamp,
) -> Result<Customer> {
    let after = tx.update_customer(after, now).await?;
    if after.email != before.email {
        trial_memory::remember(app, tx, &before.customer_id, &before.email, now).await?;
        tx.delete_waiting_purchases(&before.customer_id).await?;
    }
    send_to_stripe(app, tx, before, &after, now).await?;
    Ok(after)
}

/// Queues the changed fields for Stripe, if the customer is there. The caller notifies
/// [`crate::app::Parts::events_due`] after the commit.
async fn send_to_stripe(
    app: &App,
    tx: &mut Tx,
    before: &Customer,
    after: &Customer,
    now: Timestamp,
) -> Result<()> {
    let due = after.due_since(before);
    if after.stripe_customer_id.is_none() || due == SyncStatus::Synced {
        return Ok(());
    }
    let due = before.stripe_sync_status.map_or(due, |earlier| earlier.and(due));
    inbox::queue_customer_update(app, tx, &after.customer_id, due, now).await
}

/// Deletes the caller's account, as [`remove`] does.
///
/// # Errors
/// [`Error::ResetRequired`]. [`Error::LoginRequired`] when the password was not entered recently in
/// the caller's session. [`Error::Unauthenticated`] when the session has ended in the meantime, or
/// another deletion was faster. Those of [`remove`].
pub async fn delete(app: &App, caller: &SignedIn) -> Result<()> {
    password::refuse_if_reset_required(&caller.customer)?;
    if !caller.session.is_password_recent(app.now()) {
        return Err(Error::LoginRequired);
    }
    let session = Some(caller.session.session_id.clone());
    let removed = remove(app, &caller.customer.customer_id, OwnedActor::Customer, session).await;
    removed.map_err(already_deleted)
}

/// Deletes a customer with the user, login sessions and licenses. Subscriptions are canceled first,
/// so that a deleted customer is not charged. `session` is that of a customer who asks for it.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::Stripe`] when a subscription could
/// not be canceled: then nothing is deleted. A failure of the database.
pub(in crate::flows) async fn remove(
    app: &App,
    customer_id: &CustomerId,
    by: OwnedActor,
    session: Option<SessionId>,
) -> Result<()> {
    let missing = || Error::NotFound("customer");
    secret::prepare(app).await?;
    let customer = app.store.read().await?.customer(customer_id).await?.ok_or_else(missing)?;
    if app.stripe.is_none() && customer.stripe_customer_id.is_none() {
        let mut tx = app.store.write().await?;
        // Locks the customer first, like every flow. Of two deletions, one finds no customer.
        let customer = tx.lock_customer(customer_id).await?.ok_or_else(missing)?;
        return delete_here(app, tx, &customer, by.actor(), session.as_ref()).await;
    }
    // Runs in its own task: a disconnect must not interrupt it and leave the lease taken.
    let (own, customer_id) = (app.clone(), customer_id.clone());
    app.tasks
        .run(async move {
            let lease = Lease::take(&own, &customer_id).await?;
            let work = async {
                // Checked before something is canceled at Stripe, and again before the deletion.
                let mut tx = own.store.read().await?;
                if let Some(customer) = tx.customer(&customer_id).await? {
                    check_asker(&mut tx, &customer, session.as_ref()).await?;
                }
                drop(tx);
                stripe_customer::close(&own, &lease).await?;
                let mut tx = own.store.write().await?;
                // Deletes only while the lease holds. Otherwise a checkout opened in the meantime
                // could be paid for a deleted account.
                let customer = lease.lock(&mut tx).await?;
                delete_here(&own, tx, &customer, by.actor(), session.as_ref()).await
            };
            lease.during(&own, work).await
        })
        .await
}

/// Maps a missing customer to a missing login: another deletion was faster.
fn already_deleted(error: Error) -> Error {
    if matches!(error, Error::NotFound(_)) { Error::Unauthenticated } else { error }
}

/// Checks that a customer who asks for the deletion in a session may still do so: the change of the
/// address may have been undone in the meantime, and a reset may have ended the session.
///
/// # Errors
/// [`Error::ResetRequired`], [`Error::Unauthenticated`], or a failure of the database.
async fn check_asker(tx: &mut Tx, customer: &Customer, session: Option<&SessionId>) -> Result<()> {
    let Some(session) = session else { return Ok(()) };
    password::refuse_if_reset_required(customer)?;
    if tx.has_session(session).await? { Ok(()) } else { Err(Error::Unauthenticated) }
}

/// Deletes a locked customer, and mails the address that it was deleted.
async fn delete_here(
    app: &App,
    mut tx: Tx,
    customer: &Customer,
    by: Actor<'_>,
    session: Option<&SessionId>,
) -> Result<()> {
    let now = app.now();
    check_asker(&mut tx, customer, session).await?;
    let subscription = tx.subscription(&customer.customer_id).await?;
    if subscription.is_some_and(|row| row.status.is_live()) {
        let (id, action) = (&customer.customer_id, AuditAction::CustomerChurned);
        let entry = AuditEntry::new(Actor::System, action, Some(id), json!({}));
        audit(app, &mut tx, entry, now).await?;
    }
    tx.forget_events_of(customer).await?;
    tx.forget_personal_values(&customer.customer_id).await?;
    trial_memory::remember(app, &mut tx, &customer.customer_id, &customer.email, now).await?;
    tx.forget_requests_of(customer).await?;
    if let Some(stripe_id) = &customer.stripe_customer_id {
        tx.remember_deleted_buyer(stripe_id, &customer.customer_id, now).await?;
    }
    tx.delete_user(&customer.user_id, now).await?;
    let (id, action) = (&customer.customer_id, AuditAction::CustomerDeleted);
    let entry = AuditEntry::new(by, action, Some(id), json!({}));
    audit(app, &mut tx, entry, now).await?;
    mail::enqueue(app, &mut tx, Kind::AccountDeleted, To::Former(customer), now).await?;
    tx.commit(app.fail_points.at(Place::AccountDeleted)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Returns the values of a customer that the audit log keeps until the customer is deleted.
pub(in crate::flows) fn personal(customer: &Customer) -> Value {
    let text = |name: &Option<DisplayName>| name.as_ref().map(|name| name.as_str().to_owned());
    json!({
        "email": customer.email.as_str(),
        "pending_email": customer.pending_email.as_ref().map(Email::as_str),
        "name": text(&customer.name),
        "company_name": text(&customer.company_name),
    })
}

/// Returns the audit entry of an action by a customer.
pub(in crate::flows) fn by_customer<'a>(
    customer_id: &'a CustomerId,
    action: AuditAction,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry::new(Actor::Customer, action, Some(customer_id), detail)
}
