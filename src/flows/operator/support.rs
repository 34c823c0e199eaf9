//! Support for customers: creates, changes and deletes customers, syncs and links them with Stripe,
//! mails the link that sets a password, and ends login sessions. Licenses are in `licenses.rs`.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::account::customer::{Customer, NewAccount};
use crate::domain::account::metadata::Metadata;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::message::Kind;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry, OwnedActor};
use crate::domain::outbox::To;
use crate::domain::sale::buyer::BuyerId;
use crate::domain::sale::inbox::TaskKind;
use crate::domain::sale::settlement::SyncReport;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::customer::{self, Change, personal};
use crate::flows::account::trial_memory;
use crate::flows::sale::{buyer_claim, claim, inbox, sync};
use crate::flows::{Mode, audit, idempotency, mail, secret};
use crate::passwords::NO_PASSWORD;
use crate::store::Tx;

/// A customer to create. The link in a mail sets the first password.
#[derive(Debug)]
pub struct NewCustomer {
    /// The email address, which is also the login.
    pub email: Email,
    /// Whether support vouches for the address.
    pub email_verified: bool,
    /// The person's name.
    pub name: Option<DisplayName>,
    /// The company's name.
    pub company_name: Option<DisplayName>,
    /// The texts that support keeps.
    pub metadata: Metadata,
}

/// The fields that support changes.
#[derive(Debug)]
pub struct RecordChange {
    /// The new address, which takes effect at once.
    pub email: Option<Email>,
    /// Whether the address is verified. `None` keeps it; a new address is then not verified.
    pub email_verified: Option<bool>,
    /// The person's name.
    pub name: Change<DisplayName>,
    /// The company's name.
    pub company_name: Change<DisplayName>,
    /// The texts that replace the kept ones.
    pub metadata: Option<Metadata>,
}

/// Creates a customer without a password and without a license. Returns the id.
///
/// # Errors
/// [`Error::EmailTaken`], or a failure of the database.
pub async fn create(app: &App, by: Actor<'_>, new: NewCustomer) -> Result<CustomerId> {
    let now = app.now();
    let account = NewAccount {
        user_id: UserId::from_random(app.random.bits()),
        customer_id: CustomerId::from_random(app.random.bits()),
        email: new.email,
        password_hash: NO_PASSWORD.to_owned(),
        name: new.name,
        company_name: new.company_name,
        email_verified_at: new.email_verified.then_some(now),
        language: None,
    };
    let mut tx = app.store.write().await?;
    let (customer, _) = trial_memory::insert_account(app, &mut tx, account, now).await?;
    let id = &customer.customer_id;
    idempotency::record_created(&mut tx, id.as_str()).await?;
    tx.set_metadata(id, &new.metadata, now).await?;
    let entry = AuditEntry::new(by, AuditAction::CustomerCreated, Some(id), json!({}))
        .changed_personal(&Value::Null, &record(&customer, &new.metadata));
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::CustomerCreated)).await?;
    Ok(customer.customer_id)
}

/// Changes a customer. A new address takes effect at once: both addresses get a notice, and the
/// links that were mailed before no longer work. Purchases that wait for proof of the address are
/// claimed if it is verified now.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::EmailTaken`], or a failure of the
/// database.
pub async fn change(app: &App, by: Actor<'_>, id: &CustomerId, change: RecordChange) -> Result<()> {
    secret::prepare(app).await?;
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = tx.lock_customer(id).await?.ok_or(Error::NotFound("customer"))?;
    let kept = tx.metadata(id).await?;
    let metadata = change.metadata.unwrap_or_else(|| kept.clone());
    let mut after = before.clone();
    if let Some(email) = change.email.filter(|email| *email != before.email) {
        (after.email, after.email_verified_at, after.pending_email) = (email, None, None);
    }
    match change.email_verified {
        Some(true) => after.email_verified_at = after.email_verified_at.or(Some(now)),
        Some(false) => after.email_verified_at = None,
        None => {}
    }
    change.name.apply(&mut after.name);
    change.company_name.apply(&mut after.company_name);
    let changed = changed(&before, &after, metadata != kept);
    if changed.is_empty() {
        return Ok(());
    }
    let after = customer::save(app, &mut tx, &before, &after, now).await?;
    let is_vouched_for = after.is_email_verified() && !before.is_email_verified();
    if is_vouched_for && !tx.waiting_purchases(id).await?.is_empty() {
        inbox::queue_task(app, &mut tx, TaskKind::AddressProven, id, now).await?;
    }
    tx.set_metadata(id, &metadata, now).await?;
    if after.email != before.email {
        tx.delete_unused_mail_links(id).await?;
        // Nor can anyone who had an address before undo what support decided.
        tx.delete_former_addresses(id).await?;
        for to in [To::Address(&before.email), To::Customer(id)] {
            mail::enqueue(app, &mut tx, Kind::AddressSet, to, now).await?;
        }
    }
    let verified = |customer: &Customer| json!({ "email_verified": customer.is_email_verified() });
    let detail = json!({ "changed": changed });
    let entry = AuditEntry::new(by, AuditAction::CustomerChanged, Some(id), detail)
        .changed(verified(&before), verified(&after))
        .changed_personal(&record(&before, &kept), &record(&after, &metadata));
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::CustomerChanged)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(())
}

