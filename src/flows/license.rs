//! Licenses: issue, show and refresh them. Online verification is in `online.rs`, and the signing
//! keys are in `keys.rs`. What support does with licenses is in
//! [`crate::flows::operator::licenses`], and [`crate::domain::sale::settlement`] decides which
//! licenses follow from a sync.

pub mod keys;
mod online;
pub mod status_list;

use chrono::TimeDelta;
use licentia_verify::{Claims, Rejection, Request};
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::status_list::{StatusIndex, draws};
use crate::domain::license::{
    Entitlement, HeldLicense, Holder, IssuedLicense, LicenseToken, RevocationReason, claims,
    granted_again, token_expires,
};
use crate::domain::message::Kind;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::outbox::To;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::session::SignedIn;
use crate::flows::sale::sync;
use crate::flows::{audit, mail};
use crate::keys::Key;
use crate::store::Tx;

use online::stored_revocation;
pub use online::{OnlineVerdict, explain, verify};

/// How long after its expiry a license token can be refreshed: a device may be unused
/// for a season. Afterwards the customer must log in.
const REFRESHABLE: TimeDelta = TimeDelta::days(90);

/// The most licenses of an account that [`replace_all`] revokes: far more than one has before its
/// address is verified.
const MAX_REPLACED: i64 = 1000;

/// Issues a license for an entitlement as the customer's current one, in the transaction of the
/// caller. Returns the license.
pub(super) async fn issue(
    app: &App,
    tx: &mut Tx,
    customer_id: &CustomerId,
    entitlement: &Entitlement<'_>,
    now: Timestamp,
) -> Result<IssuedLicense> {
    let license_id = LicenseId::from_random(app.random.bits());
    issue_as(app, tx, license_id, customer_id, entitlement, now).await
}

/// Issues a license like [`issue`], with a given id.
pub(super) async fn issue_as(
    app: &App,
    tx: &mut Tx,
    license_id: LicenseId,
    customer_id: &CustomerId,
    entitlement: &Entitlement<'_>,
    now: Timestamp,
) -> Result<IssuedLicense> {
    let claims = |holder: &Holder<'_>| claims(entitlement, holder, &app.plans, &app.issuer, now);
    let signed = sign_next(app, tx, (&license_id, customer_id), claims, now).await?;
    let license = IssuedLicense {
        token: signed.token,
        license_id,
        customer_id: customer_id.clone(),
        seq: signed.seq,
        source: entitlement.source,
        plan: signed.claims.plan,
        key_id: signed.key_id,
        issued_at: now,
        token_expires_at: Timestamp::saturating(signed.claims.exp),
        expires_at: entitlement.term.expires,
        grace_until: entitlement.term.grace_until,
        basis: entitlement.basis,
        quantity: entitlement.quantity,
        addons: entitlement.addon_ids(),
        updates_until: entitlement.updates_until,
        extras: entitlement.extras.clone(),
        superseded_at: None,
        revoked_at: None,
        revocation_reason: None,
    };
    tx.insert_license(&license, &signed.index).await?;
    Ok(license)
}

/// Issues a license that grants what the customer's current one says, whose plan is no longer in
/// the plans file. Returns `None` if the current one is damaged.
async fn issue_again(
    app: &App,
    tx: &mut Tx,
    current: &IssuedLicense,
    now: Timestamp,
) -> Result<Option<IssuedLicense>> {
    let Some(granted) = current.claims() else { return Ok(None) };
    let license_id = LicenseId::from_random(app.random.bits());
    let expires = token_expires(current.term(), None, &app.plans, now);
    let claims = |holder: &Holder<'_>| granted_again(granted, holder, expires, &app.issuer, now);
    let signed = sign_next(app, tx, (&license_id, &current.customer_id), claims, now).await?;
    let license = IssuedLicense {
        token: signed.token,
        license_id,
        seq: signed.seq,
        key_id: signed.key_id,
        issued_at: now,
        token_expires_at: Timestamp::saturating(signed.claims.exp),
        revoked_at: None,
        revocation_reason: None,
        ..current.clone()
    };
    tx.insert_license(&license, &signed.index).await?;
    Ok(Some(license))
}

/// A signed license that is not stored yet.
struct Signed {
    claims: Claims,
    token: LicenseToken,
    key_id: String,
    seq: i64,
    index: StatusIndex,
}

