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
        revocation_reason: None,
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

/// Returns the caller's current license, with a fresh token when one is due.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub async fn current(app: &App, caller: &SignedIn) -> Result<IssuedLicense> {
    let customer = &caller.customer;
    let mut current = newest(app, &customer.customer_id).await?;
    if sync::catch_up(app, customer.stripe_customer_id.as_ref(), &current).await? {
        current = newest(app, &customer.customer_id).await?;
    }
    fresh(app, current).await
}

async fn newest(app: &App, customer_id: &CustomerId) -> Result<IssuedLicense> {
    app.store.current_license(customer_id).await?.ok_or(Error::NotFound("license"))
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

/// Returns the newest license of the customer who holds this one, so that an app picks up an
/// upgrade or a renewal without a password. A token that has run out fetches it for
/// [`REFRESH_SECONDS`], a token that a clock ahead issued at any time. A fresh license is issued
/// when one is due; otherwise nothing is written.
///
/// # Errors
/// [`Error::InvalidLicense`], [`Error::LicenseEnded`], [`Error::LicenseRevoked`], or a failure.
pub async fn refresh(app: &App, token: &str) -> Result<IssuedLicense> {
    let now = app.now();
    let license_id = authentic(app, token, now).await?;
    let unknown = || Error::InvalidLicense("it is not on record".into());
    let found = app.store.held_license(&license_id).await?;
    let deleted = |error| if matches!(error, Error::NotFound(_)) { unknown() } else { error };
    let (held, mut current) =
        found.filter(|(held, _)| held.held_token == token).ok_or_else(unknown)?;
    if !held.is_credential() {
        return Err(Error::LicenseRevoked);
    }
    if sync::catch_up(app, held.holder_stripe_id.as_ref(), &current).await? {
        current = newest(app, &current.customer_id).await.map_err(deleted)?;
    }
    let license = fresh(app, current).await.map_err(deleted)?;
    if license.revoked_at.is_some() {
        return Err(Error::LicenseRevoked);
    }
    if license.term().phase(now) == Phase::Over {
        return Err(Error::LicenseEnded);
    }
    Ok(license)
}

/// Issues a customer's current license anew if that is due; writes nothing otherwise.
async fn fresh(app: &App, current: IssuedLicense) -> Result<IssuedLicense> {
    let now = app.now();
    if due(app, &current, now).is_none() {
        return Ok(current);
    }
    let mut tx = app.store.write().await?;
    tx.lock_customer(&current.customer_id).await?;
    // Another request may have issued it meanwhile.
    let current = tx.current_license(&current.customer_id).await?;
    let current = current.ok_or(Error::NotFound("license"))?;
    let Some(entitlement) = due(app, &current, now) else { return Ok(current) };
    let license = issue(app, &mut tx, &current.customer_id, &entitlement, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseRefreshed)).await?;
    Ok(license)
}

/// Returns what a fresh license would stand for, if one is due: half of the token's life is over
/// and a fresh token would live longer, or a clock that was ahead issued the license. A plan that
/// is not in the plans file any more keeps its last token.
fn due<'a>(app: &'a App, current: &IssuedLicense, now: Timestamp) -> Option<Entitlement<'a>> {
    let term = current.term();
    let plan = app.plans.plan(&current.plan).filter(|_| current.works(now))?;
    let entitlement = Entitlement { plan, source: current.source, term };
    if current.is_from_the_future(now) {
        return Some(entitlement.with_the_right_clock(&app.plans, now));
    }
    let lives_longer = token_expires(term, &app.plans, now) > current.token_expires_at;
    (lives_longer && current.is_half_used(now)).then_some(entitlement)
}

/// Returns the id of a license that we signed, and that is valid, was valid not long ago, or was
/// issued by a clock that was ahead.
///
/// # Errors
/// [`Error::LicenseRevoked`] for one whose key was revoked, [`Error::InvalidLicense`], or a
/// failure of the database.
async fn authentic(app: &App, token: &str, now: Timestamp) -> Result<LicenseId> {
    let refused = |rejection: &Rejection| Error::InvalidLicense(rejection.to_string());
    let id = match licentia_verify::verify(token, &app.trusted, now.to_system_time()) {
        Ok(license) => license.claims().jti.parse().ok(),
        // These are only returned for licenses whose signature and claims hold.
        Err(Rejection::NotYetValid { .. }) => id_of(token),
        Err(Rejection::TokenExpired { at } | Rejection::LicenseExpired { at })
            if now < Timestamp::from(at).plus(REFRESH_SECONDS) =>
        {
            id_of(token)
        }
        Err(rejection @ Rejection::UnknownKey { .. }) => {
            let issued = issued(app, id_of(token), token).await?;
            let revoked = issued.is_some_and(|license| license.revoked_at.is_some());
            return Err(if revoked { Error::LicenseRevoked } else { refused(&rejection) });
        }
        Err(rejection) => return Err(refused(&rejection)),
    };
    id.ok_or_else(|| Error::InvalidLicense("its id is not one of ours".into()))
}

/// Returns the id that a license names, if it is one of ours. It proves nothing.
fn id_of(token: &str) -> Option<LicenseId> {
    let claims = licentia_verify::inspect(token).ok()?.claims;
    claims.get("jti")?.as_str()?.parse().ok()
}

/// Returns the license on record that has this id and this whole token. Another token with the same
/// id was not issued here, whoever signed it.
async fn issued(app: &App, id: Option<LicenseId>, token: &str) -> Result<Option<IssuedLicense>> {
    let Some(id) = id else { return Ok(None) };
    Ok(app.store.license(&id).await?.filter(|license| license.token == token))
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
    /// It was issued here and revoked.
    Revoked,
    /// Signed with our key, and not on record as it is: its customer was deleted, the database is
    /// another one, or somebody else signed it.
    Unknown,
}

/// Returns the online verdict about a license: the offline verdict, and what only the server knows.
///
/// # Errors
/// A failure of the database.
pub async fn verify(app: &App, token: &str) -> Result<Verdict> {
    match licentia_verify::verify(token, &app.trusted, app.now().to_system_time()) {
        Ok(license) => Ok(match issued(app, license.claims().jti.parse().ok(), token).await? {
            None => Verdict::Unknown,
            Some(issued) if issued.revoked_at.is_some() => Verdict::Revoked,
            Some(issued) => Verdict::Valid {
                license: Box::new(license),
                superseded: issued.superseded_at.is_some(),
            },
        }),
        // It may have been revoked as well, or its key, which says more.
        Err(
            rejection @ (Rejection::TokenExpired { .. }
            | Rejection::LicenseExpired { .. }
            | Rejection::UnknownKey { .. }),
        ) => {
            let issued = issued(app, id_of(token), token).await?;
            let revoked = issued.is_some_and(|license| license.revoked_at.is_some());
            Ok(if revoked { Verdict::Revoked } else { Verdict::Rejected(rejection) })
        }
        Err(rejection) => Ok(Verdict::Rejected(rejection)),
    }
}
