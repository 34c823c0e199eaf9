//! Admin keys: the command line creates, lists and revokes them, and the API accepts them. Every
//! use is audited. No key exists until an operator creates one.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::contact::DisplayName;
use crate::domain::ids::AdminKeyId;
use crate::domain::operator::admin_key::{AdminKey, Operation, Scope, StoredAdminKey, Target};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::{audit, brief};

/// The most keys that are listed.
const MAX_LISTED: i64 = 1000;

/// Creates a key. Returns the stored record and the key itself, which is not stored.
///
/// # Errors
/// A failure of the database.
pub async fn create(
    app: &App,
    name: DisplayName,
    scope: Scope,
    expires_at: Option<Timestamp>,
) -> Result<(StoredAdminKey, AdminKey)> {
    let now = app.now();
    let key = AdminKey::from_random(app.random.bytes());
    let stored = StoredAdminKey {
        admin_key_id: AdminKeyId::from_random(app.random.bits()),
        name,
        scope,
        visible_prefix: key.visible().to_owned(),
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    let mut tx = app.store.write().await?;
    tx.insert_admin_key(&stored, &key.hash()).await?;
    audit(app, &mut tx, by_operator(AuditAction::AdminKeyCreated, &stored), now).await?;
    tx.commit(app.fail_points.at(Place::AdminKeyCreated)).await?;
    Ok((stored, key))
}

/// Returns the newest keys, including revoked and expired ones.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App) -> Result<Vec<StoredAdminKey>> {
    app.store.read().await?.admin_keys(MAX_LISTED).await
}

/// Revokes a key. Every server refuses it as soon as this returns. Returns the key's record.
///
/// # Errors
/// [`Error::NotFound`] when there is no such key.
pub async fn revoke(app: &App, id: &AdminKeyId) -> Result<StoredAdminKey> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let revoked = tx.revoke_admin_key(id, now).await?.ok_or(Error::NotFound("admin key"))?;
    audit(app, &mut tx, by_operator(AuditAction::AdminKeyRevoked, &revoked), now).await?;
    tx.commit(app.fail_points.at(Place::AdminKeyRevoked)).await?;
    Ok(revoked)
}

fn by_operator(action: AuditAction, key: &StoredAdminKey) -> AuditEntry<'static> {
    let (id, scope) = (key.admin_key_id.as_str(), key.scope.as_str());
    let detail = json!({ "admin_key_id": id, "name": key.name.as_str(), "scope": scope });
    AuditEntry::new(Actor::Operator, action, None, detail)
}

/// Returns the record of a key that a caller sent.
///
/// # Errors
/// [`Error::Unauthenticated`], without a difference between unknown, expired and revoked keys.
pub async fn authenticate(app: &App, sent: &str) -> Result<StoredAdminKey> {
    let key: AdminKey = sent.parse().map_err(|_| Error::Unauthenticated)?;
    let stored = app.store.read().await?.admin_key_by_hash(&key.hash()).await?;
    let stored = stored.ok_or(Error::Unauthenticated)?;
    if !stored.works(app.now()) {
        let admin_key_id = &stored.admin_key_id;
        tracing::warn!(%admin_key_id, "an expired or revoked admin key was used");
        return Err(Error::Unauthenticated);
    }
    Ok(stored)
}

/// Permits an operation to the holder of a key, and audits it first: an operation that cannot be
/// audited is not permitted.
///
/// # Errors
/// [`Error::InsufficientScope`], [`Error::Unauthenticated`] when the key was revoked in the
/// meantime, or a failure of the database.
pub async fn authorize(
    app: &App,
    key: &StoredAdminKey,
    operation: Operation,
    target: Target<'_>,
) -> Result<()> {
    let now = app.now();
    let refused = key.scope < operation.needs();
    let mut tx = app.store.write().await?;
    if !tx.use_admin_key(&key.admin_key_id, now).await? {
        return Err(Error::Unauthenticated);
    }
    let mut detail = json!({ "operation": operation.as_str() });
    let customer_id = match target {
        Target::Service => None,
        Target::Customer(customer_id) => Some(customer_id),
        Target::Object(id) => {
            detail["target"] = brief(id).into();
            None
        }
    };
    if refused {
        detail["refused"] = Value::Bool(true);
    }
    let actor = Actor::Admin(&key.admin_key_id);
    let entry = AuditEntry::new(actor, AuditAction::AdminKeyUsed, customer_id, detail);
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::AdminKeyUsed)).await?;
    if refused {
        return Err(Error::InsufficientScope { needed: operation.needs(), held: key.scope });
    }
    Ok(())
}
