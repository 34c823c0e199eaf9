//! Issuing licenses, showing them, and answering whether one is valid.

use licentia_verify::{License, Rejection};
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{Entitlement, Holder, IssuedLicense, Phase, claims, token_expires};
use crate::domain::message::Kind;
use crate::domain::time::{DAY, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::session::SignedIn;
use crate::flows::{audit, mail, sync};
use crate::store::Tx;

/// How long after its end a license still fetches its successor, in seconds: a season in which the
/// device was not used. Afterwards the password is asked for.
const REFRESH_SECONDS: i64 = 90 * DAY;

/// How many licenses of a revoked key are looked up, or taken back, at once.
const AT_ONCE: i64 = 500;

/// Signs a license for what a customer is entitled to and writes it as the current one, within
/// the transaction of what called for it.
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

/// Issues a license with an id that was drawn before, as [`issue`] does.
pub(super) async fn issue_as(
    app: &App,
    tx: &mut Tx,
    license_id: LicenseId,
    customer_id: &CustomerId,
    entitlement: &Entitlement<'_>,
    now: Timestamp,
) -> Result<IssuedLicense> {
    let seq = tx.next_license_seq(customer_id).await?;
    let holder = Holder { customer_id, license_id: &license_id, seq: seq.unsigned_abs() };
    let claims = claims(entitlement, &holder, &app.plans, &app.issuer, now);
    let key = app.keys.signing(now);
    let license = IssuedLicense {
        token: app.keys.sign(&claims, key)?,
        license_id,
        customer_id: customer_id.clone(),
        seq,
        source: entitlement.source,
        plan: claims.plan,
        key_id: key.kid.clone(),
        issued_at: now,
        token_expires_at: Timestamp::saturating(claims.exp),
        expires_at: entitlement.term.expires,
        grace_until: entitlement.term.grace_until,
        superseded_at: None,
        revoked_at: None,
    };
    tx.insert_license(&license).await?;
    Ok(license)
}

/// Gives a customer a license by hand: for a gift, a partner, or a sale made elsewhere.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer.
pub async fn grant(
    app: &App,
    customer_id: &CustomerId,
    entitlement: &Entitlement<'_>,
) -> Result<IssuedLicense> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    if tx.lock_customer(customer_id).await?.is_none() {
        return Err(Error::NotFound("customer"));
    }
    let license = issue(app, &mut tx, customer_id, entitlement, now).await?;
    let detail = json!({ "license_id": license.license_id.as_str(), "plan": license.plan });
    audit(app, &mut tx, by_operator(customer_id, AuditAction::LicenseGranted, detail), now).await?;
    mail::due(app, &mut tx, Kind::Granted, customer_id, &license.license_id, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseGranted)).await?;
    app.mail_due.notify_one();
    Ok(license)
}

/// Something that an operator did.
fn by_operator<'a>(
    customer_id: &'a CustomerId,
    action: AuditAction,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry { actor: Actor::Operator, action, customer_id: Some(customer_id), detail }
}

/// The customer with this email address.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn customer_of(app: &App, email: &Email) -> Result<CustomerId> {
    let customer = app.store.read().await?.customer_by_email(email).await?;
    Ok(customer.ok_or(Error::NotFound("customer"))?.customer_id)
}

/// Takes back every license that a key signed, because the key is lost or known to others, and
/// issues the current ones anew with the key that signs now. Answers how many were issued anew and
/// how many taken back. Cut short, it goes on when it is called again.
///
/// # Errors
/// A failure of the database.
pub async fn revoke_key(app: &App, kid: &str) -> Result<(u64, u64)> {
    let (mut renewed, mut revoked) = (0, 0);
    let mut last = None;
    loop {
        let mut tx = app.store.read().await?;
        let customers = tx.customers_of_key(kid, app.now(), last.as_ref(), AT_ONCE).await?;
        drop(tx);
        let Some(newest) = customers.last() else { break };
        last = Some(newest.clone());
        for customer_id in &customers {
            renewed += u64::from(renew(app, customer_id, kid).await?);
        }
    }
    loop {
        let mut tx = app.store.write().await?;
        let batch = tx.revoke_licenses_of_key(kid, app.now(), AT_ONCE).await?;
        tx.commit(app.fail_points.at(Place::LicenseKeyRevoked)).await?;
        if batch == 0 {
            return Ok((renewed, revoked));
        }
        revoked += batch;
    }
}