/// Signs the next license of a customer, with these claims and an index in a status list.
async fn sign_next(
    app: &App,
    tx: &mut Tx,
    (license_id, customer_id): (&LicenseId, &CustomerId),
    claims: impl FnOnce(&Holder<'_>) -> Claims,
    now: Timestamp,
) -> Result<Signed> {
    let seq = tx.next_license_seq(customer_id).await?;
    let origin = app.public_url.to_string();
    let index = tx.take_status_index(&origin, &draws(&app.random.bytes()), now).await?;
    let status = index.reference(&origin);
    let seq_claim = seq.unsigned_abs();
    let claims = claims(&Holder { customer_id, license_id, seq: seq_claim, status: &status });
    let key = signing_key(app, tx, now).await?;
    Ok(Signed { token: key.sign(&claims)?, claims, key_id: key.kid.clone(), seq, index })
}

/// Returns the key that signs a license at `now`.
async fn signing_key(app: &App, tx: &mut Tx, now: Timestamp) -> Result<Key> {
    let key = app.keys.signing(now)?;
    if tx.must_not_sign(&key.kid).await? {
        // This server has not noticed yet.
        app.keys_due.notify_one();
        return Err(Error::Busy);
    }
    Ok(key)
}

/// Returns the audit entry of an action by an operator.
fn by_operator<'a>(
    customer_id: &'a CustomerId,
    action: AuditAction,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry::new(Actor::Operator, action, Some(customer_id), detail)
}

/// Returns the customer with this email address.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn customer_of(app: &App, email: &Email) -> Result<CustomerId> {
    let customer = app.store.read().await?.customer_by_email(email).await?;
    Ok(customer.ok_or(Error::NotFound("customer"))?.customer_id)
}

/// Replaces the licenses of an account whose owner has just proven to own it, in the transaction of
/// the caller: whoever signed up with the address has their tokens, and could fetch what the owner
/// buys. The current one is reissued and mailed, because apps cannot fetch it with a revoked
/// one, and all others are revoked. No reason is stored, which counts as leaked, and does not stop
/// a sync from issuing the next license.
pub(super) async fn replace_all(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    now: Timestamp,
) -> Result<()> {
    let former = tx.licenses_of(id, i64::MAX, MAX_REPLACED).await?;
    for license in former {
        if license.superseded_at.is_none() && license.works(now) {
            let Some(entitlement) = license.entitlement(&app.plans) else {
                tracing::warn!(customer_id = %id, plan = license.plan, "its plan is gone: kept");
                continue;
            };
            let new = issue(app, tx, id, &entitlement, now).await?;
            let mut detail = new.audit_detail();
            detail["instead_of"] = license.license_id.as_str().into();
            let (by, action) = (Actor::System, AuditAction::LicenseReissued);
            audit(app, tx, AuditEntry::new(by, action, Some(id), detail), now).await?;
            mail::enqueue(app, tx, Kind::Reissue, To::License(id, &new.license_id), now).await?;
        }
        if tx.revoke_license(&license.license_id, None, now).await? {
            let detail = json!({
                "license_id": license.license_id.as_str(), "plan": license.plan, "reason": "owner",
            });
            let (by, action) = (Actor::System, AuditAction::LicenseRevoked);
            audit(app, tx, AuditEntry::new(by, action, Some(id), detail), now).await?;
        }
    }
    Ok(())
}

/// Returns the caller's current license, with a fresh license token when one is due.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn current(app: &App, caller: &SignedIn) -> Result<IssuedLicense> {
    let customer = &caller.customer;
    let mut current = newest(app, &customer.customer_id).await?;
    if sync::catch_up(app, customer.stripe_customer_id.as_ref(), &current).await? {
        current = newest(app, &customer.customer_id).await?;
    }
    fresh(app, current, For::Person).await
}

/// Reissues the current license of the customer with this address, if that is due: a mail must not
/// have a token that has expired.
pub(super) async fn freshen(app: &App, email: &Email) -> Result<()> {
    let customer = app.store.read().await?.customer_by_email(email).await?;
    let Some(customer) = customer else { return Ok(()) };
    match app.store.current_license(&customer.customer_id).await? {
        Some(current) => fresh(app, current, For::Person).await.map(drop),
        None => Ok(()),
    }
}

