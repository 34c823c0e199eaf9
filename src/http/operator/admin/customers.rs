//! Finds customers, and shows a customer's record. The responses have Stripe ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::customer_lists::{AdminCustomerCodes, LicenseRecord, example_customer};
use super::{AdminCodes, permit, permit_for_customer};
use crate::app::App;
use crate::domain::contact::DisplayName;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::search::{FoundCustomer, Search};
use crate::domain::operator::why::{Reason, Subject};
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers::{self, Record};
use crate::http::Tag;
use crate::http::account::view::CustomerView;
use crate::http::caller::AdminCaller;
use crate::http::page::{self, default_limit};
use crate::http::problem::Failure;
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
            created_at: Timestamp::saturating(1_795_186_800).to_datetime(),
        }
    }
}

impl From<FoundCustomer> for FoundView {
    fn from(found: FoundCustomer) -> Self {
        let text = |name: DisplayName| name.as_str().to_owned();
        Self {
            customer_id: found.customer_id.to_string(),
            email: found.email.to_string(),
            email_verified: found.email_verified_at.is_some(),
            name: found.name.map(text),
            company_name: found.company_name.map(text),
            stripe_customer_id: found.stripe_customer_id.map(|id| id.to_string()),
            created_at: found.created_at.to_datetime(),
        }
    }
}

/// A page of customers.
#[derive(Object)]
struct FoundCustomers {
    /// The customers, by the address or the word that matched.
    customers: Vec<FoundView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A customer's subscription, with its Stripe id.
#[derive(Object)]
#[oai(rename = "SubscriptionRecord", example)]
struct SubscriptionRecord {
    /// The id of the subscription at Stripe.
    stripe_subscription_id: String,
    /// The plan's id. `null` if no plan has the price of the subscription.
    #[oai(nullable)]
    plan: Option<String>,
    /// The status at Stripe, for example `active` or `past_due`.
    status: String,
    /// The end of the current period.
    #[oai(nullable)]
    current_period_end: Option<DateTime<Utc>>,
    /// When the subscription ends, if it was canceled.
    #[oai(nullable)]
    cancel_at: Option<DateTime<Utc>>,
    /// When the subscription was created.
    created_at: DateTime<Utc>,
    /// When it last changed here.
    updated_at: DateTime<Utc>,
}

impl Example for SubscriptionRecord {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            stripe_subscription_id: "sub_1QabcdEFGH".into(),
            plan: Some("professional".into()),
            status: "active".into(),
            current_period_end: Some(time(1_797_778_800)),
            cancel_at: None,
            created_at: time(1_795_186_800),
            updated_at: time(1_795_186_800),
        }
    }
}

impl From<SubscriptionRow> for SubscriptionRecord {
    fn from(row: SubscriptionRow) -> Self {
        Self {
            stripe_subscription_id: row.stripe_subscription_id.to_string(),
            plan: row.plan,
            status: row.status.to_string(),
            current_period_end: row.current_period_end.map(Timestamp::to_datetime),
            cancel_at: row.cancel_at.map(Timestamp::to_datetime),
            created_at: row.created_at.to_datetime(),
            updated_at: row.updated_at.to_datetime(),
        }
    }
}

/// What is stored about a customer.
#[derive(Object)]
#[oai(rename = "CustomerRecord", example)]
pub(super) struct RecordView {
    /// The id of the customer.
    customer_id: String,
    /// The customer.
    customer: CustomerView,
    /// The Stripe customer. `null` if there is none.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The changes that are not sent to Stripe yet: `synced`, `name_due`, `email_due` or `due`.
    /// `null` without a Stripe customer.
    #[oai(nullable)]
    stripe_sync_status: Option<String>,
    /// When the customer was last synced with Stripe.
    #[oai(nullable)]
    stripe_synced_at: Option<DateTime<Utc>>,
    /// The id of the default payment method at Stripe.
    #[oai(nullable)]
    default_payment_method: Option<String>,
    /// The subscription, as of the last sync.
    #[oai(nullable)]
    subscription: Option<SubscriptionRecord>,
    /// The current license.
    #[oai(nullable)]
    license: Option<LicenseRecord>,
    /// Free-form texts that support keeps.
    metadata: BTreeMap<String, String>,
}

impl Example for RecordView {
    fn example() -> Self {
        Self {
            customer_id: example_customer(),
            customer: CustomerView::example(),
            stripe_customer_id: Some("cus_Abc123".into()),
            stripe_sync_status: Some("synced".into()),
            stripe_synced_at: Some(Timestamp::saturating(1_795_186_800).to_datetime()),
            default_payment_method: Some("pm_1QabcdEFGH".into()),
            subscription: Some(SubscriptionRecord::example()),
            license: Some(LicenseRecord::example()),
            metadata: BTreeMap::from([("crm".into(), "4711".into())]),
        }
    }
}

impl RecordView {
    pub(super) fn new(record: Record, now: Timestamp) -> Self {
        let Record { customer, metadata, synced_at, default_payment_method, .. } = record;
        let (subscription, license) = (record.subscription, record.license);
        Self {
            customer_id: customer.customer_id.to_string(),
            metadata: metadata.values().clone(),
            stripe_customer_id: customer.stripe_customer_id.as_ref().map(ToString::to_string),
            stripe_sync_status: customer.stripe_sync_status.map(|status| status.to_string()),
            stripe_synced_at: synced_at.map(Timestamp::to_datetime),
            default_payment_method,
            subscription: subscription.map(SubscriptionRecord::from),
            license: license.map(|license| LicenseRecord::new(license, now)),
            customer: customer.into(),
        }
    }
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
    /// Returns what is stored about a customer: whether the address is verified, the Stripe ids, the
    /// last sync, the subscription and the current license. Needs the scope `read`.
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
        Ok(Json(RecordView::new(customers::record(app, &id).await?, app.now())))
    }

    /// Explain a license
    ///
    /// Returns why a customer has the current license now: the license, the action that issued it,
    /// the subscription, the payment, the event and the policy, each as a sentence with its time.
    /// Needs the scope `read`.
    #[oai(path = "/:customer_id/why", method = "get", operation_id = "explainLicense")]
    async fn why(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
    ) -> Result<Json<Why>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ExplainLicense;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let (record, reasons) = customers::why(app, &id).await?;
        let license = record.license.map(|license| LicenseRecord::new(license, app.now()));
        let reasons = reasons.into_iter().map(ReasonView::from).collect();
        Ok(Json(Why { license, reasons }))
    }
}

/// Why a customer has the current license.
#[derive(Object)]
struct Why {
    /// The current license.
    #[oai(nullable)]
    license: Option<LicenseRecord>,
    /// The reasons, the license first.
    reasons: Vec<ReasonView>,
}

/// One reason.
#[derive(Object)]
#[oai(rename = "Reason", example)]
struct ReasonView {
    /// When it happened.
    at: DateTime<Utc>,
    /// The reason, as a sentence.
    text: String,
    /// What it is about: `license`, `action`, `subscription`, `payment`, `event` or `policy`.
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
    FoundCustomer::example_place().map(|place| place.to_string())
}
