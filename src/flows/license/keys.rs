//! What an operator does with the signing keys: retire and revoke one with its licenses, and take
//! in a key bundle that was signed on another machine.

use serde_json::json;

use crate::app::App;
use crate::app::keys::{KeyStore, StoredKeys};
use crate::domain::ids::CustomerId;
use crate::domain::license::key_bundle::{
    BundleClaims, BundleContent, ENDS_SOON, RootRecord, StoredBundle,
};
use crate::domain::license::signing_key::{
    HeldKey, KeyRecord, SIGNS_AFTER_ITS_END, another_is_ready, signing,
};
use crate::domain::license::{IssuedLicense, RevocationReason};
use crate::domain::message::Kind;
use crate::domain::operator::audit::AuditAction;
use crate::domain::outbox::To;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::{audit, mail};
use crate::keys::bundle;

use super::{by_operator, issue, issue_again};

/// The number of customers of a revoked key that are read in one transaction.
const READ_AT_ONCE: i64 = 500;

/// The number of licenses of a revoked key that are revoked in one transaction. Each has an entry
/// in the audit log and deliveries of outgoing webhooks, and other writers wait meanwhile.
const REVOKED_AT_ONCE: i64 = 100;

/// Retires a key: it no longer signs, and its licenses still verify. Returns its end, the claim
/// `exp` in the bundle.
///
/// # Errors
/// [`Error::Setup`] when the key is unknown, was retired or revoked before, or when no other key
/// was announced long enough to sign.
pub async fn retire(own: &KeyStore<'_>, kid: &str, now: Timestamp) -> Result<Timestamp> {
    let mut tx = own.store.write().await?;
    let stored = StoredKeys::read(&mut tx).await?;
    let record = stored.record(kid);
    let record = record.ok_or_else(|| Error::setup(format!("no server has published {kid:?}")))?;
    if !record.is_usable() {
        return Err(Error::setup(format!("the key {kid} was retired or revoked before")));
    }
    if !another_is_ready(&stored.records, kid, stored.bundle.is_some(), now) {
        return Err(Error::setup(format!(
            "no other key may sign yet, so {kid} cannot be retired: run `licentia keys generate`, \
             and retire it when `licentia keys list` shows another key as signing"
        )));
    }
    let retired = record.clone().retired(tx.last_issue(kid).await?, now);
    tx.put_key_record(&retired).await?;
    tx.commit(own.fail_points.at(Place::KeyEnded)).await?;
    Ok(retired.ends_at.unwrap_or(now))
}

/// The result of the revocation of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRevocation {
    /// It is revoked now.
    Now,
    /// It was revoked before.
    Before,
    /// No server has published it, and it signed no license.
    Unknown,
}

/// Returns whether a server has published this key, or a license names it.
///
/// # Errors
/// A failure of the database.
pub async fn is_known(own: &KeyStore<'_>, kid: &str) -> Result<bool> {
    let mut tx = own.store.read().await?;
    let is_recorded = tx.key_records().await?.iter().any(|record| record.kid == kid);
    Ok(is_recorded || tx.first_issue(kid).await?.is_some())
}

/// Records that a key is revoked. From then on no server signs with it. A key that nobody has
/// published, but that signed licenses, is recorded too.
///
/// # Errors
/// A failure of the database.
pub async fn mark_revoked(own: &KeyStore<'_>, kid: &str, now: Timestamp) -> Result<KeyRevocation> {
    let mut tx = own.store.write().await?;
    let records = tx.key_records().await?;
    let record = match records.iter().find(|record| record.kid == kid) {
        Some(record) if record.revoked_at.is_some() => return Ok(KeyRevocation::Before),
        Some(record) => record.clone(),
        None => {
            let first = tx.first_issue(kid).await?;
            if first.is_none() {
                return Ok(KeyRevocation::Unknown);
            }
            KeyRecord::of_revoked(kid.to_owned(), None, first, now)
        }
    };
    tx.put_key_record(&KeyRecord { revoked_at: Some(now), ..record }).await?;
    tx.commit(own.fail_points.at(Place::KeyEnded)).await?;
    Ok(KeyRevocation::Now)
}

/// What became of the licenses of a revoked key.
#[derive(Debug, Default)]
pub struct Replaced {
    /// How many were reissued.
    pub reissued: u64,
    /// How many were revoked.
    pub revoked: u64,
    /// The customers who are left without a license, because it cannot be reissued.
    pub without: Vec<CustomerId>,
}

/// What became of a customer's current license.
enum Reissue {
    Done,
    /// Another key signed it, or it was revoked for another reason.
    NotDue,
    /// Its plan is gone, and its text is damaged.
    Impossible,
}

