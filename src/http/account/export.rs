//! Everything that is stored about the caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::domain::account::customer::FormerAddress;
use crate::domain::account::mail_link::MailLink;
use crate::domain::operator::audit::PersonalAuditEntry;
use crate::domain::outbox::StoredMail;
use crate::domain::private::Private;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::account::export::{self, Export};
use crate::http::Tag;
use crate::http::account::sessions::SessionView;
use crate::http::account::view::CustomerView;
use crate::http::caller::{Caller, Client};
use crate::http::license::licenses::LicenseView;
use crate::http::problem::{Failure, documented};
use crate::http::sale::orders::OrderView;
use crate::http::sale::subscriptions::SubscriptionView;
use crate::http::throttle::Throttle;

pub struct ExportApi;

documented!(ExportCodes: ResetRequired, TooManyRequests);

/// An address that the customer had before.
#[derive(Object)]
#[oai(rename = "FormerAddress", example)]
struct FormerAddressView {
    /// The address.
    email: String,
    /// Until when it is reserved: the link in the mail to it undoes the change.
    reserved_until: DateTime<Utc>,
}

/// A link in a mail, without its token.
#[derive(Object)]
#[oai(rename = "MailedLink", example)]
struct LinkView {
    /// The effect of the link: `verify`, `reset`, `undo` or `portal`.
    kind: String,
    /// The address that it was mailed to.
    email: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it expires.
    expires_at: DateTime<Utc>,
    /// When it was used.
    #[oai(nullable)]
    used_at: Option<DateTime<Utc>>,
}

/// A mail. Its text is not stored.
#[derive(Object)]
#[oai(rename = "SentMail", example)]
struct SentMailView {
    /// The event that the mail reports.
    kind: String,
    /// When it was requested.
    created_at: DateTime<Utc>,
    /// When the mail server accepted it.
    #[oai(nullable)]
    sent_at: Option<DateTime<Utc>>,
}

/// An entry of the audit log.
#[derive(Object)]
#[oai(rename = "AccountAction", example)]
struct ActionView {
    /// The time.
    at: DateTime<Utc>,
    /// The actor: `customer`, `operator` or `system`.
    by: String,
    /// The action.
    action: String,
    /// The names and addresses before a change.
    before: BTreeMap<String, String>,
    /// The names and addresses after a change.
    after: BTreeMap<String, String>,
}

/// Everything that is stored about a customer. Of each list, it has at most the newest 1,000
/// entries.
#[derive(Object)]
#[oai(rename = "AccountExport")]
struct ExportView {
    /// The customer.
    customer: CustomerView,
    /// The texts that support keeps about the customer.
    metadata: BTreeMap<String, String>,
    /// The addresses that the customer had before, while they are reserved.
    former_addresses: Vec<FormerAddressView>,
    /// The open login sessions, newest first.
    sessions: Vec<SessionView>,
    /// The links in mails, newest first.
    links: Vec<LinkView>,
    /// The licenses, newest first.
    licenses: Vec<LicenseView>,
    /// The subscription.
    #[oai(nullable)]
    subscription: Option<SubscriptionView>,
    /// The orders, newest first.
    orders: Vec<OrderView>,
    /// The mails, newest first.
    mails: Vec<SentMailView>,
    /// The entries of the audit log, newest first.
    actions: Vec<ActionView>,
    /// The devices that use a license. None are stored.
    devices: Vec<String>,
    /// The lists that have more entries than are here.
    more: Vec<String>,
}

fn example_time() -> DateTime<Utc> {
    Timestamp::saturating(1_795_186_800).to_datetime()
}

impl Example for FormerAddressView {
    fn example() -> Self {
        Self { email: "ada@example.com".into(), reserved_until: example_time() }
    }
}

impl Example for LinkView {
    fn example() -> Self {
        Self {
            kind: "verify".into(),
            email: "grace@example.com".into(),
            created_at: example_time(),
            expires_at: example_time(),
            used_at: None,
        }
    }
}

