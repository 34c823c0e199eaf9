//! Finds, shows, creates, changes and deletes customers. The responses have Stripe ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::customer_lists::{AdminCustomerCodes, example_customer};
use super::customer_record::RecordView;
use super::licenses::LicenseRecord;
use super::support::StripeCodes;
use super::{AdminCodes, permit, permit_for_customer};
use crate::app::App;
use crate::domain::account::metadata::Metadata;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::license::explanation::Explanation;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::operator::search::{Search, SearchPosition};
use crate::domain::operator::why::{Reason, Subject};
use crate::domain::time::Timestamp;
use crate::error::{self, Error};
use crate::flows::account::customer::Change;
use crate::flows::operator::customers::{self, Found};
use crate::flows::operator::support::{self, NewCustomer, RecordChange};
use crate::http::Tag;
use crate::http::account::view::{name, optional_name};
use crate::http::caller::AdminCaller;
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::page::{self, default_limit};
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct AdminCustomersApi;

/// A customer that was found.
#[derive(Object)]
#[oai(rename = "FoundCustomer", example)]
struct FoundView {
    /// The id of the customer.
    customer_id: String,
    /// The email address.
    email: String,
    /// Whether the address is verified.
    email_verified: bool,
    /// The person's name.
    #[oai(nullable)]
    name: Option<String>,
    /// The company's name.
    #[oai(nullable)]
    company_name: Option<String>,
    /// The Stripe customer. `null` if there is none.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The id of the current license. `null` if there is none.
    #[oai(nullable)]
    license_id: Option<String>,
    /// The plan of the current license.
    #[oai(nullable)]
    plan: Option<String>,
    /// When the customer signed up.
    created_at: DateTime<Utc>,
}

impl Example for FoundView {
    fn example() -> Self {
        Self {
            customer_id: example_customer(),
            email: "grace@example.com".into(),
            email_verified: true,
            name: Some("Grace Hopper".into()),
            company_name: Some("Eckert-Mauchly Corporation".into()),
            stripe_customer_id: Some("cus_Abc123".into()),
            license_id: Some("lic_0123456789abcdef0123456789abcdef".into()),
            plan: Some("professional".into()),
            created_at: Timestamp::saturating(1_795_186_800).to_datetime(),
        }
    }
}

impl From<Found> for FoundView {
    fn from(Found { customer: found, license }: Found) -> Self {
        let text = |name: DisplayName| name.as_str().to_owned();
        Self {
            customer_id: found.customer_id.to_string(),
            email: found.email.to_string(),
            email_verified: found.email_verified_at.is_some(),
            name: found.name.map(text),
            company_name: found.company_name.map(text),
            stripe_customer_id: found.stripe_customer_id.map(|id| id.to_string()),
            license_id: license.as_ref().map(|license| license.license_id.to_string()),
            plan: license.map(|license| license.plan),
            created_at: found.created_at.to_datetime(),
        }
    }
}

