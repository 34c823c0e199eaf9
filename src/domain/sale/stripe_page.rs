//! The pages at Stripe that customers open: of invoices and receipts. Pages of checkouts and of the
//! portal are only passed on.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::domain::column::text_columns;

/// The longest URL of a page at Stripe, in bytes: Stripe's limit on URLs.
const MAX_PAGE_BYTES: usize = 5000;

/// Stripe's page of an invoice or a receipt: an `https` URL. Whoever has it sees the document, so
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct StripePage(String);

impl StripePage {
    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StripePage {
    type Err = NoStripePage;

    fn from_str(text: &str) -> Result<Self, NoStripePage> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = Url::parse(text).map_err(|_| NoStripePage)?;
        let is_web = url.scheme() == "https" && text.starts_with("https://");
        let has_user = !url.username().is_empty() || url.password().is_some();
        if is_plain && is_web && !has_user && text.len() <= MAX_PAGE_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoStripePage)
        }
    }
}

impl fmt::Display for StripePage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for StripePage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StripePage(…)")
    }
}

text_columns!(StripePage);

/// A text that is not the `https` URL of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not an https URL")]
pub struct NoStripePage;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_an_invoice_is_an_https_url() {
        let url = "https://invoice.stripe.com/i/acct_1/test_YWNjdA,LDEz0200?s=ap";
        assert_eq!(url.parse::<StripePage>().unwrap().as_str(), url);
        let long = format!("https://invoice.stripe.com/{}", "a".repeat(MAX_PAGE_BYTES));
        for wrong in [
            "",
            "http://invoice.stripe.com/i",
            "javascript:alert(1)",
            "https:",
            "https://a b",
            "https://user:x@evil.example",
            "https://a.example/\r\nBcc: x",
            &long,
        ] {
            assert_eq!(wrong.parse::<StripePage>(), Err(NoStripePage), "{wrong}");
        }
    }
}
