//! What a customer has, page by page: licenses, orders, mails, events and the timeline. The responses
//! have Stripe ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::events::EventView;
use super::permit_for_customer;
use crate::app::App;
use crate::domain::license::IssuedLicense;
use crate::domain::operator::admin_key::Operation;
use crate::domain::operator::timeline::Entry;
use crate::domain::outbox::StoredMail;
use crate::domain::sale::order::Order;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers;
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::license::licenses::{LicenseStatus, claims_of};
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::{Failure, documented};
use crate::http::sale::orders::OrderStatusView;
use crate::http::throttle::Throttle;

pub struct CustomerListsApi;

documented!(AdminCustomerCodes: InsufficientScope, NotFound, TooManyRequests);

/// A mail to a customer. It is written when it is sent, so its text is not stored.
#[derive(Object)]
#[oai(rename = "Mail", example)]
struct MailView {
    /// The id of the mail. It is also the Message-ID.
    mail_id: String,
    /// The event that the mail reports, as `licentia email --preview` names it.
    kind: String,
    /// The license that it is about.
    #[oai(nullable)]
    license_id: Option<String>,
    /// When it was requested.
    created_at: DateTime<Utc>,
    /// When the mail server accepted it.
    #[oai(nullable)]
    sent_at: Option<DateTime<Utc>>,
    /// When it was given up.
    #[oai(nullable)]
    given_up_at: Option<DateTime<Utc>>,
    /// The number of attempts.
    attempts: i64,
    /// The code of the last failure.
    #[oai(nullable)]
    last_error: Option<String>,
}

impl Example for MailView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            mail_id: "mail_0123456789abcdef0123456789abcdef".into(),
            kind: "trial".into(),
            license_id: Some("lic_0123456789abcdef0123456789abcdef".into()),
            created_at: time(1_795_186_800),
            sent_at: Some(time(1_795_186_801)),
            given_up_at: None,
            attempts: 1,
            last_error: None,
        }
    }
}

impl From<StoredMail> for MailView {
    fn from(mail: StoredMail) -> Self {
        Self {
            mail_id: mail.mail_id.to_string(),
            kind: mail.kind,
            license_id: mail.license_id.map(|id| id.to_string()),
            created_at: mail.created_at.to_datetime(),
            sent_at: mail.sent_at.map(Timestamp::to_datetime),
            given_up_at: mail.given_up_at.map(Timestamp::to_datetime),
            attempts: mail.attempts,
            last_error: mail.last_error,
        }
    }
}

/// A page of mails.
#[derive(Object)]
struct Mails {
    /// The mails, newest first.
    mails: Vec<MailView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A license, without its token: whoever has the token can use the license.
#[derive(Object)]
#[oai(rename = "LicenseRecord", example)]
pub(super) struct LicenseRecord {
    /// The id of the license (the claim `jti`).
    license_id: String,
    /// The number among the customer's licenses, from 1.
    seq: i64,
    /// Why it was issued: `trial`, `subscription` or `operator`.
    source: String,
    /// The plan's id.
    plan: String,
    /// The status now.
    status: LicenseStatus,
    /// The features of the license: the plan's, and what a grant added.
    features: Vec<String>,
    /// The limits of the license.
    limits: BTreeMap<String, u64>,
    /// The note of the grant.
    #[oai(nullable)]
    note: Option<String>,
    /// The id of the key that signed it.
    key_id: String,
    /// When it was issued.
    issued_at: DateTime<Utc>,
    /// The end of the paid time or of the trial. `null` if the license does not end.
    #[oai(nullable)]
    expires_at: Option<DateTime<Utc>>,
    /// The end of the grace period, during which the license still works.
    #[oai(nullable)]
    grace_until: Option<DateTime<Utc>>,
    /// When the token expires. An app that is online refreshes it earlier.
    token_expires_at: DateTime<Utc>,
    /// When a newer license replaced it.
    #[oai(nullable)]
    superseded_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[oai(nullable)]
    revoked_at: Option<DateTime<Utc>>,
    /// Why it was revoked.
    #[oai(nullable)]
    revocation_reason: Option<String>,
}

impl Example for LicenseRecord {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            license_id: "lic_0123456789abcdef0123456789abcdef".into(),
            seq: 1,
            source: "trial".into(),
            plan: "trial".into(),
            status: LicenseStatus::Active,
            features: vec!["editor".into()],
            limits: BTreeMap::from([("seats".into(), 1)]),
            note: None,
            key_id: "2026-11-20-0123456789abcdef".into(),
            issued_at: time(1_795_186_800),
            expires_at: Some(time(1_796_396_400)),
            grace_until: None,
            token_expires_at: time(1_796_396_400),
            superseded_at: None,
            revoked_at: None,
            revocation_reason: None,
        }
    }
}

