//! Syncs and links customers with Stripe, mails the link that sets a password, and ends login
//! sessions. Customers are created, changed and deleted in `customers.rs`.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::customer_lists::{AdminCustomerCodes, example_customer};
use super::customer_record::RecordView;
use super::permit_for_customer;
use crate::app::App;
use crate::domain::operator::admin_key::Operation;
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::sale::settlement::SyncReport;
use crate::error::Error;
use crate::flows::operator::customers;
use crate::flows::operator::support;
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct SupportApi;

documented!(
    StripeCodes: InsufficientScope, NotFound, TooManyRequests, BillingNotConfigured,
    BillingRefused, BillingUnavailable
);
documented!(
    LinkCodes: InsufficientScope, NotFound, StripeLinkRefused, TooManyRequests,
    BillingNotConfigured, BillingRefused, BillingUnavailable
);

/// The Stripe customer to link.
#[derive(Object)]
#[oai(rename = "StripeLink", deny_unknown_fields, example)]
struct LinkRequest {
    /// The id of the Stripe customer, or the Checkout session (`cs_…`) of a single payment, which
    /// then belongs to the customer. `null` removes the link to the Stripe customer.
    #[oai(nullable, validator(max_length = 255))]
    stripe_customer_id: MaybeUndefined<String>,
}

impl Example for LinkRequest {
    fn example() -> Self {
        Self { stripe_customer_id: MaybeUndefined::Value("cus_Abc123".into()) }
    }
}

/// The result of a sync with Stripe.
#[derive(Object)]
#[oai(rename = "SyncReport", example)]
struct SyncView {
    /// The changes, as sentences. Empty if nothing differed.
    changes: Vec<String>,
    /// The matters that an operator should look at.
    alerts: Vec<String>,
    /// Whether an operator must act on the alerts.
    needs_action: bool,
}

impl Example for SyncView {
    fn example() -> Self {
        Self {
            changes: vec![
                "subscription: none -> active (professional)".into(),
                "license: professional until 2026-12-20T15:00:00Z".into(),
            ],
            alerts: Vec::new(),
            needs_action: false,
        }
    }
}

impl From<SyncReport> for SyncView {
    fn from(report: SyncReport) -> Self {
        let SyncReport { changes, alerts, needs_action } = report;
        Self { changes, alerts, needs_action }
    }
}

/// The login sessions that were ended.
#[derive(Object)]
#[oai(rename = "EndedSessions", example)]
struct EndedView {
    /// Their number.
    sessions_ended: u64,
}

impl Example for EndedView {
    fn example() -> Self {
        Self { sessions_ended: 2 }
    }
}

#[derive(ApiResponse)]
enum RequestedResponse {
    /// The mail will be sent.
    #[oai(status = 202)]
    Requested,
}

#[OpenApi(prefix_path = "/api/admin/customers", tag = "Tag::Administration")]
impl SupportApi {
    /// Sync a customer with Stripe
    ///
    /// Fetches the state of a customer from Stripe, whatever events were lost, and returns what
    /// changed. Needs the scope `support`.
    #[oai(path = "/:customer_id/sync", method = "post", operation_id = "syncCustomer")]
    async fn sync(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<Json<SyncView>, Failure<StripeCodes>> {
        let operation = Operation::SyncCustomer;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let by = OwnedActor::Admin(caller.0.admin_key_id);
        Ok(Json(support::sync(app, by, &id).await?.into()))
    }

    /// Link a customer to Stripe
    ///
    /// Links a customer to a Stripe customer, replaces the link, or removes it, after checking with
    /// Stripe, and syncs the customer. It is refused if Stripe has no such customer, if it is
    /// linked to another customer, or if the present Stripe customer has a live subscription. Needs
    /// the scope `admin`.
    #[oai(path = "/:customer_id/stripe-link", method = "post", operation_id = "linkStripe")]
    async fn link(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        Input(request): Input<LinkRequest>,
    ) -> Result<Json<RecordView>, Failure<LinkCodes>> {
        let operation = Operation::LinkStripe;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let invalid = |problem: String| Error::InvalidRequest(problem);
        let to = match request.stripe_customer_id {
            MaybeUndefined::Undefined => {
                return Err(invalid("`stripe_customer_id` is missing".into()).into());
            }
            MaybeUndefined::Null => None,
            MaybeUndefined::Value(text) => Some(
                text.parse().map_err(|error| invalid(format!("`stripe_customer_id`: {error}")))?,
            ),
        };
        support::link(app, OwnedActor::Admin(caller.0.admin_key_id), &id, to).await?;
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app)))
    }

    /// Send a password reset
    ///
    /// Mails a customer the link that sets a password. It works once, for an hour. Needs the scope
    /// `support`.
    #[oai(
        path = "/:customer_id/password-reset",
        method = "post",
        operation_id = "sendPasswordReset"
    )]
    async fn password_reset(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<RequestedResponse, Failure<AdminCustomerCodes>> {
        let operation = Operation::SendPasswordReset;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        once.begin(app, Some(&id)).await?;
        support::send_password_reset(app, Actor::Admin(&caller.0.admin_key_id), &id).await?;
        Ok(RequestedResponse::Requested)
    }

    /// Log a customer out
    ///
    /// Ends all login sessions of a customer. Licenses keep working. Needs the scope `support`.
    #[oai(path = "/:customer_id/logout", method = "post", operation_id = "endSessions")]
    async fn logout(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<Json<EndedView>, Failure<AdminCustomerCodes>> {
        let operation = Operation::EndSessions;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let by = Actor::Admin(&caller.0.admin_key_id);
        let ended = support::end_sessions(app, by, &id).await?;
        Ok(Json(EndedView { sessions_ended: ended.try_into().unwrap_or(u64::MAX) }))
    }
}