impl Example for SentMailView {
    fn example() -> Self {
        let created_at = example_time();
        Self { kind: "trial".into(), created_at, sent_at: Some(created_at) }
    }
}

impl Example for ActionView {
    fn example() -> Self {
        let email = |text: &str| BTreeMap::from([("email".to_owned(), text.to_owned())]);
        Self {
            at: example_time(),
            by: "customer".into(),
            action: "customer.address_changed".into(),
            before: email("ada@example.com"),
            after: email("grace@example.com"),
        }
    }
}

impl From<FormerAddress> for FormerAddressView {
    fn from(former: FormerAddress) -> Self {
        let reserved_until = former.reserved_until.to_datetime();
        Self { email: former.email.to_unicode(), reserved_until }
    }
}

impl From<MailLink> for LinkView {
    fn from(link: MailLink) -> Self {
        Self {
            kind: link.kind.to_string(),
            email: link.email.to_unicode(),
            created_at: link.created_at.to_datetime(),
            expires_at: link.expires_at.to_datetime(),
            used_at: link.used_at.map(Timestamp::to_datetime),
        }
    }
}

impl From<StoredMail> for SentMailView {
    fn from(mail: StoredMail) -> Self {
        let sent_at = mail.sent_at.map(Timestamp::to_datetime);
        Self { kind: mail.kind, created_at: mail.created_at.to_datetime(), sent_at }
    }
}

impl From<PersonalAuditEntry> for ActionView {
    fn from(entry: PersonalAuditEntry) -> Self {
        // Which admin key it was is the vendor's own business.
        let by = if entry.actor.starts_with("admin:") { "operator".into() } else { entry.actor };
        let (before, after) = values(entry.personal.as_ref());
        Self { at: entry.at.to_datetime(), by, action: entry.action, before, after }
    }
}

type Values = BTreeMap<String, String>;

/// Returns the values before and after a change, without the absent ones.
fn values(personal: Option<&Private>) -> (Values, Values) {
    let personal = personal.and_then(|text| serde_json::from_str(text.as_str()).ok());
    let personal: serde_json::Value = personal.unwrap_or_default();
    let texts = |side: &str| {
        let members = personal[side].as_object().into_iter().flatten();
        let texts =
            members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into())));
        texts.collect()
    };
    (texts("before"), texts("after"))
}

impl ExportView {
    fn new(app: &App, export: Export, caller: &Caller) -> Result<Self> {
        let now = app.now();
        let current = &caller.0.session.session_id;
        let sessions = export.sessions.into_iter();
        let licenses = export.licenses.into_iter().map(|license| LicenseView::new(license, now));
        Ok(Self {
            customer: export.customer.into(),
            metadata: export.metadata.values().clone(),
            former_addresses: export.former_addresses.into_iter().map(Into::into).collect(),
            sessions: sessions.map(|session| SessionView::new(session, current)).collect(),
            links: export.links.into_iter().map(Into::into).collect(),
            licenses: licenses.collect::<Result<_>>()?,
            subscription: export.subscription.map(|row| SubscriptionView::new(row, &app.plans)),
            orders: export.orders.into_iter().map(Into::into).collect(),
            mails: export.mails.into_iter().map(Into::into).collect(),
            actions: export.actions.into_iter().map(Into::into).collect(),
            devices: Vec::new(),
            more: export.more.into_iter().map(str::to_owned).collect(),
        })
    }
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl ExportApi {
    /// Export my data
    ///
    /// Returns everything that is stored about the caller: the account, sessions, licenses, orders,
    /// mails and actions. Passwords and tokens are stored as hashes only, and are not included.
    #[oai(path = "/me/export", method = "get", operation_id = "exportMe")]
    async fn export(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        caller: Caller,
    ) -> std::result::Result<Json<ExportView>, Failure<ExportCodes>> {
        throttle.export(client.address)?;
        let export = export::export(app, &caller.0).await?;
        Ok(Json(ExportView::new(app, export, &caller)?))
    }
}
