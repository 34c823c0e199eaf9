//! The customer in responses, and the names in requests.

use chrono::{DateTime, Utc};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};

use crate::domain::account::customer::Customer;
use crate::domain::contact::DisplayName;
use crate::domain::message::Language;
use crate::error::{Error, Result};

/// A language of mails (ISO 639).
#[derive(Enum)]
#[oai(rename = "Language")]
pub enum LanguageView {
    /// English.
    #[oai(rename = "en")]
    English,
    /// German.
    #[oai(rename = "de")]
    German,
}

impl From<Language> for LanguageView {
    fn from(language: Language) -> Self {
        match language {
            Language::English => Self::English,
            Language::German => Self::German,
        }
    }
}

impl From<LanguageView> for Language {
    fn from(language: LanguageView) -> Self {
        match language {
            LanguageView::English => Self::English,
            LanguageView::German => Self::German,
        }
    }
}

/// A customer.
#[derive(Object)]
#[oai(rename = "Customer", example)]
pub struct CustomerView {
    /// The id of the customer. It never changes.
    customer_id: String,
    /// The login name. Licenses are mailed to this address.
    email: String,
    /// Whether the address is verified. `POST /api/customers/me/verification` mails the link.
    email_verified: bool,
    /// The new address, which replaces `email` once the link that was mailed to it is opened.
    #[oai(nullable)]
    pending_email: Option<String>,
    /// The person's name.
    #[oai(nullable)]
    name: Option<String>,
    /// The company's name.
    #[oai(nullable)]
    company_name: Option<String>,
    /// The language of mails. Null is the server's default.
    #[oai(nullable)]
    language: Option<LanguageView>,
    /// When the customer signed up.
    created_at: DateTime<Utc>,
    /// When the customer last changed.
    updated_at: DateTime<Utc>,
}

impl From<Customer> for CustomerView {
    fn from(customer: Customer) -> Self {
        let text = |name: DisplayName| name.as_str().to_owned();
        Self {
            customer_id: customer.customer_id.to_string(),
            email_verified: customer.is_email_verified(),
            email: customer.email.to_unicode(),
            pending_email: customer.pending_email.map(|email| email.to_unicode()),
            name: customer.name.map(text),
            company_name: customer.company_name.map(text),
            language: customer.language.map(LanguageView::from),
            created_at: customer.created_at.to_datetime(),
            updated_at: customer.updated_at.to_datetime(),
        }
    }
}

impl Example for CustomerView {
    fn example() -> Self {
        let created_at = DateTime::from_timestamp(1_795_186_800, 0).unwrap_or_default();
        Self {
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            email: "grace@example.com".into(),
            email_verified: true,
            pending_email: None,
            name: Some("Grace Hopper".into()),
            company_name: Some("Eckert-Mauchly Corporation".into()),
            language: Some(LanguageView::English),
            created_at,
            updated_at: created_at,
        }
    }
}

/// Returns the name in this field of a request.
pub fn name(field: &'static str, text: &str) -> Result<DisplayName> {
    text.parse().map_err(|problem| Error::InvalidName { field, problem })
}

/// Returns the name in this optional field of a request.
pub fn optional_name(field: &'static str, text: Option<String>) -> Result<Option<DisplayName>> {
    text.map(|text| name(field, &text)).transpose()
}
