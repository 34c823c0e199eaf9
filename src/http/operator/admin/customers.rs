//! A customer, as support sees it. The responses have Stripe ids.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::permit_for_customer;
use crate::app::App;
use crate::domain::operator::admin_key::Operation;
use crate::domain::outbox::StoredMail;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers;
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct AdminCustomersApi;

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

fn example_customer() -> String {
    "cust_0123456789abcdef0123456789abcdef".into()
}

#[OpenApi(prefix_path = "/api/admin/customers", tag = "Tag::Administration")]
impl AdminCustomersApi {
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