/// Revokes every license that a key signed, because the key is lost or was exposed, and reissues
/// the current ones with the key that signs now. Each is in the audit log. The new ones are mailed,
/// because a license of a revoked key is no credential: the app cannot fetch the new one with it
/// (security_39). If it is interrupted, another call continues. It also reissues what an earlier
/// call could only revoke.
///
/// # Errors
/// A failure of the database.
pub async fn revoke_key(app: &App, kid: &str) -> Result<Replaced> {
    let mut replaced = Replaced::default();
    let records = app.store.read().await?.key_records().await?;
    let key = records.iter().find(|record| record.kid == kid);
    let key_revoked_at = key.and_then(|record| record.revoked_at);
    let mut last = None;
    loop {
        let mut tx = app.store.read().await?;
        let customers = tx.customers_of_key(kid, app.now(), last.as_ref(), READ_AT_ONCE).await?;
        drop(tx);
        let Some(newest) = customers.last() else { break };
        last = Some(newest.clone());
        for customer_id in &customers {
            match reissue(app, customer_id, kid, key_revoked_at).await? {
                Reissue::Done => replaced.reissued += 1,
                Reissue::NotDue => {}
                Reissue::Impossible => replaced.without.push(customer_id.clone()),
            }
        }
    }
    let mut last = None;
    loop {
        let mut tx = app.store.read().await?;
        let batch = tx.licenses_of_key(kid, last.as_ref(), REVOKED_AT_ONCE).await?;
        drop(tx);
        let Some(newest) = batch.last() else { return Ok(replaced) };
        last = Some((newest.customer_id.clone(), newest.seq));
        replaced.revoked += revoke_batch(app, &batch, kid).await?;
    }
}

/// Reads the keys again ([`App::reload_keys`]). Revokes the licenses that a server which had not
/// noticed yet signed with a key while it was revoked.
///
/// # Errors
/// As [`App::reload_keys`].
pub async fn follow_keys(app: &App) -> Result<()> {
    let reloaded = app.reload_keys().await;
    let (now, keys) = (app.now(), app.keys.current());
    let is_recent = |revoked: Timestamp| revoked + SIGNS_AFTER_ITS_END > now;
    for key in keys.records.iter().filter(|key| key.revoked_at.is_some_and(is_recent)) {
        revoke_key(app, &key.kid).await?;
    }
    reloaded
}

/// Revokes these licenses, whose key was revoked. Returns their number, without those that were
/// revoked in the meantime. It locks the customers in the order of the licenses: by id.
async fn revoke_batch(app: &App, licenses: &[IssuedLicense], kid: &str) -> Result<u64> {
    let now = app.now();
    let (mut revoked, mut locked) = (0, None);
    let mut tx = app.store.write().await?;
    for IssuedLicense { customer_id, .. } in licenses {
        if locked != Some(customer_id) {
            tx.lock_customer(customer_id).await?;
            locked = Some(customer_id);
        }
    }
    for IssuedLicense { license_id, customer_id, plan, .. } in licenses {
        if tx.revoke_license(license_id, Some(RevocationReason::Key), now).await? {
            let detail = json!({
                "license_id": license_id.as_str(), "plan": plan, "reason": "key", "key_id": kid,
            });
            let entry = by_operator(customer_id, AuditAction::LicenseRevoked, detail);
            audit(app, &mut tx, entry, now).await?;
            revoked += 1;
        }
    }
    tx.commit(app.fail_points.at(Place::LicenseKeyRevoked)).await?;
    Ok(revoked)
}

/// Reissues a customer's current license if this key signed it. One that was revoked with the key,
/// at `key_revoked_at` or later, is due as well: it could not be reissued then.
async fn reissue(
    app: &App,
    customer_id: &CustomerId,
    kid: &str,
    key_revoked_at: Option<Timestamp>,
) -> Result<Reissue> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    tx.lock_customer(customer_id).await?;
    let current = tx.current_license(customer_id).await?;
    // A license that was revoked before, because it was not paid, has the reason `key` too by now.
    let fell_with_the_key = |held: &IssuedLicense| {
        held.revocation_reason == Some(RevocationReason::Key)
            && key_revoked_at.is_some_and(|key| held.revoked_at >= Some(key))
    };
    let is_due = |held: &IssuedLicense| {
        held.key_id == kid && (held.revoked_at.is_none() || fell_with_the_key(held))
    };
    let Some(current) = current.filter(is_due) else { return Ok(Reissue::NotDue) };
    let license = match current.entitlement(&app.plans) {
        Some(entitlement) => issue(app, &mut tx, customer_id, &entitlement, now).await?,
        None => match issue_again(app, &mut tx, &current, now).await? {
            Some(license) => license,
            None => {
                let plan = current.plan;
                tracing::warn!(%customer_id, plan, "not reissued: plan gone, license damaged");
                return Ok(Reissue::Impossible);
            }
        },
    };
    let mut detail = license.audit_detail();
    detail["instead_of_key"] = kid.into();
    audit(app, &mut tx, by_operator(customer_id, AuditAction::LicenseReissued, detail), now)
        .await?;
    let to = To::License(customer_id, &license.license_id);
    mail::enqueue(app, &mut tx, Kind::Reissue, to, now).await?;
    tx.commit(app.fail_points.at(Place::LicenseReissued)).await?;
    app.mail_due.notify_one();
    Ok(Reissue::Done)
}

/// How far the `seq` of an imported bundle may be after the present time and the published one: a
/// day. It never goes back, and verifiers read whole numbers below 2^53.
const MAX_SEQ_STEP: i64 = 86_400;