impl LicenseRecord {
    /// Returns the license as it is at `now`.
    pub(super) fn new(license: IssuedLicense, now: Timestamp) -> Self {
        let claims = claims_of(&license).ok();
        let (features, limits) =
            claims.map(|claims| (claims.features, claims.limits)).unwrap_or_default();
        Self {
            status: LicenseStatus::of(&license, now),
            features,
            limits: limits.into_iter().collect(),
            note: license.extras.note.map(|note| note.as_str().to_owned()),
            license_id: license.license_id.to_string(),
            seq: license.seq,
            source: license.source.to_string(),
            plan: license.plan,
            key_id: license.key_id,
            issued_at: license.issued_at.to_datetime(),
            expires_at: license.expires_at.map(Timestamp::to_datetime),
            grace_until: license.grace_until.map(Timestamp::to_datetime),
            token_expires_at: license.token_expires_at.to_datetime(),
            superseded_at: license.superseded_at.map(Timestamp::to_datetime),
            revoked_at: license.revoked_at.map(Timestamp::to_datetime),
            revocation_reason: license.revocation_reason.map(|reason| reason.to_string()),
        }
    }
}

/// An order, with its Stripe ids.
#[derive(Object)]
#[oai(rename = "OrderRecord", example)]
struct OrderRecord {
    /// The id of the order.
    order_id: String,
    /// The plan's id.
    plan: String,
    /// The amount in the smallest unit of the currency, for example cents.
    amount: i64,
    /// The currency (ISO 4217), in lower case.
    currency: String,
    /// The status.
    status: OrderStatusView,
    /// The Checkout session. `null` for a renewal.
    #[oai(nullable)]
    stripe_checkout_session_id: Option<String>,
    /// The invoice. `null` until the checkout is completed.
    #[oai(nullable)]
    stripe_invoice_id: Option<String>,
    /// The payment.
    #[oai(nullable)]
    stripe_payment_intent_id: Option<String>,
    /// When the order was created.
    created_at: DateTime<Utc>,
    /// When the order was paid.
    #[oai(nullable)]
    purchased_at: Option<DateTime<Utc>>,
}

impl Example for OrderRecord {
    fn example() -> Self {
        let time = Timestamp::saturating(1_795_186_800).to_datetime();
        Self {
            order_id: "ord_0123456789abcdef0123456789abcdef".into(),
            plan: "professional".into(),
            amount: 4900,
            currency: "usd".into(),
            status: OrderStatusView::Succeeded,
            stripe_checkout_session_id: Some("cs_test_a1b2c3".into()),
            stripe_invoice_id: Some("in_1QabcdEFGH".into()),
            stripe_payment_intent_id: Some("pi_1QabcdEFGH".into()),
            created_at: time,
            purchased_at: Some(time),
        }
    }
}

impl From<Order> for OrderRecord {
    fn from(order: Order) -> Self {
        Self {
            order_id: order.order_id.to_string(),
            plan: order.plan,
            amount: order.amount,
            currency: order.currency,
            status: order.status.into(),
            stripe_checkout_session_id: order.stripe_checkout_session_id.map(|id| id.to_string()),
            stripe_invoice_id: order.stripe_invoice_id.map(|id| id.to_string()),
            stripe_payment_intent_id: order.stripe_payment_intent_id.map(|id| id.to_string()),
            created_at: order.created_at.to_datetime(),
            purchased_at: order.purchased_at.map(Timestamp::to_datetime),
        }
    }
}

/// An entry of a customer's timeline.
#[derive(Object)]
#[oai(rename = "TimelineEntry", example)]
struct EntryView {
    /// When it happened.
    at: DateTime<Utc>,
    /// Who did it: `customer`, `operator`, `system`, `stripe`, or `admin:` and the id of the key.
    by: String,
    /// What happened, as a sentence.
    text: String,
    /// The source: `action`, `mail` or `event`.
    kind: String,
    /// The id of the audit entry, mail or event.
    id: String,
    /// The request that caused an action. `null` for the command line and background work.
    #[oai(nullable)]
    request_id: Option<String>,
}

