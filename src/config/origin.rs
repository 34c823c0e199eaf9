//! An origin: scheme, host and perhaps port of a URL. The server's own public one, and those to
//! which checkout and portal may send people back.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use url::Url;

/// The longest URL that people are sent back to, in bytes: what browsers take everywhere.
const MAX_URL_BYTES: usize = 2000;

/// A URL of scheme, host and perhaps port, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Of a server that listens on this address, without TLS.
    #[must_use]
    pub fn of(listen: SocketAddr) -> Self {
        Self(format!("http://{listen}"))
    }

    /// The host's name; none when it is an IP address.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.0).ok()?;
        url.domain().map(str::to_owned)
    }

    /// Whether browsers reach it over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether a URL lies within this origin, by every reading of it: what browsers bend into
    /// shape (backslashes, spaces, names before an `@`) does not count.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let Ok(url) = Url::parse(text) else { return false };
        let bare = url.username().is_empty() && url.password().is_none();
        let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
        let nobody = authority.is_some_and(|authority| !authority.contains('@'));
        let within = url.origin().ascii_serialization() == self.0;
        plain && bare && nobody && within && text.len() <= MAX_URL_BYTES
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "use a URL without a path, like \"https://licenses.acme.example\"";
        let url = Url::parse(text).map_err(|_| ADVICE)?;
        let web = matches!(url.scheme(), "http" | "https");
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        // A pattern would look as if it matched more than one.
        let bare = bare && !text.contains('*');
        if web && plain && bare {
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