/// Mails the current license to its customer, if the address has an account. That is read when the
/// mail is sent: here, an unknown address causes the same writes as a known one.
///
/// # Errors
/// A failure of the database.
pub async fn recover(app: &App, email: &Email) -> Result<()> {
    let mut tx = app.store.write().await?;
    mail::enqueue(app, &mut tx, Kind::Recovered, To::Address(email), app.now()).await?;
    tx.commit(app.fail_points.at(Place::LicenseRequested)).await?;
    app.mail_due.notify_one();
    Ok(())
}

async fn newest(app: &App, customer_id: &CustomerId) -> Result<IssuedLicense> {
    app.store.current_license(customer_id).await?.ok_or(Error::NotFound("license"))
}

/// Returns the caller's licenses with a sequence number below `before`, newest first, at most
/// `most`.
///
/// # Errors
/// A failure of the database.
pub async fn history(
    app: &App,
    caller: &SignedIn,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<IssuedLicense>> {
    let before = before.unwrap_or(i64::MAX);
    app.store.read().await?.licenses_of(&caller.customer.customer_id, before, most).await
}

/// Returns the current license of the customer who holds this one, so that an app gets an upgrade
/// or a renewal without a password. The text is read as verifiers read it. An expired license token
/// is accepted for [`REFRESHABLE`]. A token that was issued by a clock that was ahead is
/// always accepted. A fresh license is issued when one is due; otherwise nothing is written. What
/// is returned works now.
///
/// # Errors
/// [`Error::InvalidLicense`], [`Error::KeyRevoked`], [`Error::Revoked`], [`Error::LicenseExpired`],
/// [`Error::TokenExpired`], or a failure of the database.
pub async fn refresh(app: &App, text: &LicenseToken) -> Result<IssuedLicense> {
    let (held, mut current) = held(app, text).await?;
    let deleted = |error| if matches!(error, Error::NotFound(_)) { unknown() } else { error };
    if sync::catch_up(app, held.holder_stripe_id.as_ref(), &current).await? {
        current = newest(app, &current.customer_id).await.map_err(deleted)?;
    }
    let license = fresh(app, current, For::App).await.map_err(deleted)?;
    // Read again: the sync may have taken seconds.
    let now = app.now();
    // The key bundle that is sent with it must have its key.
    app.know_key(&license.key_id).await?;
    match license.rejection(now) {
        Some(rejection) => Err(refusal(&rejection)),
        None => signed_again(app, license, now),
    }
}

/// Returns the license, with a token that is signed at `now` and otherwise says the same, if the
/// key of the license signs now. Nothing is stored, and it costs a signature:
/// [`LicenseToken::is_of`] accepts both tokens.
fn signed_again(app: &App, license: IssuedLicense, now: Timestamp) -> Result<IssuedLicense> {
    let Ok(key) = app.keys.signing(now) else { return Ok(license) };
    let claims = license.claims_signed_again(now).filter(|_| key.kid == license.key_id);
    let Some(claims) = claims else { return Ok(license) };
    Ok(IssuedLicense { token: key.sign(&claims)?, ..license })
}

/// Returns the customer who holds this license, so that an app can open the checkout and the portal
/// without a password. It accepts the license tokens that [`refresh`] accepts.
///
/// # Errors
/// [`Error::InvalidLicense`], [`Error::KeyRevoked`], [`Error::Revoked`], or a failure of the
/// database.
pub async fn holder(app: &App, text: &LicenseToken) -> Result<Customer> {
    let (_, current) = held(app, text).await?;
    let customer = app.store.read().await?.customer(&current.customer_id).await?;
    customer.ok_or_else(unknown)
}

/// Returns the record of a license that is a credential of its holder, and the holder's current
/// license.
async fn held(app: &App, text: &LicenseToken) -> Result<(HeldLicense, IssuedLicense)> {
    let token = text.read().map_err(|rejection| refusal(&rejection))?;
    let license_id = authentic(app, text, &token).await?;
    let stored = app.store.held_license(&license_id).await?;
    let (held, current) =
        stored.filter(|(held, _)| token.is_of(&held.held_token)).ok_or_else(unknown)?;
    match held.held_revocation_reason {
        _ if held.is_credential() => Ok((held, current)),
        Some(RevocationReason::Key) => Err(Error::KeyRevoked),
        _ => Err(Error::Revoked),
    }
}

/// Returns the error for a license that a verifier rejects.
fn refusal(rejection: &Rejection) -> Error {
    match rejection {
        Rejection::KeyRevoked { .. } => Error::KeyRevoked,
        Rejection::Revoked => Error::Revoked,
        Rejection::LicenseExpired { .. } => Error::LicenseExpired,
        Rejection::TokenExpired { .. } => Error::TokenExpired,
        other => Error::InvalidLicense(other.to_string()),
    }
}

fn unknown() -> Error {
    Error::InvalidLicense("it is not on record".into())
}

/// The receiver of a current license.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// An app that refreshes its license.
    App,
    /// A customer who logs in or gets a mail.
    Person,
}

