//! A customer's own record: change it, delete it.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::{DisplayName, Email};
use crate::domain::customer::{Customer, SyncStatus};
use crate::domain::ids::CustomerId;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::lease::Lease;
use crate::flows::session::SignedIn;
use crate::flows::{audit, inbox, stripe_customer};
use crate::store::Tx;

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
/// [`Error::EmailTaken`], or a failure.
pub async fn update(app: &App, caller: &SignedIn, change: AccountChange) -> Result<Customer> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    // Read again under the lock: another change may have come between.
    let Some(before) = tx.lock_customer(&caller.customer.customer_id).await? else {
        return Err(Error::Unauthenticated);
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
    let entry = by_customer(&after.customer_id, AuditAction::CustomerChanged, detail);
    audit(app, &mut tx, entry, now).await?;
    let due = after.due_since(&before);
    if after.stripe_customer_id.is_some() && due != SyncStatus::Synced {
        let due = before.stripe_sync_status.map_or(due, |earlier| earlier.and(due));
        inbox::tell_of_change(app, &mut tx, &after.customer_id, due, now).await?;
    }
    tx.commit(app.fail_points.at(Place::AccountChanged)).await?;
    app.events_due.notify_one();
    Ok(after)
}

/// Deletes the caller: the user, the customer, every session and license. A subscription is ended
/// first, so that nobody is charged for an account that is gone.
///
/// # Errors
/// [`Error::Stripe`] when a subscription could not be ended: then nothing is deleted. A failure of
/// the database.
pub async fn delete(app: &App, caller: &SignedIn) -> Result<()> {
    let customer_id = caller.customer.customer_id.clone();
    if app.stripe.is_none() && caller.customer.stripe_customer_id.is_none() {
        let mut tx = app.store.write().await?;
        // In the order of every other flow, customer first; and of two deletions, one tells of it.
        let customer = tx.lock_customer(&customer_id).await?.ok_or(Error::Unauthenticated)?;
        return delete_here(app, tx, &customer).await;
    }
    // On its own: a caller who hangs up must not leave it half done, and the lease taken.
    let own = app.clone();
    app.tasks
        .run(async move {
            let lease = Lease::take(&own, &customer_id).await.map_err(gone)?;
            let work = async {
                stripe_customer::close(&own, &lease).await.map_err(gone)?;
                let mut tx = own.store.write().await?;
                // Who slept past the end of the lease may delete somebody who opened a checkout since.
                let customer = lease.lock(&mut tx).await.map_err(gone)?;
                delete_here(&own, tx, &customer).await
            };
            lease.during(&own, work).await
        })
        .await
}

/// Of two deletions, the second finds nobody.
fn gone(error: Error) -> Error {
    if matches!(error, Error::NotFound(_)) { Error::Unauthenticated } else { error }
}

/// Deletes a customer who is locked.
async fn delete_here(app: &App, mut tx: Tx, customer: &Customer) -> Result<()> {
    tx.forget_events_of(customer).await?;
    tx.delete_user(&customer.user_id).await?;
    let entry = by_customer(&customer.customer_id, AuditAction::CustomerDeleted, json!({}));
    audit(app, &mut tx, entry, app.now()).await?;
    tx.commit(app.fail_points.at(Place::AccountDeleted)).await
}

/// Something that a customer did.
pub(super) fn by_customer<'a>(
    customer_id: &'a CustomerId,
    action: AuditAction,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry { actor: Actor::Customer, action, customer_id: Some(customer_id), detail }
}
