//! Support for licenses: grants, extends, revokes and sends them again. The decisions
//! are in [`crate::domain::license::grant`].

use chrono::TimeDelta;
use licentia_verify::MAX_TOKEN_BYTES;
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::grant::{self, CannotExtend, Resend};
use crate::domain::license::{Entitlement, Extras, IssuedLicense, RevocationReason, Source, Term};
use crate::domain::message::Kind;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry, OwnedActor};
use crate::domain::outbox::To;
use crate::domain::private::Private;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::plan::Plan;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::settle::MAX_ORDERS;
use crate::flows::sale::sync;
use crate::flows::{Mode, audit, idempotency, license, mail};
use crate::store::Tx;

/// A license to grant: for a gift, a partner, or a sale made elsewhere.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The end; `None` is never.
    pub expires: Option<Timestamp>,
    /// The additions to the plan.
    pub extras: Extras,
    /// Whether it may shorten what the customer has.
    pub replace: bool,
}

/// Returns the plan with this id.
///
/// # Errors
/// [`Error::NoSuchPlan`] with the ids that exist.
pub fn plan<'a>(app: &'a App, id: &str) -> Result<&'a Plan> {
    app.plans.plan(id).ok_or_else(|| {
        let known: Vec<_> = app.plans.plans.iter().map(|plan| plan.id.as_str()).collect();
        Error::NoSuchPlan { plan: id.to_owned(), known: known.join(", ") }
    })
}

/// Returns the license with this id.
///
/// # Errors
/// [`Error::NotFound`], or a failure of the database.
pub async fn get(app: &App, id: &LicenseId) -> Result<IssuedLicense> {
    existing(app.store.license(id).await?)
}

/// Grants a customer a license, and mails it. Returns the license.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::WouldShorten`].
/// [`Error::InvalidRequest`] when the license token would be too long for verifiers.
pub async fn grant(
    app: &App,
    by: Actor<'_>,
    customer_id: &CustomerId,
    grant: &Grant<'_>,
) -> Result<IssuedLicense> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = locked(&mut tx, customer_id).await?;
    let term = Term { expires: grant.expires, grace_until: None };
    let extras = grant.extras.clone();
    let entitlement =
        Entitlement { extras, ..Entitlement::new(grant.plan, Source::Operator, term) };
    if let Some(shortened) = grant::shortened(before.as_ref(), &entitlement, &app.plans, now)
        && !grant.replace
    {
        return Err(shortened.into());
    }
    let change = (AuditAction::LicenseGranted, Kind::Granted);
    let license =
        issue(app, &mut tx, by, before.as_ref(), (customer_id, &entitlement), change).await?;
    tx.commit(app.fail_points.at(Place::LicenseGranted)).await?;
    app.mail_due.notify_one();
    Ok(license)
}

/// Extends a customer's current license, and mails the new one. Returns it.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer. [`Error::NothingToExtend`], and
/// [`Error::WouldShorten`] for a license without an end.
pub async fn extend(
    app: &App,
    by: Actor<'_>,
    customer_id: &CustomerId,
    days: TimeDelta,
    note: Option<Private>,
) -> Result<IssuedLicense> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = locked(&mut tx, customer_id).await?;
    let extended = grant::extended(before.as_ref(), days, &app.plans, now);
    let mut entitlement = extended.map_err(|reason| match reason {
        CannotExtend::Nothing => Error::NothingToExtend,
        CannotExtend::Endless(has) => Error::WouldShorten(has),
    })?;
    entitlement.extras.note = note.or(entitlement.extras.note);
    let change = (AuditAction::LicenseExtended, Kind::Extended);
    let license =
        issue(app, &mut tx, by, before.as_ref(), (customer_id, &entitlement), change).await?;
    tx.commit(app.fail_points.at(Place::LicenseExtended)).await?;
    app.mail_due.notify_one();
    Ok(license)
}

