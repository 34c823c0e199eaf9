//! An origin: the scheme, host and port of a URL. It is used for the server's public URL, and for
//! the pages and apps that checkout and portal may return to and that may call the API.

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
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "use a URL without a path, like \"https://licenses.acme.example\"";
        let url = Url::parse(text).map_err(|_| ADVICE)?;
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        // A `*` looks like a pattern, which is not supported.
        if is_web && !has_user(&url) && is_bare && !text.contains('*') {
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

/// The schemes that no app has of its own: browsers run or open what they name, or connect to it.
const RESERVED_SCHEMES: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// An origin that checkout and portal may return to and whose pages may call the API: of web pages,
/// like `https://acme.example`, or of an app with a scheme of its own, like `acme://paid` or
/// `tauri://localhost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnOrigin(String);

impl ReturnOrigin {
    /// Returns the text that browsers send in the header `Origin` (RFC 6454, section 6.2).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a URL is within this origin for every parser. It is not if it contains
    /// backslashes, spaces, or a user name, or has no `//` and host directly after the scheme,
    /// because browsers rewrite such URLs.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let Ok(url) = Url::parse(text) else { return false };
        let is_within = serialize(&url).is_some_and(|origin| origin == self.0);
        let has_authority = has_plain_authority(text, &url);
        is_plain && !has_user(&url) && has_authority && is_within && text.len() <= MAX_URL_BYTES
    }
}

impl From<Origin> for ReturnOrigin {
    fn from(Origin(text): Origin) -> Self {
        Self(text)
    }
}

impl FromStr for ReturnOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ADVICE: &str = "use a URL without a path, like \"https://acme.example\", or the \
                              scheme and host of an app's links, like \"acme://paid\"";
        if let Ok(origin) = text.parse::<Origin>() {
            return Ok(origin.into());
        }
        let url = Url::parse(text).map_err(|_| ADVICE)?;
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_app = !is_web && !RESERVED_SCHEMES.contains(&url.scheme());
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let is_bare = is_bare && url.fragment().is_none() && !has_user(&url);
        let origin = serialize(&url).filter(|_| is_app && is_bare && !text.contains('*'));
        origin.map(Self).ok_or(ADVICE)
    }
}

/// Returns whether a text is written as its scheme, `://`, and a host without a user name. Parsers
/// of browsers also accept another number of slashes, which other parsers read differently.
fn has_plain_authority(text: &str, url: &Url) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(url.scheme()) && !authority.is_empty() && !authority.contains('@')
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Returns scheme, host and port of a URL; `None` without a host. For an app's scheme, the URL
/// standard knows no origin, and browsers that embed apps write it in this way.
fn serialize(url: &Url) -> Option<String> {
    let origin = url.origin();
    if origin.is_tuple() {
        return Some(origin.ascii_serialization());
    }
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_exactly_this_origin_are_returned_to_security_24() {
        let origin: ReturnOrigin = "https://app.acme.example".parse().unwrap();
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
            "https:app.acme.example/",
            "https:/app.acme.example/",
            "https:/app.acme.example//x",
            "https:/app.acme.example/://x",
            "https:///app.acme.example/",
            "https:////app.acme.example//x",
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

    #[test]
    fn only_links_of_exactly_this_app_are_returned_to_security_24() {
        let app: ReturnOrigin = "acme://paid".parse().unwrap();
        for good in ["acme://paid", "acme://paid/", "ACME://paid/now?session={CHECKOUT_SESSION_ID}"]
        {
            assert!(app.holds(good), "{good:?} was refused");
        }
        for bad in [
            "acme:paid",
            "acme:///paid",
            "acme:/paid//x",
            "acme://",
            "acme://paid.evil.example",
            "acme://evil@paid",
            "acme://@paid",
            "acme://paid:8080",
            "acme2://paid",
            "https://paid",
            "acme://paid\\evil",
            "acme://pa id",
            "javascript:acme://paid",
        ] {
            assert!(!app.holds(bad), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_return_origin_is_of_web_pages_or_of_an_app() {
        for (text, origin) in [
            ("https://Acme.example:443/", "https://acme.example"),
            ("http://tauri.localhost", "http://tauri.localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("app://.", "app://."),
            ("acme://paid/", "acme://paid"),
        ] {
            assert_eq!(text.parse::<ReturnOrigin>().unwrap().as_str(), origin);
        }
        for wrong in [
            "*",
            "acme://*",
            "https://*.acme.example",
            "acme:",
            "acme://",
            "acme://paid/now",
            "acme://user@paid",
            "https://acme.example/app",
            "javascript://acme.example",
            "JavaScript:alert(1)",
            "data:text/html,hi",
            "file:///etc/passwd",
            "blob:https://acme.example/1",
            "ws://acme.example",
            "null",
        ] {
            assert!(wrong.parse::<ReturnOrigin>().is_err(), "{wrong:?} was accepted");
        }
    }
}