/// Takes in a key bundle that was signed on another machine. `root` is the root key, if the
/// database does not know it yet. Returns the claims.
///
/// # Errors
/// [`Error::Setup`] with the reason why apps would suffer from this bundle.
pub async fn import_bundle(
    own: &KeyStore<'_>,
    token: &str,
    root: Option<&RootRecord>,
    now: Timestamp,
) -> Result<BundleClaims> {
    let mut tx = own.store.write().await?;
    let stored = StoredKeys::read(&mut tx).await?;
    let root = match (&stored.root, root) {
        (Some(known), Some(given)) if known != given => {
            return Err(Error::setup(format!("apps pin another root key: {}", known.kid)));
        }
        (Some(known), _) => known.clone(),
        (None, Some(given)) if stored.record(&given.kid).is_some() => {
            return Err(Error::setup(format!(
                "{} is a signing key, and a root key signs nothing but the key bundle",
                given.kid
            )));
        }
        (None, Some(given)) => tx.add_root_record(given, now).await?,
        (None, None) => {
            return Err(Error::setup(
                "no root key is known yet; give its public part with --public-root FILE",
            ));
        }
    };
    let refused = |reason: String| Error::setup(format!("this bundle is refused: {reason}"));
    let claims = bundle::open(token, &root).map_err(refused)?;
    must_be_in_time(&claims, now).map_err(refused)?;
    if claims.seq <= stored.seq() {
        let (seq, last) = (claims.seq, stored.seq());
        return Err(refused(format!("its seq is {seq}, and the published one has {last}")));
    }
    if claims.seq > now.epoch_seconds().max(stored.seq()).saturating_add(MAX_SEQ_STEP) {
        return Err(refused(format!(
            "its seq is {}, and every later bundle needs a greater one; a seq is the time in \
             seconds, so take the one that `licentia keys bundle show --unsigned` prints, and sign \
             it again",
            claims.seq
        )));
    }
    must_fit(&claims.content, &stored, now).map_err(refused)?;
    let new = StoredBundle { seq: claims.seq, token: token.to_owned(), stored_at: now };
    if !own.store_bundle(tx, &stored, &claims.content, &new).await? {
        return Err(refused("another one was published meanwhile; try again".to_owned()));
    }
    Ok(claims)
}

/// Checks that the times of a bundle are right and leave apps time to get the next one.
fn must_be_in_time(claims: &BundleClaims, now: Timestamp) -> std::result::Result<(), String> {
    if claims.is_of_the_future(now) {
        let iat = Timestamp::saturating(claims.iat);
        return Err(format!(
            "its iat is {iat}, later than now ({now}), and apps that see it would refuse what is \
             signed until then; if the clock of this server is right, set iat to {} and sign it \
             again",
            now.epoch_seconds()
        ));
    }
    let Some(end) = claims.near_end(now) else { return Ok(()) };
    let ends = if end <= now { "ended" } else { "ends" };
    let days = ENDS_SOON.num_days();
    Err(format!(
        "it {ends} at {end} (exp), and apps need at least {days} days to get the next one; set exp \
         to null, or later than {}, and sign it again",
        now + ENDS_SOON
    ))
}

/// Checks that apps accept every license that was ever signed, and no revoked key.
fn must_fit(
    content: &BundleContent,
    stored: &StoredKeys,
    now: Timestamp,
) -> std::result::Result<(), String> {
    let held: Vec<_> = stored
        .records
        .iter()
        .map(|record| HeldKey { kid: &record.kid, is_preferred: false })
        .collect();
    if let Some(signs) = signing(&stored.records, &held, false, now)
        && !content.trusts(&signs.kid)
    {
        return Err(format!("it lacks the key that signs now, {}", signs.kid));
    }
    for record in &stored.records {
        let kid = &record.kid;
        let Some(entry) = content.keys.iter().find(|key| key.jwk.kid == *kid) else {
            let was_bundled = record.bundled_at.is_some() && record.revoked_at.is_none();
            if was_bundled {
                return Err(format!("it lacks the key {kid}, which the published one has"));
            }
            if record.revoked_at.is_some() && !content.revokes(kid) {
                return Err(format!("it does not revoke {kid}"));
            }
            continue;
        };
        match (record.revoked_at.is_some(), content.revokes(kid)) {
            (true, false) => return Err(format!("it does not revoke {kid}")),
            (false, true) => return Err(format!("it revokes {kid}, whose licenses are in use")),
            (true, true) => continue,
            (false, false) => {}
        }
        let is_within = entry.nbf <= record.not_before.epoch_seconds()
            && entry
                .exp
                .is_none_or(|exp| record.ends_at.is_some_and(|end| exp >= end.epoch_seconds()));
        if record.public_key.as_deref() != Some(entry.jwk.x.as_str()) || !is_within {
            return Err(format!("it has another key or another time for {kid}"));
        }
    }
    let known = |kid: &str| stored.record(kid).is_some();
    match content.keys.iter().find(|key| !known(&key.jwk.kid)) {
        Some(key) => Err(format!("no server has published its key {}", key.jwk.kid)),
        None => Ok(()),
    }
}
