//! Issuing licenses, showing them, and answering whether one is valid.

use licentia_verify::{License, Rejection};
use serde_json::json;

use crate::app::App;
use crate::domain::ids::{AuditId, CustomerId, LicenseId};
use crate::domain::license::{Entitlement, Holder, Phase, claims};
use crate::domain::time::{DAY, Timestamp};
use crate::error::{Error, Result};
use crate::flows::session::SignedIn;
use crate::store::{AuditEntry, IssuedLicense, Tx};

/// How long after its end a license still fetches its successor, in seconds: a season in which the
/// device was not used. Afterwards the password is asked for.
const REFRESH_SECONDS: i64 = 90 * DAY;

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
    let entry = AuditEntry {
        audit_id: AuditId::from_random(app.random.bits()),
        actor: "operator",
        action: "license.granted",
        customer_id,
        detail: json!({ "license_id": license.license_id.as_str(), "plan": license.plan }),
    };
    tx.audit(entry, now).await?;
    tx.commit().await?;
    Ok(license)
}

/// The caller's current license.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn current(app: &App, caller: &SignedIn) -> Result<IssuedLicense> {
    let license = app.store.read().await?.current_license(&caller.customer.customer_id).await?;
    license.ok_or(Error::NotFound("license"))
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
    let mut tx = app.store.write().await?;
    let unknown = || Error::InvalidLicense("its customer was deleted".into());
    let held = tx.license(&license_id).await?.ok_or_else(unknown)?;
    tx.lock_customer(&held.customer_id).await?.ok_or_else(unknown)?;
    let current = tx.current_license(&held.customer_id).await?.ok_or_else(unknown)?;
    if current.revoked_at.is_some() {
        return Err(Error::LicenseRevoked);
    }
    let term = current.term();
    if term.phase(now) == Phase::Over {
        return Err(Error::LicenseEnded);
    }
    let Some(plan) = app.plans.plan(&current.plan).filter(|_| current.is_half_used(now)) else {
        return Ok(current);
    };
    if term.ends() == Some(current.token_expires_at) {
        // The token lasts as long as what was bought: a fresh one would say the same.
        return Ok(current);
    }
    let entitlement = Entitlement { plan, source: current.source, term };
    let license = issue(app, &mut tx, &held.customer_id, &entitlement, now).await?;
    tx.commit().await?;
    Ok(license)
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
    let said = licentia_verify::inspect(token).map_err(|rejection| refused(&rejection))?;
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
    /// Signed by us, and not on record: the customer was deleted.
    Unknown,
}

/// Judges a license now, with what only the server knows.
///
/// # Errors
/// A failure of the database.
pub async fn verify(app: &App, token: &str) -> Result<Verdict> {
    let license = match licentia_verify::verify(token, &app.trusted, app.now().to_system_time()) {
        Ok(license) => license,
        Err(rejection) => return Ok(Verdict::Rejected(rejection)),
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