/// Returns the names of the changed fields.
fn changed(before: &Customer, after: &Customer, is_metadata_new: bool) -> Vec<&'static str> {
    let fields = [
        ("email", after.email != before.email),
        ("email_verified", after.is_email_verified() != before.is_email_verified()),
        ("name", after.name != before.name),
        ("company_name", after.company_name != before.company_name),
        ("metadata", is_metadata_new),
    ];
    fields.into_iter().filter(|(_, is_new)| *is_new).map(|(name, _)| name).collect()
}

/// Returns the values that name a person.
fn record(customer: &Customer, metadata: &Metadata) -> Value {
    let mut values = personal(customer);
    values["metadata"] = json!(metadata.values());
    values
}

/// Deletes a customer, as the customer can do. Subscriptions are canceled first.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::Stripe`] when a subscription could
/// not be canceled: then nothing is deleted. A failure of the database.
pub async fn delete(app: &App, by: OwnedActor, id: &CustomerId) -> Result<()> {
    customer::remove(app, id, by, None).await
}

/// Syncs a customer with Stripe, also with invoices whose events were lost. Returns what changed.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::Stripe`], [`Error::Busy`], or a
/// failure of the database: then nothing was written.
pub async fn sync(app: &App, by: OwnedActor, id: &CustomerId) -> Result<SyncReport> {
    let (own, id) = (app.clone(), id.clone());
    // Runs in its own task: a disconnect must not interrupt it and leave the lease taken.
    app.tasks
        .run(async move {
            let report = sync::compare(&own, &id, Mode::Apply).await?;
            let detail = json!({ "changes": report.changes, "alerts": report.alerts });
            let entry = (AuditAction::CustomerSynced, detail);
            let mut tx = own.store.write().await?;
            note(&own, &mut tx, by.actor(), &id, entry, own.now()).await?;
            tx.commit(own.fail_points.at(Place::CustomerSynced)).await?;
            Ok(report)
        })
        .await
}

/// Links a customer to a Stripe customer or to a single payment, or removes the link to the Stripe
/// customer, after checking with Stripe.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::StripeLinkRefused`] when Stripe has
/// no such customer, when it is linked to another customer, or when a live subscription of the
/// present one stands in the way. [`Error::Stripe`] or a failure of the database.
pub async fn link(app: &App, by: OwnedActor, id: &CustomerId, to: Option<BuyerId>) -> Result<()> {
    app.store.read().await?.customer(id).await?.ok_or(Error::NotFound("customer"))?;
    let (own, id) = (app.clone(), id.clone());
    app.tasks
        .run(async move {
            match to {
                Some(to) => buyer_claim::link_to_customer(&own, &to, &id, by.actor()).await,
                None => claim::unlink(&own, &id, by.actor()).await,
            }
        })
        .await
}

/// Mails a customer the link that sets a password.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer, or a failure of the database.
pub async fn send_password_reset(app: &App, by: Actor<'_>, id: &CustomerId) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    tx.lock_customer(id).await?.ok_or(Error::NotFound("customer"))?;
    mail::enqueue(app, &mut tx, Kind::Reset, To::Customer(id), now).await?;
    let entry = (AuditAction::PasswordResetRequested, json!({}));
    note(app, &mut tx, by, id, entry, now).await?;
    tx.commit(app.fail_points.at(Place::ResetRequested)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Ends all login sessions of a customer. Returns their number.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer, or a failure of the database.
pub async fn end_sessions(app: &App, by: Actor<'_>, id: &CustomerId) -> Result<usize> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(id).await?.ok_or(Error::NotFound("customer"))?;
    let ended = tx.sessions_of(&customer.user_id, now).await?.len();
    tx.delete_sessions(&customer.user_id, None).await?;
    let entry = (AuditAction::SessionsEnded, json!({ "sessions": ended }));
    note(app, &mut tx, by, id, entry, now).await?;
    tx.commit(app.fail_points.at(Place::SessionsEnded)).await?;
    Ok(ended)
}

/// Writes an audit entry about a customer.
async fn note(
    app: &App,
    tx: &mut Tx,
    by: Actor<'_>,
    id: &CustomerId,
    (action, detail): (AuditAction, Value),
    now: Timestamp,
) -> Result<()> {
    audit(app, tx, AuditEntry::new(by, action, Some(id), detail), now).await
}
