//! Creates, changes and deletes customers, syncs and links them with Stripe, mails the link that
//! sets a password, and ends login sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::customer_lists::{AdminCustomerCodes, example_customer};
use super::customers::RecordView;
use super::{permit, permit_for_customer};
use crate::app::App;
use crate::domain::account::metadata::Metadata;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::sale::settlement::SyncReport;
use crate::error::{self, Error};
use crate::flows::account::customer::Change;
use crate::flows::operator::customers;
use crate::flows::operator::support::{self, NewCustomer, RecordChange};
use crate::http::Tag;
use crate::http::account::view::{name, optional_name};
use crate::http::caller::AdminCaller;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct SupportApi;

documented!(
    CreateCodes: InsufficientScope, EmailTaken, InvalidEmail, InvalidName, InvalidMetadata,
    TooManyRequests
);
documented!(
    ChangeCodes: InsufficientScope, NotFound, EmailTaken, InvalidEmail, InvalidName,
    InvalidMetadata, TooManyRequests
);
documented!(
    StripeCodes: InsufficientScope, NotFound, TooManyRequests, BillingNotConfigured,
    BillingRefused, BillingUnavailable
);
documented!(
    LinkCodes: InsufficientScope, NotFound, StripeLinkRefused, TooManyRequests,
    BillingNotConfigured, BillingRefused, BillingUnavailable
);

/// A customer to create.
#[derive(Object)]
#[oai(rename = "NewCustomer", deny_unknown_fields, example)]
struct CreateRequest {
    /// The login name.
    #[oai(validator(max_length = 254))]
    email: String,
    /// Whether you vouch for the address.
    #[oai(nullable, skip_serializing_if_is_none)]
    email_verified: Option<bool>,
    /// The person's name, in one line.
    #[oai(nullable, skip_serializing_if_is_none, validator(max_length = 200))]
    name: Option<String>,
    /// The company's name, in one line.
    #[oai(nullable, skip_serializing_if_is_none, validator(max_length = 200))]
    company_name: Option<String>,
    /// Free-form texts that support keeps: at most 50 keys of 40 characters, with values of 500
    /// characters.
    #[oai(nullable, skip_serializing_if_is_none)]
    metadata: Option<BTreeMap<String, String>>,
}

impl Example for CreateRequest {
    fn example() -> Self {
        Self {
            email: "katherine@example.com".into(),
            email_verified: Some(true),
            name: Some("Katherine Johnson".into()),
            company_name: None,
            metadata: Some(BTreeMap::from([("crm".into(), "4711".into())])),
        }
    }
}

/// The fields to change. An absent field is kept; `null` clears a name.
#[derive(Object)]
#[oai(rename = "CustomerRecordChange", deny_unknown_fields, example)]
struct ChangeRequest {
    /// The new address, which is also the new login name. It takes effect at once.
    #[oai(skip_serializing_if_is_none, validator(max_length = 254))]
    email: Option<String>,
    /// Whether the address is verified. A new address is not verified unless this is true.
    #[oai(skip_serializing_if_is_none)]
    email_verified: Option<bool>,
    /// The person's name.
    #[oai(nullable, validator(max_length = 200))]
    name: MaybeUndefined<String>,
    /// The company's name.
    #[oai(nullable, validator(max_length = 200))]
    company_name: MaybeUndefined<String>,
    /// Free-form texts, which replace the kept ones: at most 50 keys of 40 characters, with values
    /// of 500 characters.
    #[oai(skip_serializing_if_is_none)]
    metadata: Option<BTreeMap<String, String>>,
}

impl Example for ChangeRequest {
    fn example() -> Self {
        Self {
            email: Some("grace.hopper@example.com".into()),
            email_verified: Some(true),
            name: MaybeUndefined::Undefined,
            company_name: MaybeUndefined::Undefined,
            metadata: None,
        }
    }
}