/// Issues a customer's license anew if a key signed it. Answers whether it did.
async fn renew(app: &App, customer_id: &CustomerId, kid: &str) -> Result<bool> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    tx.lock_customer(customer_id).await?;
    let current = tx.current_license(customer_id).await?;
    let current = current.filter(|held| held.key_id == kid && held.revoked_at.is_none());
    let Some(current) = current else { return Ok(false) };
    let Some(plan) = app.plans.plan(&current.plan) else {
        tracing::warn!(%customer_id, plan = current.plan, "not issued anew: this plan is gone");
        return Ok(false);
    };
    let entitlement = Entitlement { plan, source: current.source, term: current.term() };
    let license = issue(app, &mut tx, customer_id, &entitlement, now).await?;
    let detail = json!({ "license_id": license.license_id.as_str(), "instead_of_key": kid });
    audit(app, &mut tx, by_operator(customer_id, AuditAction::LicenseRenewed, detail), now).await?;
    tx.commit(app.fail_points.at(Place::LicenseRenewed)).await?;
    Ok(true)
}

/// The caller's current license, with a fresh token when the old one is half used.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn current(app: &App, caller: &SignedIn) -> Result<IssuedLicense> {
    let customer_id = &caller.customer.customer_id;
    let current = newest(app, customer_id).await?;
    sync::catch_up(app, &caller.customer, &current).await?;
    let current = newest(app, customer_id).await?;
    if is_due(app, &current, app.now()).is_none() {
        return Ok(current);
    }
    let mut tx = app.store.write().await?;
    tx.lock_customer(customer_id).await?;
    fresh(app, tx, customer_id).await
}

async fn newest(app: &App, customer_id: &CustomerId) -> Result<IssuedLicense> {
    let current = app.store.read().await?.current_license(customer_id).await?;
    current.ok_or(Error::NotFound("license"))
}

/// The caller's licenses, the newest first: `most` at the most, from below the number `before`.
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

/// The newest license of whoever holds this one, so that an app picks up an upgrade or a renewal
/// without a password. A token that has run out will do, for [`REFRESH_SECONDS`]. A fresh license
/// is issued when less than half of the current token's life is left.
///
/// # Errors
/// [`Error::InvalidLicense`], [`Error::LicenseEnded`], [`Error::LicenseRevoked`], or a failure.
pub async fn refresh(app: &App, token: &str) -> Result<IssuedLicense> {
    let now = app.now();
    let license_id = authentic(app, token, now)?;
    let unknown = || Error::InvalidLicense("it is not on record".into());
    let mut tx = app.store.read().await?;
    let held = tx.license(&license_id).await?.ok_or_else(unknown)?;
    let customer = tx.customer(&held.customer_id).await?.ok_or_else(unknown)?;
    let current = tx.current_license(&held.customer_id).await?.ok_or_else(unknown)?;
    drop(tx);
    sync::catch_up(app, &customer, &current).await?;
    let mut tx = app.store.write().await?;
    tx.lock_customer(&held.customer_id).await?.ok_or_else(unknown)?;
    let license = fresh(app, tx, &held.customer_id).await?;
    if license.revoked_at.is_some() {
        return Err(Error::LicenseRevoked);
    }
    if license.term().phase(now) == Phase::Over {
        return Err(Error::LicenseEnded);
    }
    Ok(license)
}

