//! The admin API. Only its responses have Stripe ids. Each operation has a line in
//! [`Operation`], and begins with [`permit`], [`permit_for`] or [`permit_for_customer`].

mod audit;
mod customer_lists;
mod customer_record;
mod customers;
mod drift;
mod events;
mod licenses;
mod stats;
mod support;
mod webhooks;

use std::str::FromStr;

use poem_openapi::OpenApi;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::error::{Error, Result};
use crate::flows::operator::admin_key;
use crate::http::caller::AdminCaller;
use crate::http::problem::documented;
use crate::http::throttle::Throttle;

documented!(AdminCodes: InsufficientScope, TooManyRequests);

/// Returns the operations of the admin API.
pub(super) fn apis() -> impl OpenApi + 'static {
    (
        customers::AdminCustomersApi,
        customer_lists::CustomerListsApi,
        support::SupportApi,
        licenses::AdminLicensesApi,
        audit::AuditApi,
        stats::StatsApi,
        drift::DriftApi,
        events::EventsApi,
        webhooks::WebhooksApi,
    )
}

/// Checks the rate limit and the scope of an admin key, and writes the use to the audit log.
async fn permit(
    app: &App,
    throttle: &Throttle,
    caller: &AdminCaller,
    operation: Operation,
    target: Target<'_>,
) -> Result<()> {
    throttle.admin(&caller.0.admin_key_id)?;
    admin_key::authorize(app, &caller.0, operation, target).await
}

/// Permits an operation about an object as [`permit`] does. Returns the object's id, which is
/// `text`. Whether the object exists is not checked.
///
/// # Errors
/// As [`permit`], and [`Error::NotFound`] with `kind` when `text` is not an id of this kind.
async fn permit_for<Id: FromStr>(
    app: &App,
    throttle: &Throttle,
    caller: &AdminCaller,
    operation: Operation,
    text: &str,
    kind: &'static str,
) -> Result<Id> {
    permit(app, throttle, caller, operation, Target::Object(text)).await?;
    text.parse().map_err(|_| Error::NotFound(kind))
}

/// Permits an operation about a customer as [`permit`] does. Returns the customer's id, which is
/// `text`. Whether the customer exists is not checked.
///
/// # Errors
/// As [`permit`], and [`Error::NotFound`] when `text` is not a customer's id.
async fn permit_for_customer(
    app: &App,
    throttle: &Throttle,
    caller: &AdminCaller,
    operation: Operation,
    text: &str,
) -> Result<CustomerId> {
    let id = text.parse::<CustomerId>();
    let target = id.as_ref().map_or(Target::Object(text), Target::Customer);
    permit(app, throttle, caller, operation, target).await?;
    id.map_err(|_| Error::NotFound("customer"))
}