/// The licenses that one revocation revokes together with the current one. Tokens of older ones
/// have ended: a refresh replaces a license at the earliest after half of its token's life.
const MAX_REPLACED: i64 = 1000;

/// Revokes one license, current or former. With the current one, those that it replaced are revoked
/// too: apps may still hold their files. A sync does not bring any back: the customer gets another
/// one by a grant, by [`resend`] with `reissue`, or by the next payment. Returns the license.
///
/// # Errors
/// [`Error::NotFound`] when there is no such license.
pub async fn revoke(app: &App, by: Actor<'_>, license_id: &LicenseId) -> Result<IssuedLicense> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let before = license_locked(&mut tx, license_id).await?;
    if before.revoked_at.is_some() && before.revocation_reason != Some(RevocationReason::Payment) {
        return Ok(before);
    }
    let reason = Some(RevocationReason::Operator);
    tx.revoke_license(license_id, reason, now).await?;
    let mut replaced = Vec::new();
    if before.superseded_at.is_none() {
        replaced = tx.replaced_licenses(&before.customer_id, MAX_REPLACED).await?;
    }
    for license in &replaced {
        tx.revoke_license(license, reason, now).await?;
    }
    let after = existing(tx.license(license_id).await?)?;
    let detail = json!({
        "license_id": license_id.as_str(), "plan": after.plan, "reason": "operator",
        "replaced": replaced.len(),
    });
    let (action, customer_id) = (AuditAction::LicenseRevoked, &after.customer_id);
    let entry = AuditEntry::new(by, action, Some(customer_id), detail)
        .changed(described(Some(&before)), described(Some(&after)));
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseRevoked)).await?;
    Ok(after)
}

/// Mails a license again: the current one if a newer one has replaced it, and with a fresh token if
/// an app would refresh it. With `reissue`, it issues a new license first, also in place of a
/// revoked one. Returns the license that is mailed.
///
/// # Errors
/// [`Error::NotFound`] when there is no such license. [`Error::NothingToSend`]. A failure of the
/// database or of Stripe.
pub async fn resend(
    app: &App,
    by: &OwnedActor,
    license_id: &LicenseId,
    reissue: bool,
) -> Result<IssuedLicense> {
    let asked = existing(app.store.license(license_id).await?)?;
    if reissue {
        // Whether it is still paid for must not depend on a lost event.
        refetch(app, &asked.customer_id).await?;
    }
    let now = app.now();
    let mut tx = app.store.write().await?;
    let asked = license_locked(&mut tx, license_id).await?;
    let customer_id = asked.customer_id.clone();
    let current = tx.current_license(&customer_id).await?;
    let is_paid = is_paid(&mut tx, &customer_id).await?;
    let sent = grant::resend(asked, current, reissue, is_paid, &app.plans, now)?;
    let change = (AuditAction::LicenseResent, Kind::Resent);
    let license = match sent {
        Resend::Issue(before, entitlement) => {
            let issued = (&customer_id, &entitlement);
            issue(app, &mut tx, by.actor(), Some(&before), issued, change).await?
        }
        Resend::Same(license) => {
            let detail = json!({ "license_id": license.license_id.as_str() });
            let entry = AuditEntry::new(by.actor(), change.0, Some(&customer_id), detail);
            audit(app, &mut tx, entry, now).await?;
            let to = To::License(&customer_id, &license.license_id);
            mail::enqueue(app, &mut tx, change.1, to, now).await?;
            license
        }
    };
    tx.commit(app.fail_points.at(Place::LicenseResent)).await?;
    app.mail_due.notify_one();
    Ok(license)
}

/// Syncs a customer with Stripe, if the customer is there.
async fn refetch(app: &App, customer_id: &CustomerId) -> Result<()> {
    let customer = app.store.read().await?.customer(customer_id).await?;
    if app.stripe.is_none() || customer.is_none_or(|one| one.stripe_customer_id.is_none()) {
        return Ok(());
    }
    let (own, id) = (app.clone(), customer_id.clone());
    app.tasks.run(async move { sync::compare(&own, &id, Mode::Apply).await.map(drop) }).await
}

