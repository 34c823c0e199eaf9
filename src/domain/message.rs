//! The texts of mails. Each [`Kind`] of mail is a pair of templates for each [`Language`], in
//! `templates/`; a vendor may replace any of them. Sending is in [`crate::mailer`]; which mail a
//! sync sends is decided in [`crate::domain::sale::settlement`].

mod facts;
mod kind;
mod language;
mod samples;
mod templates;

pub use facts::{Facts, Links, Payment, SubscriptionFacts};
pub use kind::{Case, Kind, LicenseUse};
pub use language::Language;
pub use templates::{InvalidTemplate, Templates, built_in_templates};

/// A mail without its recipient. There is no `Debug`: it contains the license.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
    /// The license token, attached as `license.jwt`.
    pub license: Option<String>,
    /// The text of `license.json`, attached as well.
    pub license_file: Option<String>,
}

#[cfg(test)]
mod tests;
