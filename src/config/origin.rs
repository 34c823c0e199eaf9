//! An origin: the scheme, host and port of a URL. It is used for the server's public URL and for
//! the pages that checkout and portal may return to.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use url::Url;

/// The longest return URL, in bytes: the length that every browser accepts.
const MAX_URL_BYTES: usize = 2000;

/// A URL of scheme, host and optional port, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Returns the origin of a server that listens on this address without TLS.
    #[must_use]
    pub fn of(listen: SocketAddr) -> Self {
        Self(format!("http://{listen}"))
    }

    /// Returns the host name; `None` when it is an IP address.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.0).ok()?;
        url.domain().map(str::to_owned)
    }

    /// Returns whether the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns whether a URL is within this origin for every parser. It is not if it contains
    /// backslashes, spaces, or a user name, because browsers rewrite such URLs.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let Ok(url) = Url::parse(text) else { return false };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
        let has_at = authority.is_none_or(|authority| authority.contains('@'));
        let is_within = url.origin().ascii_serialization() == self.0;
        is_plain && !has_user && !has_at && is_within && text.len() <= MAX_URL_BYTES
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "use a URL without a path, like \"https://licenses.acme.example\"";
        let url = Url::parse(text).map_err(|_| ADVICE)?;
        let is_web = matches!(url.scheme(), "http" | "https");
        let has_user = !url.username().is_empty() || url.password().is_some();
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        // A `*` looks like a pattern, which is not supported.
        if is_web && !has_user && is_bare && !text.contains('*') {
            Ok(Self(url.origin().ascii_serialization()))
        } else {
            Err(ADVICE)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_exactly_this_origin_are_returned_to_security_24() {
        let origin: Origin = "https://app.acme.example".parse().unwrap();
        for good in [
            "https://app.acme.example",
            "https://app.acme.example/",
            "https://app.acme.example:443/done?session={CHECKOUT_SESSION_ID}#top",
            "https://app.acme.example/who@there",
        ] {
            assert!(origin.holds(good), "{good:?} was refused");
        }
        let long = format!("https://app.acme.example/{}", "a".repeat(2000));
        for bad in [
            "",
            "/done",
            "//evil.example",
            "//app.acme.example/",
            "\\\\evil.example",
            "https:\\\\evil.example",
            "http://app.acme.example/",
            "https://app.acme.example:8443/",
            "https://app.acme.example.evil.example/",
            "https://app.acme.example@evil.example/",
            "https://evil@app.acme.example/",
            "https://@app.acme.example/",
            "https://evil.example/https://app.acme.example",
            "https://evil.example#@app.acme.example/",
            "https://evil.example\\@app.acme.example/",
            "https://app.acme.example\t.evil.example/",
            "javascript:alert(1)//https://app.acme.example/",
            "data:text/html,hi",
            " https://app.acme.example/",
            "https://app.acme.example/\r\nLocation: https://evil.example",
            long.as_str(),
        ] {
            assert!(!origin.holds(bad), "{bad:?} was accepted");
        }
    }
}