/// Returns whether the customer has a live subscription whose newest invoice with an amount is
/// paid.
async fn is_paid(tx: &mut Tx, customer_id: &CustomerId) -> Result<bool> {
    let subscription = tx.subscription(customer_id).await?;
    if !subscription.is_some_and(|row| row.status.is_live()) {
        return Ok(false);
    }
    let orders = tx.orders_to_settle(customer_id, MAX_ORDERS).await?;
    let newest = orders.iter().find(|order| order.stripe_invoice_id.is_some() && order.amount > 0);
    Ok(newest.is_some_and(|order| order.status == OrderStatus::Succeeded))
}

/// Issues a license in place of `before`, writes the audit entry, and queues the mail.
async fn issue(
    app: &App,
    tx: &mut Tx,
    by: Actor<'_>,
    before: Option<&IssuedLicense>,
    (customer_id, entitlement): (&CustomerId, &Entitlement<'_>),
    (action, kind): (AuditAction, Kind),
) -> Result<IssuedLicense> {
    let now = app.now();
    let license = license::issue(app, tx, customer_id, entitlement, now).await?;
    if license.token.expose().len() > MAX_TOKEN_BYTES {
        return Err(Error::InvalidRequest(format!(
            "`features` and `limits`: the license token would have more than {MAX_TOKEN_BYTES} \
             characters; use fewer or shorter names"
        )));
    }
    idempotency::record_created(tx, license.license_id.as_str()).await?;
    let detail = license.audit_detail();
    let note = |extras: Option<&Extras>| {
        let note = extras.and_then(|extras| extras.note.as_ref());
        json!({ "note": note.map(Private::as_str) })
    };
    let mut entry = AuditEntry::new(by, action, Some(customer_id), detail)
        .changed(described(before), described(Some(&license)));
    if license.extras.note.is_some() {
        let before = before.map(|license| &license.extras);
        entry = entry.changed_personal(&note(before), &note(Some(&license.extras)));
    }
    audit(app, tx, entry, now).await?;
    let to = To::License(customer_id, &license.license_id);
    mail::enqueue(app, tx, kind, to, now).await?;
    Ok(license)
}

/// Returns a license as the audit log describes it.
fn described(license: Option<&IssuedLicense>) -> Value {
    let Some(license) = license else { return Value::Null };
    let features: Vec<_> = license.extras.features.iter().map(ToString::to_string).collect();
    let limits = license.extras.limits.iter();
    let limits: serde_json::Map<_, _> =
        limits.map(|(name, limit)| (name.to_string(), json!(limit))).collect();
    json!({
        "license_id": license.license_id.as_str(),
        "plan": license.plan,
        "source": license.source.as_str(),
        "expires_at": license.expires_at.map(|time| time.to_string()),
        "features": features,
        "limits": limits,
        "revoked_at": license.revoked_at.map(|time| time.to_string()),
    })
}

/// Locks a customer. Returns the current license.
async fn locked(tx: &mut Tx, customer_id: &CustomerId) -> Result<Option<IssuedLicense>> {
    tx.lock_customer(customer_id).await?.ok_or(Error::NotFound("customer"))?;
    tx.current_license(customer_id).await
}

/// Returns the license with this id, and locks its customer.
async fn license_locked(tx: &mut Tx, license_id: &LicenseId) -> Result<IssuedLicense> {
    let found = existing(tx.license(license_id).await?)?;
    tx.lock_customer(&found.customer_id).await?;
    // Read again under the lock: it may have changed in the meantime.
    existing(tx.license(license_id).await?)
}

fn existing(license: Option<IssuedLicense>) -> Result<IssuedLicense> {
    license.ok_or(Error::NotFound("license"))
}
