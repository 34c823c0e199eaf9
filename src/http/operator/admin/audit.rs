//! The audit log, as JSON, CSV or JSON lines.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::http::HeaderMap;
use poem::http::header::ACCEPT;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi, ResponseContent};
use serde_json::{Value, json};

use super::customer_lists::example_customer;
use super::{AdminCodes, permit};
use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::audit::StoredAuditEntry;
use crate::domain::operator::export::{self, AuditFacts};
use crate::domain::time::Timestamp;
use crate::error::{self, Error};
use crate::flows::operator::audit::{self, Filter};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::Failure;
use crate::http::throttle::Throttle;

pub struct AuditApi;

/// The most entries of a page: more than in other lists, because the log is exported.
const MAX_PAGE: usize = 1000;

/// The longest filter, in characters: longer than any action and actor.
const MAX_FILTER: usize = 100;

/// An entry of the audit log.
#[derive(Object)]
#[oai(rename = "AuditEntry", example)]
struct AuditView {
    /// The id of the entry.
    audit_id: String,
    /// When it happened.
    at: DateTime<Utc>,
    /// The actor: `customer`, `operator` (the command line), `system` (a sync with Stripe), or
    /// `admin:` and the id of the admin key.
    actor: String,
    /// The action, for example `license.granted`.
    action: String,
    /// The customer. `null` if it is about none or several.
    #[oai(nullable)]
    customer_id: Option<String>,
    /// The values before the change. `null` if nothing was there.
    before: Value,
    /// The values after the change.
    after: Value,
    /// Further facts.
    detail: Value,
    /// The request that made the change. `null` for the command line and background work.
    #[oai(nullable)]
    request_id: Option<String>,
}

impl Example for AuditView {
    fn example() -> Self {
        Self {
            audit_id: "audit_0123456789abcdef0123456789abcdef".into(),
            at: Timestamp::saturating(1_795_186_800).to_datetime(),
            actor: "admin:akey_0123456789abcdef0123456789abcdef".into(),
            action: "customer.changed".into(),
            customer_id: Some(example_customer()),
            before: json!({ "email": "grace@example.com" }),
            after: json!({ "email": "grace.hopper@example.com" }),
            detail: json!({ "changed": ["email"] }),
            request_id: Some("0123456789abcdef0123456789abcdef".into()),
        }
    }
}

impl From<StoredAuditEntry> for AuditView {
    fn from(entry: StoredAuditEntry) -> Self {
        let AuditFacts { before, after, detail } = AuditFacts::of(&entry);
        Self {
            audit_id: entry.audit_id.to_string(),
            at: entry.at.to_datetime(),
            actor: entry.actor,
            action: entry.action,
            customer_id: entry.customer_id.map(|id| id.to_string()),
            before,
            after,
            detail,
            request_id: entry.request_id,
        }
    }
}

/// A page of the audit log.
#[derive(Object)]
struct AuditEntries {
    /// The entries, newest first.
    entries: Vec<AuditView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

#[derive(ResponseContent)]
enum AuditPage {
    Json(Json<AuditEntries>),
    #[oai(content_type = "text/csv")]
    Csv(PlainText<String>),
    #[oai(content_type = "application/jsonl")]
    JsonLines(PlainText<String>),
}

#[derive(ApiResponse)]
enum AuditResponse {
    /// A page of the audit log.
    #[oai(status = 200)]
    Page(
        AuditPage,
        /// `next_after` of the page, for CSV and JSON lines. Absent on the last page.
        #[oai(header = "X-Next-After")]
        Option<String>,
    ),
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl AuditApi {
    /// List the audit log
    ///
    /// Returns who did what, newest first, with the values before and after a change and the id of
    /// the request. Addresses and names are removed when their customer is deleted. With `Accept:
    /// text/csv` or `Accept: application/jsonl`, the page is a file, and the header `X-Next-After`
    /// has the place of the next one. In CSV, a text that looks like a formula begins with `'`.
    /// Needs the scope `read`.
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    #[allow(clippy::too_many_arguments)]
    async fn list(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        headers: &HeaderMap,
        /// Only entries about this customer.
        #[oai(example = "example_customer_filter")]
        customer_id: Query<Option<String>>,
        /// Only this action.
        #[oai(example = "example_action")]
        action: Query<Option<String>>,
        /// Only this actor.
        #[oai(example = "example_actor")]
        actor: Query<Option<String>>,
        /// The maximum number of entries to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<AuditResponse, Failure<AdminCodes>> {
        let customer_id = customer_id.0.map(|id| id.parse::<CustomerId>()).transpose();
        let target = match &customer_id {
            Ok(Some(id)) => Target::Customer(id),
            _ => Target::Service,
        };
        permit(app, throttle, &caller, Operation::ListAudit, target).await?;
        let invalid = |error| Error::InvalidRequest(format!("`customer_id`: {error}"));
        let filter = Filter {
            customer_id: customer_id.map_err(invalid)?,
            action: text("action", action.0)?,
            actor: text("actor", actor.0)?,
        };
        let request = page::request_up_to(MAX_PAGE, &limit, &after)?;
        let page = audit::list(app, &filter, &request).await?;
        let next_after = page.next_after.map(|cursor| cursor.to_string());
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        Ok(match accept.unwrap_or_default() {
            accept if accept.contains("text/csv") => {
                let text = export::csv(&page.entries);
                AuditResponse::Page(AuditPage::Csv(PlainText(text)), next_after)
            }
            accept if accept.contains("application/jsonl") => {
                let text = export::json_lines(&page.entries);
                AuditResponse::Page(AuditPage::JsonLines(PlainText(text)), next_after)
            }
            _ => {
                let entries = page.entries.into_iter().map(AuditView::from).collect();
                let next = next_after.clone();
                let page = AuditEntries { entries, next_after };
                AuditResponse::Page(AuditPage::Json(Json(page)), next)
            }
        })
    }
}

/// Returns a filter that any action or actor could match.
fn text(name: &str, filter: Option<String>) -> error::Result<Option<String>> {
    let is_plain =
        |text: &String| text.len() <= MAX_FILTER && text.bytes().all(|b| b.is_ascii_graphic());
    match filter {
        Some(text) if !is_plain(&text) => {
            Err(Error::InvalidRequest(format!("`{name}` has at most {MAX_FILTER} letters")))
        }
        filter => Ok(filter),
    }
}

fn example_customer_filter() -> Option<String> {
    Some(example_customer())
}

fn example_action() -> Option<String> {
    Some("customer.changed".into())
}

fn example_actor() -> Option<String> {
    Some("operator".into())
}
