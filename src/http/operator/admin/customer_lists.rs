//! The lists of a customer, page by page: orders, mails, events and the timeline. The responses
//! have Stripe ids. Licenses are in `licenses.rs`.

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
use crate::domain::operator::admin_key::Operation;
use crate::domain::operator::timeline::Entry;
use crate::domain::outbox::StoredMail;
use crate::domain::sale::order::Order;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers;
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::{Failure, documented};
use crate::http::sale::orders::OrderView;
use crate::http::throttle::Throttle;

pub struct CustomerListsApi;

documented!(AdminCustomerCodes: InsufficientScope, NotFound, TooManyRequests);

/// A mail to a customer. It is written when it is sent, so its text is not stored.
#[derive(Object)]
#[oai(rename = "Mail", example)]
struct MailView {
    /// The id of the mail. It is also the Message-ID.
    mail_id: String,
    /// The event that the mail reports, as `licentia email preview` names it.
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

/// An order, with its Stripe ids.
#[derive(Object)]
#[oai(rename = "OrderRecord", example)]
struct OrderRecord {
    /// The order as the customer sees it.
    #[oai(flatten)]
    order: OrderView,
    /// The Checkout session. `null` for a renewal.
    #[oai(nullable)]
    stripe_checkout_session_id: Option<String>,
    /// The invoice. `null` until the checkout is completed.
    #[oai(nullable)]
    stripe_invoice_id: Option<String>,
    /// The payment.
    #[oai(nullable)]
    stripe_payment_intent_id: Option<String>,
    /// The payment or the invoice in Stripe's dashboard, where it can be refunded.
    #[oai(nullable)]
    stripe_url: Option<String>,
}

impl Example for OrderRecord {
    fn example() -> Self {
        Self {
            order: OrderView::example(),
            stripe_checkout_session_id: Some("cs_test_a1b2c3".into()),
            stripe_invoice_id: Some("in_1QabcdEFGH".into()),
            stripe_payment_intent_id: Some("pi_1QabcdEFGH".into()),
            stripe_url: Some("https://dashboard.stripe.com/payments/pi_1QabcdEFGH".into()),
        }
    }
}

impl OrderRecord {
    fn new(order: Order, app: &App) -> Self {
        let session = order.stripe_checkout_session_id.as_ref();
        let payment = order.stripe_payment_intent_id.as_ref();
        Self {
            stripe_url: customers::order_url(app, &order),
            stripe_checkout_session_id: session.map(ToString::to_string),
            stripe_invoice_id: order.stripe_invoice_id.as_ref().map(ToString::to_string),
            stripe_payment_intent_id: payment.map(ToString::to_string),
            order: order.into(),
        }
    }
}

/// An entry of a customer's timeline.
#[derive(Object)]
#[oai(rename = "TimelineEntry", example)]
struct EntryView {
    /// When it happened.
    at: DateTime<Utc>,
    /// The actor: `customer`, `operator`, `system`, `stripe`, or `admin:` and the id of the key.
    by: String,
    /// The entry, as a sentence.
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
            orders: page.entries.into_iter().map(|order| OrderRecord::new(order, app)).collect(),
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
    /// Returns what happened to a customer, newest first: the actions in the audit log, the mails,
    /// and the events from Stripe, each as a sentence with its time and who did it. Needs the scope
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
