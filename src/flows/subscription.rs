//! The caller's subscription: what it is, and the page where it is changed.

use crate::app::App;
use crate::domain::subscription::SubscriptionRow;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::checkout::may_return_to;
use crate::flows::session::SignedIn;

/// The caller's subscription.
///
/// # Errors
/// [`Error::NotFound`] when there never was one.
pub async fn current(app: &App, caller: &SignedIn) -> Result<SubscriptionRow> {
    let row = app.store.read().await?.subscription(&caller.customer.customer_id).await?;
    row.ok_or(Error::NotFound("subscription"))
}

/// The address of the page where the caller changes or cancels the subscription, or pays otherwise.
///
/// # Errors
/// [`Error::NotFound`] before the first checkout, [`Error::InvalidReturnUrl`],
/// [`Error::BillingNotConfigured`], [`Error::Stripe`], or a failure.
pub async fn portal(app: &App, caller: &SignedIn, return_url: Option<String>) -> Result<String> {
    if let Some(url) = &return_url {
        may_return_to(app, "return_url", url)?;
    }
    let stripe = app.stripe()?;
    let id = caller.customer.stripe_customer_id.as_ref().ok_or(Error::NotFound("subscription"))?;
    let at = app.fail_points.at(Place::PortalOpened);
    let own = || app.return_origins.first().map(ToString::to_string).unwrap_or_default();
    Ok(stripe.portal(id, &return_url.unwrap_or_else(own), at).await?)
}
