//! Ends the portal's schedules that a later wish of the customer replaces. Those of the vendor are
//! never touched.

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::sale::stripe_state::StripeState;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::stripe_customer::ended;
use crate::stripe::{ChangeParameters, StripeFailure};

/// Ends a schedule, if there is one. Its subscription stays as it is.
///
/// # Errors
/// [`crate::error::Error::Stripe`].
pub(super) async fn release(app: &App, schedule: Option<&str>) -> Result<()> {
    if let Some(schedule) = schedule {
        let at = app.fail_points.at(Place::ChangeCleared);
        ended(app.stripe()?.release_schedule(schedule, at).await)?;
    }
    Ok(())
}

/// Ends the schedule that the customer's last change replaces, once that change is in effect:
/// otherwise it would undo the change at the end of the period. It stays until the change is paid,
/// because it is still wanted if that never happens.
///
/// # Errors
/// [`crate::error::Error::Stripe`], or a failure of the database.
pub(super) async fn release_replaced(
    app: &App,
    customer_id: &CustomerId,
    state: &StripeState,
) -> Result<()> {
    if state.subscriptions.iter().all(|subscription| subscription.schedule.is_none()) {
        return Ok(());
    }
    let stored = app.store.read().await?.subscription_change(customer_id).await?;
    // Another version may have written it.
    let parameters: Option<ChangeParameters> =
        stored.and_then(|stored| serde_json::from_str(stored.parameters.as_str()).ok());
    let Some(parameters) = parameters else { return Ok(()) };
    let Some(found) = parameters.subscription_in(state) else { return Ok(()) };
    let may_be_used = parameters.new_invoice(found).is_some();
    if found.pending_until.is_none()
        && found.schedule == parameters.schedule
        && parameters.is_in_effect(found, may_be_used)
    {
        return match release(app, found.schedule.as_deref()).await {
            // The sync must continue: the change is paid.
            Err(Error::Stripe(error @ StripeFailure::Refused { .. })) => {
                tracing::warn!(
                    subscription = %found.id,
                    %error,
                    "a schedule that a change replaces could not be ended; end it at Stripe, or it \
                     undoes the change at the end of the period"
                );
                app.metrics.sync_alerts.inc();
                Ok(())
            }
            released => released,
        };
    }
    Ok(())
}