/// The Stripe customer to link.
#[derive(Object)]
#[oai(rename = "StripeLink", deny_unknown_fields, example)]
struct LinkRequest {
    /// The id of the Stripe customer. `null` removes the link.
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
    /// What changed, as sentences. Empty if nothing differed.
    changes: Vec<String>,
    /// What an operator should look at.
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
enum CreatedResponse {
    /// The new customer.
    #[oai(status = 201)]
    Created(Json<RecordView>),
}

#[derive(ApiResponse)]
enum RemovedResponse {
    /// The customer was deleted, with all sessions and licenses.
    #[oai(status = 204)]
    Removed,
}

#[derive(ApiResponse)]
enum RequestedResponse {
    /// The mail will be sent.
    #[oai(status = 202)]
    Requested,
}

#[OpenApi(prefix_path = "/api/admin/customers", tag = "Tag::Administration")]
impl SupportApi {
    /// Create a customer
    ///
    /// Creates a customer without a password and without a license, and sends no mail. A password
    /// reset lets the customer set the first password. Needs the scope `support`.
    #[oai(path = "/", method = "post", operation_id = "createCustomer")]
    async fn create(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        Input(request): Input<CreateRequest>,
    ) -> Result<CreatedResponse, Failure<CreateCodes>> {
        permit(app, throttle, &caller, Operation::CreateCustomer, Target::Service).await?;
        let new = NewCustomer {
            email: request.email.parse().map_err(Error::InvalidEmail)?,
            email_verified: request.email_verified.unwrap_or_default(),
            name: optional_name("name", request.name)?,
            company_name: optional_name("company_name", request.company_name)?,
            metadata: Metadata::new(request.metadata.unwrap_or_default())
                .map_err(Error::InvalidMetadata)?,
        };
        let id = support::create(app, Actor::Admin(&caller.0.admin_key_id), new).await?;
        let record = customers::record(app, &id).await?;
        Ok(CreatedResponse::Created(Json(RecordView::new(record, app.now()))))
    }

    /// Change a customer
    ///
    /// Changes the address, the names and the metadata. A new address takes effect at once: both
    /// addresses get a notice, links that were mailed before no longer work, and Stripe gets the new
    /// address. Needs the scope `support`.
    #[oai(path = "/:customer_id", method = "patch", operation_id = "updateCustomer")]
    async fn change(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        Input(request): Input<ChangeRequest>,
    ) -> Result<Json<RecordView>, Failure<ChangeCodes>> {
        let operation = Operation::UpdateCustomer;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let email = request.email.map(|email| email.parse::<Email>()).transpose();
        let metadata = request.metadata.map(Metadata::new).transpose();
        let change = RecordChange {
            email: email.map_err(Error::InvalidEmail)?,
            email_verified: request.email_verified,
            name: name_change("name", request.name)?,
            company_name: name_change("company_name", request.company_name)?,
            metadata: metadata.map_err(Error::InvalidMetadata)?,
        };
        support::change(app, Actor::Admin(&caller.0.admin_key_id), &id, change).await?;
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app.now())))
    }

    /// Delete a customer
    ///
    /// Permanently deletes a customer with all sessions and licenses, as the customer can do. A
    /// subscription is canceled first; if that fails, nothing is deleted. The customer gets a mail.
    /// Needs the scope `admin`.
    #[oai(path = "/:customer_id", method = "delete", operation_id = "deleteCustomer")]
    async fn delete(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<RemovedResponse, Failure<StripeCodes>> {
        let operation = Operation::DeleteCustomer;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        support::delete(app, OwnedActor::Admin(caller.0.admin_key_id), &id).await?;
        Ok(RemovedResponse::Removed)
    }

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
    /// Stripe, and syncs the customer. It is refused if Stripe has no such customer, if it is linked
    /// to another customer, or if the present Stripe customer has a live subscription. Needs the
    /// scope `admin`.
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
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app.now())))
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
    ) -> Result<RequestedResponse, Failure<AdminCustomerCodes>> {
        let operation = Operation::SendPasswordReset;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
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

fn name_change(
    field: &'static str,
    to: MaybeUndefined<String>,
) -> error::Result<Change<DisplayName>> {
    Ok(match to {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(text) => Change::Set(name(field, &text)?),
    })
}