/// The current license of a locked customer, issued anew if that is due.
async fn fresh(app: &App, mut tx: Tx, customer_id: &CustomerId) -> Result<IssuedLicense> {
    let now = app.now();
    let current = tx.current_license(customer_id).await?.ok_or(Error::NotFound("license"))?;
    let Some(entitlement) = is_due(app, &current, now) else { return Ok(current) };
    let license = issue(app, &mut tx, customer_id, &entitlement, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseRefreshed)).await?;
    Ok(license)
}

/// What a fresh license would stand for, if one is due: half of the token's life is over, and a
/// fresh token would live longer. A plan that is sold no more keeps its last token.
fn is_due<'a>(app: &'a App, current: &IssuedLicense, now: Timestamp) -> Option<Entitlement<'a>> {
    let term = current.term();
    let works = current.works(now);
    let plan = app.plans.plan(&current.plan)?;
    let longer = token_expires(term, &app.plans, now) > current.token_expires_at;
    let due = works && longer && current.is_half_used(now);
    due.then_some(Entitlement { plan, source: current.source, term })
}

/// The id of a license that we signed and that is, or was not long ago, valid.
fn authentic(app: &App, token: &str, now: Timestamp) -> Result<LicenseId> {
    let refused = |rejection: &Rejection| Error::InvalidLicense(rejection.to_string());
    match licentia_verify::verify(token, &app.trusted, now.to_system_time()) {
        Ok(_) => {}
        // These two are said only of licenses whose signature and claims hold.
        Err(Rejection::TokenExpired { at } | Rejection::LicenseExpired { at })
            if now < Timestamp::from(at).plus(REFRESH_SECONDS) => {}
        Err(rejection) => return Err(refused(&rejection)),
    }
    id_of(token)
}

/// The id that a license names.
fn id_of(token: &str) -> Result<LicenseId> {
    let said = licentia_verify::inspect(token)
        .map_err(|rejection| Error::InvalidLicense(rejection.to_string()))?;
    let id = said.claims.get("jti").and_then(|jti| jti.as_str()).and_then(|jti| jti.parse().ok());
    id.ok_or_else(|| Error::InvalidLicense("its id is none of ours".into()))
}

/// The answer about a license: what the signature says, and what has happened since.
#[derive(Debug)]
pub enum Verdict {
    /// It is valid now.
    Valid {
        /// What it says.
        license: Box<License>,
        /// Whether a newer one has taken its place; refreshing gets that one.
        superseded: bool,
    },
    /// Its own text rules it out: an app sees the same offline.
    Rejected(Rejection),
    /// It was issued here and taken back.
    Revoked,
    /// Signed by us, and not on record: its customer was deleted, or the database is another one.
    Unknown,
}

/// A license that has run out may have been taken back as well, which says more.
async fn rejected(app: &App, token: &str, rejection: Rejection) -> Result<Verdict> {
    if !matches!(rejection, Rejection::TokenExpired { .. } | Rejection::LicenseExpired { .. }) {
        return Ok(Verdict::Rejected(rejection));
    }
    // These two are said only of licenses whose signature and claims hold.
    let Ok(id) = id_of(token) else { return Ok(Verdict::Rejected(rejection)) };
    let issued = app.store.read().await?.license(&id).await?;
    let revoked = issued.is_some_and(|license| license.revoked_at.is_some());
    Ok(if revoked { Verdict::Revoked } else { Verdict::Rejected(rejection) })
}

/// Judges a license now, with what only the server knows.
///
/// # Errors
/// A failure of the database.
pub async fn verify(app: &App, token: &str) -> Result<Verdict> {
    let license = match licentia_verify::verify(token, &app.trusted, app.now().to_system_time()) {
        Ok(license) => license,
        Err(rejection) => return rejected(app, token, rejection).await,
    };
    let Ok(license_id) = license.claims().jti.parse() else { return Ok(Verdict::Unknown) };
    Ok(match app.store.read().await?.license(&license_id).await? {
        None => Verdict::Unknown,
        Some(issued) if issued.revoked_at.is_some() => Verdict::Revoked,
        Some(issued) => Verdict::Valid {
            license: Box::new(license),
            superseded: issued.superseded_at.is_some(),
        },
    })
}
