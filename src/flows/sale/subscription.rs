//! The caller's subscription, and the URL of Stripe's portal where customers change it.

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::mail_link;
use crate::flows::account::password;
use crate::flows::account::session::SignedIn;
use crate::flows::sale::checkout::may_return_to;

/// Returns the caller's current subscription.
///
/// # Errors
/// [`Error::NotFound`] when there never was one.
pub async fn current(app: &App, caller: &SignedIn) -> Result<SubscriptionRow> {
    let row = app.store.read().await?.subscription(&caller.customer.customer_id).await?;
    row.ok_or(Error::NotFound("subscription"))
}

/// Returns the URL of the portal for a customer with a session or a license.
///
/// # Errors
/// [`Error::ResetRequired`]. Those of [`portal_for_link`].
pub async fn portal_for_owner(
    app: &App,
    customer: &Customer,
    return_url: Option<String>,
) -> Result<String> {
    password::refuse_if_reset_required(customer)?;
    portal_for_link(app, customer, return_url).await
}

/// Returns the URL of the portal, where a customer changes or cancels the subscription, or updates
/// the payment method, for the reader of the customer's mailbox. Others call
/// [`portal_for_owner`].
///
/// # Errors
/// [`Error::NotFound`] before the first checkout, [`Error::InvalidReturnUrl`],
/// [`Error::BillingNotConfigured`], or [`Error::Stripe`].
pub async fn portal_for_link(
    app: &App,
    customer: &Customer,
    return_url: Option<String>,
) -> Result<String> {
    if let Some(url) = &return_url {
        may_return_to(app, "return_url", url)?;
    }
    let stripe = app.stripe()?;
    let id = customer.stripe_customer_id.as_ref().ok_or(Error::NotFound("subscription"))?;
    let at = app.fail_points.at(Place::PortalOpened);
    Ok(stripe.portal(id, &return_url.unwrap_or_else(|| app.public_url.to_string()), at).await?)
}

/// Returns the customer of a link to the portal, which a mail has.
///
/// # Errors
/// [`Error::InvalidLink`] or [`Error::LinkExpired`].
pub async fn customer_of_link(app: &App, token: &str) -> Result<Customer> {
    mail_link::open(app, LinkKind::Portal, token).await
}
