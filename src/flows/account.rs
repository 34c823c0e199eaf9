//! A customer's own record: change it, delete it.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::session::SignedIn;
use crate::store::{AuditEntry, Customer, Tx};

/// What to do with an optional field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Leave it as it is.
    Keep,
    /// Empty it.
    Clear,
    /// Write this.
    Set(T),
}

impl<T> Change<T> {
    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

/// What a customer may change of their record.
#[derive(Debug)]
pub struct AccountChange {
    /// A new address; it is also the new login.
    pub email: Option<Email>,
    /// The person's name.
    pub name: Change<DisplayName>,
    /// The company's name.
    pub company_name: Change<DisplayName>,
}

/// Changes the caller's record. Answers how it is now.
///
/// # Errors
/// [`crate::error::Error::EmailTaken`], or a failure.
pub async fn update(app: &App, caller: &SignedIn, change: AccountChange) -> Result<Customer> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    // Read again under the lock: another change may have come between.
    let Some(before) = tx.lock_customer(&caller.customer.customer_id).await? else {
        return Err(crate::error::Error::Unauthenticated);
    };
    let mut after = before.clone();
    if let Some(email) = change.email {
        after.email = email;
    }
    change.name.apply(&mut after.name);
    change.company_name.apply(&mut after.company_name);
    if after == before {
        return Ok(before);
    }
    let changed = [
        ("email", after.email != before.email),
        ("name", after.name != before.name),
        ("company_name", after.company_name != before.company_name),
    ];
    let changed: Vec<_> = changed.iter().filter(|(_, yes)| *yes).map(|(name, _)| name).collect();
    let after = tx.update_customer(&after, now).await?;
    let detail = json!({ "changed": changed });
    audit(app, &mut tx, &after.customer_id, "customer.changed", detail, now).await?;
    tx.commit().await?;
    Ok(after)
}

/// Deletes the caller: the user, the customer, every session and license.
///
/// # Errors
/// A failure of the database.
pub async fn delete(app: &App, caller: &SignedIn) -> Result<()> {
    let now = app.now();
    let customer = &caller.customer;
    let mut tx = app.store.write().await?;
    tx.delete_user(&customer.user_id).await?;
    audit(app, &mut tx, &customer.customer_id, "customer.deleted", json!({}), now).await?;
    tx.commit().await
}

/// Notes what the customer did, in the transaction that did it.
pub(super) async fn audit(
    app: &App,
    tx: &mut Tx,
    customer_id: &CustomerId,
    action: &'static str,
    detail: Value,
    now: Timestamp,
) -> Result<()> {
    let audit_id = AuditId::from_random(app.random.bits());
    tx.audit(AuditEntry { audit_id, actor: "customer", action, customer_id, detail }, now).await
}