/// Returns the current license, reissued if that is due. Otherwise nothing is written.
async fn fresh(app: &App, current: IssuedLicense, receiver: For) -> Result<IssuedLicense> {
    let now = app.now();
    if refresh_entitlement(app, &current, receiver, now).is_none() {
        return Ok(current);
    }
    let mut tx = app.store.write().await?;
    tx.lock_customer(&current.customer_id).await?;
    // Another request may have reissued it in the meantime.
    let current = tx.current_license(&current.customer_id).await?;
    let current = current.ok_or(Error::NotFound("license"))?;
    let entitlement = refresh_entitlement(app, &current, receiver, now);
    let Some(entitlement) = entitlement else { return Ok(current) };
    let license = issue(app, &mut tx, &current.customer_id, &entitlement, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseRefreshed)).await?;
    Ok(license)
}

/// Returns the entitlement of a fresh license, if one is due: half of the license token's lifetime
/// has passed and a fresh token would last longer, an app refreshes a license of a former key, the
/// license has another issuer, a former address of the server or no status list, the plans file has
/// changed what the plan grants, or a clock that was ahead issued the license. A license whose plan
/// was removed from the plans file keeps its end.
fn refresh_entitlement<'a>(
    app: &'a App,
    current: &IssuedLicense,
    receiver: For,
    now: Timestamp,
) -> Option<Entitlement<'a>> {
    let entitlement = current.entitlement(&app.plans).filter(|_| current.works(now))?;
    if current.is_from_the_future(now) {
        return Some(entitlement.with_the_right_clock(&app.plans, now));
    }
    let is_due = current.is_refresh_due(&app.plans, now)
        || (receiver == For::App
            && app.keys.signing(now).is_ok_and(|key| current.is_of_former_key(&key.kid, now)))
        || current.is_of_former_server(&app.issuer, &app.public_url.to_string(), now)
        || current.is_outdated(&app.plans);
    is_due.then_some(entitlement)
}

/// Returns the id of a license that our key signed and that is valid, expired recently, or was
/// issued by a clock that was ahead. `token` is the one in `text`.
///
/// # Errors
/// [`Error::KeyRevoked`] or [`Error::Revoked`] for one whose key was revoked,
/// [`Error::InvalidLicense`], or a failure of the database.
async fn authentic(app: &App, text: &LicenseToken, token: &LicenseToken) -> Result<LicenseId> {
    let now = app.now();
    let request = Request::new(text.expose(), now.to_system_time());
    let checked = online::check(app, &request).await?;
    match &checked.license {
        Ok(_)
        | Err(
            Rejection::NotYetValid { .. }
            | Rejection::TokenExpired { .. }
            | Rejection::LicenseExpired { .. },
        ) => {}
        // A server with a wrong clock issued it. The fresh one is dated within the key's time.
        Err(Rejection::KeyNotValid) if online::is_stored(app, token).await? => {}
        Err(rejection) => {
            let revocation = stored_revocation(app, token, rejection).await?;
            return Err(refusal(revocation.as_ref().unwrap_or(rejection)));
        }
    }
    let claims = checked.claims().ok_or_else(unknown)?;
    // The end of the token counts, whatever the license promises about its end.
    if now >= Timestamp::saturating(claims.exp) + REFRESHABLE {
        let days = REFRESHABLE.num_days();
        return Err(Error::InvalidLicense(format!(
            "it expired more than {days} days ago; log in to get the current one, or let it be \
             mailed to the customer's address"
        )));
    }
    let not_ours = |_| Error::InvalidLicense("its id was not issued here".into());
    claims.jti.parse().map_err(not_ours)
}
