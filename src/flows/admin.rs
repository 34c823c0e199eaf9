//! Admin keys: made, listed and revoked on the command line, known by the API, and every use of one
//! written down. There is none until an operator makes it.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::admin_key::{AdminKey, Operation, Scope, StoredAdminKey};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::DisplayName;
use crate::domain::ids::AdminKeyId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::{audit, brief, secret_hash};

/// Keys that are listed at once: one for each tool and person, for years.
const LISTED: i64 = 1000;

/// Makes a key. It is shown to whoever asked for it, and kept nowhere.
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
    tx.insert_admin_key(&stored, &secret_hash(key.expose())).await?;
    audit(app, &mut tx, by_operator(AuditAction::AdminKeyCreated, &stored), now).await?;
    tx.commit(app.fail_points.at(Place::AdminKeyCreated)).await?;
    Ok((stored, key))
}

/// The keys, the newest first, those that are over too.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App) -> Result<Vec<StoredAdminKey>> {
    app.store.read().await?.admin_keys(LISTED).await
}

/// Revokes a key: from the moment that this answers, no server takes it. Answers how it is now.
///
/// # Errors
/// [`Error::NotFound`].
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
    AuditEntry { actor: Actor::Operator, action, customer_id: None, detail }
}

/// Whose key was sent.
///
/// # Errors
/// [`Error::Unauthenticated`], the same for one that never was, has ended, or was revoked.
pub async fn recognise(app: &App, sent: &str) -> Result<StoredAdminKey> {
    let key: AdminKey = sent.parse().map_err(|_| Error::Unauthenticated)?;
    let found = app.store.read().await?.admin_key_by_hash(&secret_hash(key.expose())).await?;
    let found = found.ok_or(Error::Unauthenticated)?;
    if !found.works(app.now()) {
        tracing::warn!(admin_key_id = %found.admin_key_id, "an admin key that is over was sent");
        return Err(Error::Unauthenticated);
    }
    Ok(found)
}

/// Lets the holder of a key do something, and writes that down first: what cannot be audited is not
/// done. `target` is what it is done to.
///
/// # Errors
/// [`Error::InsufficientScope`], [`Error::Unauthenticated`] when the key was revoked meanwhile, or a
/// failure of the database.
pub async fn permit(
    app: &App,
    key: &StoredAdminKey,
    operation: Operation,
    target: Option<&str>,
) -> Result<()> {
    let now = app.now();
    let refused = key.scope < operation.needs();
    let mut tx = app.store.write().await?;
    if !tx.use_admin_key(&key.admin_key_id, now).await? {
        return Err(Error::Unauthenticated);
    }
    let mut detail = json!({ "operation": operation.as_str() });
    if let Some(target) = target {
        detail["target"] = brief(target).into();
    }
    if refused {
        detail["refused"] = Value::Bool(true);
    }
    let entry = AuditEntry {
        actor: Actor::Admin(&key.admin_key_id),
        action: AuditAction::AdminKeyUsed,
        customer_id: None,
        detail,
    };
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::AdminKeyUsed)).await?;
    if refused {
        return Err(Error::InsufficientScope { needed: operation.needs(), held: key.scope });
    }
    Ok(())
}