impl Example for EntryView {
    fn example() -> Self {
        Self {
            at: Timestamp::saturating(1_795_186_800).to_datetime(),
            by: "customer".into(),
            text: "The customer verified the address.".into(),
            kind: "action".into(),
            id: "audit_0123456789abcdef0123456789abcdef".into(),
            request_id: Some("0123456789abcdef".into()),
        }
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            at: entry.at.to_datetime(),
            by: entry.by,
            text: entry.text,
            kind: entry.kind.to_string(),
            id: entry.id,
            request_id: entry.request_id,
        }
    }
}

/// A page of licenses.
#[derive(Object)]
struct LicenseRecords {
    /// The licenses, newest first.
    licenses: Vec<LicenseRecord>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A page of orders.
#[derive(Object)]
struct OrderRecords {
    /// The orders, newest first.
    orders: Vec<OrderRecord>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A page of events.
#[derive(Object)]
struct CustomerEvents {
    /// The events, newest first.
    events: Vec<EventView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A page of a timeline.
#[derive(Object)]
struct TimelineView {
    /// The entries, newest first.
    entries: Vec<EntryView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// The example of a customer's id.
pub(super) fn example_customer() -> String {
    "cust_0123456789abcdef0123456789abcdef".into()
}

#[OpenApi(prefix_path = "/api/admin/customers", tag = "Tag::Administration")]
impl CustomerListsApi {
    /// List a customer's licenses
    ///
    /// Returns every license ever issued to a customer, newest first, without the tokens. Needs the
    /// scope `read`.
    #[oai(path = "/:customer_id/licenses", method = "get", operation_id = "listCustomerLicenses")]
    async fn licenses(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of licenses to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<LicenseRecords>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ListCustomerLicenses;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::licenses(app, &id, &page::request(&limit, &after)?).await?;
        let now = app.now();
        let licenses = page.entries.into_iter().map(|license| LicenseRecord::new(license, now));
        Ok(Json(LicenseRecords {
            licenses: licenses.collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// List a customer's orders
    ///
    /// Returns the orders of a customer with their Stripe ids, newest first. There is one for each
    /// payment. Needs the scope `read`.
    #[oai(path = "/:customer_id/orders", method = "get", operation_id = "listCustomerOrders")]
    async fn orders(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of orders to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<OrderRecords>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ListCustomerOrders;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::orders(app, &id, &page::request(&limit, &after)?).await?;
        Ok(Json(OrderRecords {
            orders: page.entries.into_iter().map(OrderRecord::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// List the events about a customer
    ///
    /// Returns the events from Stripe and the tasks of this server about a customer, newest first.
    /// Processed ones are deleted after a while. Needs the scope `read`.
    #[oai(path = "/:customer_id/events", method = "get", operation_id = "listCustomerEvents")]
    async fn events(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of events to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<CustomerEvents>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ListCustomerEvents;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::events(app, &id, &page::request(&limit, &after)?).await?;
        Ok(Json(CustomerEvents {
            events: page.entries.into_iter().map(EventView::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// Get a customer's timeline
    ///
    /// Returns what happened to a customer, newest first: the actions in the audit log, the mails, and
    /// the events from Stripe, each as a sentence with its time and who did it. Needs the scope
    /// `read`.
    #[oai(path = "/:customer_id/timeline", method = "get", operation_id = "getCustomerTimeline")]
    async fn timeline(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of entries to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<TimelineView>, Failure<AdminCustomerCodes>> {
        let operation = Operation::GetTimeline;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::timeline(app, &id, &page::request(&limit, &after)?).await?;
        Ok(Json(TimelineView {
            entries: page.entries.into_iter().map(EntryView::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// List a customer's mails
    ///
    /// Returns the mails to a customer, newest first: those that were sent, those that wait, and
    /// those that were given up. Needs the scope `read`.
    #[oai(path = "/:customer_id/mails", method = "get", operation_id = "listCustomerMails")]
    async fn mails(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of mails to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<Mails>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ListCustomerMails;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::mails(app, &id, &page::request(&limit, &after)?).await?;
        Ok(Json(Mails {
            mails: page.entries.into_iter().map(MailView::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }
}