/// A page of customers.
#[derive(Object)]
struct FoundCustomers {
    /// The customers, by the address or the word that matched. If each word of the query matches
    /// 10,000 customers or more, a page that is not the last one may have fewer than `limit`.
    customers: Vec<FoundView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

documented!(
    CreateCodes: InsufficientScope, EmailTaken, InvalidEmail, InvalidName, InvalidMetadata,
    TooManyRequests
);
documented!(
    ChangeCodes: InsufficientScope, NotFound, EmailTaken, InvalidEmail, InvalidName,
    InvalidMetadata, TooManyRequests
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

#[OpenApi(prefix_path = "/api/admin/customers", tag = "Tag::Administration")]
impl AdminCustomersApi {
    /// Find customers
    ///
    /// Returns the customer with an id (`cust_`, `lic_`, `ord_`, or Stripe's `cus_`, `sub_`, `in_`,
    /// `pi_`, `cs_`) or with a license token. Any other query finds the customers whose address,
    /// name or company has words that begin with the words of the query. Without a query, all
    /// customers are listed. Needs the scope `read`.
    #[oai(path = "/", method = "get", operation_id = "findCustomers")]
    async fn find(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// An id, a license token, an address or its beginning, or words of a name. Of more than
        /// three words, the longest three count.
        #[oai(example = "example_query", validator(max_length = 8192))]
        query: Query<Option<String>>,
        /// The maximum number of customers to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page of the same query.
        #[oai(example = "example_after")]
        after: Query<Option<String>>,
    ) -> Result<Json<FoundCustomers>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::FindCustomers, Target::Service).await?;
        let search = Search::parse(query.as_deref().unwrap_or_default());
        let page = customers::find(app, &search, &page::request(&limit, &after)?).await?;
        Ok(Json(FoundCustomers {
            customers: page.entries.into_iter().map(FoundView::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// Get a customer
    ///
    /// Returns what is stored about a customer: whether the address is verified, the Stripe ids,
    /// the last sync, the subscription and the current license. Needs the scope `read`.
    #[oai(path = "/:customer_id", method = "get", operation_id = "getCustomer")]
    async fn get(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<Json<RecordView>, Failure<AdminCustomerCodes>> {
        let operation = Operation::GetCustomer;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app)))
    }

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
        #[oai(name = "Idempotency-Key")] once: Once,
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
        let id = match once.begin(app, None).await?.id() {
            Some(id) => id,
            None => support::create(app, Actor::Admin(&caller.0.admin_key_id), new).await?,
        };
        let record = customers::record(app, &id).await?;
        Ok(CreatedResponse::Created(Json(RecordView::new(record, app))))
    }

    /// Change a customer
    ///
    /// Changes the address, the names and the metadata. A new address takes effect at once: both
    /// addresses get a notice, links that were mailed before no longer work, and Stripe gets the
    /// new address. Needs the scope `support`.
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
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app)))
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

    /// Explain a license
    ///
    /// Returns why a customer has the current license now: the license, the action that issued it,
    /// the subscription, the payment, the event and the policy, each as a sentence with its time.
    /// Also returns what the license says, whether it is valid, and what changes next. Needs the
    /// scope `read`.
    #[oai(path = "/:customer_id/why", method = "get", operation_id = "explainLicense")]
    async fn why(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<Json<WhyView>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ExplainLicense;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let why = customers::why(app, &id).await?;
        let license = why.record.license.map(|license| LicenseRecord::new(license, app.now()));
        let reasons = why.reasons.into_iter().map(ReasonView::from).collect();
        let explanation = why.explanation.map(ExplanationView::from);
        Ok(Json(WhyView { license, explanation, reasons }))
    }
}

/// Why a customer has the current license.
#[derive(Object)]
#[oai(rename = "Why")]
struct WhyView {
    /// The current license.
    #[oai(nullable)]
    license: Option<LicenseRecord>,
    /// The license in sentences, the verdict on it, and the next changes. `null` without a license.
    #[oai(nullable)]
    explanation: Option<ExplanationView>,
    /// The reasons, the license first.
    reasons: Vec<ReasonView>,
}

/// A license in sentences, as `licentia license explain` prints them.
#[derive(Object)]
#[oai(rename = "LicenseExplanation", example)]
struct ExplanationView {
    /// The content of the license.
    license: Vec<String>,
    /// The verdict of an app that has the newest keys and status list, and the reason.
    verdict: Vec<String>,
    /// The next changes, and when, if the app fetches nothing.
    next: Vec<String>,
}

impl Example for ExplanationView {
    fn example() -> Self {
        Self {
            license: vec!["Its plan is `professional`. It is a full license, not a trial.".into()],
            verdict: vec![
                "The license is valid (state `active`): everything that it grants works.".into(),
            ],
            next: vec![
                "Time changes nothing more: it stays like this until the app gets another license."
                    .into(),
            ],
        }
    }
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        let Explanation { license, verdict, next } = explanation;
        Self { license, verdict, next }
    }
}

/// One reason.
#[derive(Object)]
#[oai(rename = "Reason", example)]
struct ReasonView {
    /// When it happened.
    at: DateTime<Utc>,
    /// The reason, as a sentence.
    text: String,
    /// The subject: `license`, `action`, `subscription`, `payment`, `event` or `policy`.
    about: String,
    /// The id of the license, audit entry, subscription, order or event.
    #[oai(nullable)]
    id: Option<String>,
}

impl Example for ReasonView {
    fn example() -> Self {
        Reason {
            at: Timestamp::saturating(1_795_186_800),
            text:
                "The payment of 4900 usd (smallest unit) for `professional` is `succeeded`: order \
                   ord_0123456789abcdef0123456789abcdef, invoice in_1QabcdEFGH."
                    .into(),
            subject: Subject::Payment,
            id: Some("ord_0123456789abcdef0123456789abcdef".into()),
        }
        .into()
    }
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        Self {
            at: reason.at.to_datetime(),
            text: reason.text,
            about: reason.subject.to_string(),
            id: reason.id,
        }
    }
}

fn example_query() -> Option<String> {
    Some("grace@exam".into())
}

fn example_after() -> Option<String> {
    Some(SearchPosition::example().cursor().to_string())
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
