//! The caller of a request: the login session or admin key of its bearer token, and its client
//! address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use poem::http::HeaderMap;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use crate::app::App;
use crate::domain::account::attempts::client_network;
use crate::domain::account::customer::Customer;
use crate::domain::license::LicenseToken;
use crate::domain::message::Language;
use crate::domain::operator::admin_key::StoredAdminKey;
use crate::domain::sale::promotion::EnteredCode;
use crate::error::{Error, Result};
use crate::flows::account::session::{self, SignedIn};
use crate::flows::license;
use crate::flows::operator::admin_key;

/// The parts of a signed JWT (RFC 7515, section 7.1).
const JWT_PARTS: usize = 3;

/// The session token, which sign-up and login return as `access_token`.
#[derive(SecurityScheme)]
#[oai(rename = "session", ty = "bearer", checker = "check_session")]
pub struct Caller(pub SignedIn);

/// The license token of an app that refreshes its license.
#[derive(SecurityScheme)]
#[oai(rename = "license", ty = "bearer", bearer_format = "JWT")]
pub struct LicenseBearer(pub Bearer);

/// The license token of an app whose customer buys. The checker leaves other credentials to
/// [`Caller`].
#[derive(SecurityScheme)]
#[oai(rename = "license", ty = "bearer", bearer_format = "JWT", checker = "check_form")]
pub struct BuyerLicense(LicenseToken);

/// A customer who buys: in a login session, or through an app that has only a license.
#[derive(SecurityScheme)]
#[allow(clippy::large_enum_variant, reason = "one for each request, and never stored")]
pub enum Buyer {
    /// Through an app.
    License(BuyerLicense),
    /// In a login session. The last one: its error is the response to a credential that is neither.
    Session(Caller),
}

impl Buyer {
    /// Returns the customer.
    ///
    /// # Errors
    /// As [`license::holder`].
    pub async fn customer(self, app: &App) -> Result<Customer> {
        match self {
            Self::License(BuyerLicense(token)) => license::holder(app, &token).await,
            Self::Session(Caller(caller)) => Ok(caller.customer),
        }
    }
}

/// An admin key, from `licentia admin-key create`.
#[derive(SecurityScheme)]
#[oai(rename = "admin_key", ty = "bearer", checker = "check_admin_key")]
pub struct AdminCaller(pub StoredAdminKey);

async fn check_admin_key(request: &Request, bearer: Bearer) -> poem::Result<StoredAdminKey> {
    let app = request.data::<App>().ok_or(Error::Unauthenticated)?;
    Ok(admin_key::authenticate(app, &bearer.token).await?)
}

/// Returns the token if it has the form of a JWT.
async fn check_form(_: &Request, bearer: Bearer) -> Option<LicenseToken> {
    let token = LicenseToken::new(bearer.token).read().ok()?;
    let parts = token.expose().split('.').count();
    (parts == JWT_PARTS).then_some(token)
}

async fn check_session(request: &Request, bearer: Bearer) -> poem::Result<SignedIn> {
    let app = request.data::<App>().ok_or(Error::Unauthenticated)?;
    Ok(session::authenticate(app, &bearer.token).await?)
}

/// The proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Default)]
pub struct TrustedProxies(pub Arc<[IpNet]>);

/// The address of a forwarded client without a valid address in `X-Forwarded-For`.
const UNKNOWN_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl TrustedProxies {
    /// Returns whether an address belongs to a trusted proxy.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the client address of a request. Behind a trusted proxy, this is the rightmost
    /// forwarded address that is not itself a trusted proxy; the client may have written anything
    /// further left. Otherwise it is the peer address of the connection. Hops that are not an
    /// address are skipped. If there is no other, the result is [`UNKNOWN_CLIENT`] and not the
    /// proxy.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut origin = peer.to_canonical();
        if !self.is_trusted(origin) {
            return origin;
        }
        let forwarded: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let hops = forwarded.iter().rev().flat_map(|value| value.as_bytes().rsplit(|b| *b == b','));
        let mut has_invalid_hop = false;
        for hop in hops.filter(|hop| !hop.trim_ascii().is_empty()) {
            let Some(address) = address(hop) else {
                has_invalid_hop = true;
                continue;
            };
            if !self.is_trusted(address) {
                return address;
            }
            origin = address;
        }
        if has_invalid_hop { UNKNOWN_CLIENT } else { origin }
    }

    /// Returns the network for which the connections of an address are counted. Returns `None` for
    /// a trusted proxy and for [`UNKNOWN_CLIENT`], because each stands for many clients.
    pub fn client(&self, address: IpAddr) -> Option<IpAddr> {
        let is_single = !self.is_trusted(address) && address != UNKNOWN_CLIENT;
        is_single.then(|| client_network(address))
    }
}

/// Returns the address in one hop of a forwarding header. Proxies write it bare, with a port, in
/// brackets, with a zone, or in quotes.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim().trim_matches('"').trim();
    let bare = if let Some(bracketed) = hop.strip_prefix('[') {
        let (inside, rest) = bracketed.split_once(']')?;
        (rest.is_empty() || rest.starts_with(':')).then_some(inside)?
    } else {
        // One colon separates a port. An IPv6 address has two or more.
        hop.split_once(':').map_or(hop, |(host, port)| if port.contains(':') { hop } else { host })
    };
    let bare = bare.split_once('%').map_or(bare, |(bare, _zone)| bare);
    let address = bare.parse::<IpAddr>().ok()?.to_canonical();
    (!address.is_unspecified()).then_some(address)
}

/// The client address of a request; see [`TrustedProxies::origin`].
#[derive(Clone, Copy)]
pub struct Origin(pub IpAddr);

/// The client of a request.
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its `User-Agent`.
    pub name: Option<String>,
    /// The language that it prefers (`Accept-Language`), if it is one of the mails' languages.
    pub language: Option<Language>,
}

impl Client {
    /// Returns the promotion code of its request.
    pub fn entered(&self, code: Option<String>) -> Option<EnteredCode> {
        code.map(|text| EnteredCode { text, client: self.address })
    }
}

impl<'a> FromRequest<'a> for Client {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let origin = request.extensions().get::<Origin>();
        let address = origin.map_or(UNKNOWN_CLIENT, |origin| origin.0);
        let name = request.header("user-agent").map(str::to_owned);
        let language = request.header("accept-language").and_then(Language::preferred);
        Ok(Self { address, name, language })
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn origin(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let forwarded: Vec<_> = forwarded.iter().map(|text| text.as_bytes()).collect();
        origin_of_bytes(proxies, peer, &forwarded)
    }

    fn origin_of_bytes(proxies: &[&str], peer: &str, forwarded: &[&[u8]]) -> String {
        let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value).unwrap());
        }
        TrustedProxies(proxies).origin(peer.parse().unwrap(), &headers).to_string()
    }

    const INSIDE: [&str; 2] = ["10.0.0.0/8", "2001:db8:aaaa::/48"];

    #[test]
    fn forwarded_addresses_count_only_behind_configured_proxies_security_14() {
        assert_eq!(origin(&[], "198.51.100.7", &["192.0.2.1"]), "198.51.100.7");
        assert_eq!(origin(&INSIDE, "198.51.100.7", &["192.0.2.1"]), "198.51.100.7");
        assert_eq!(origin(&INSIDE, "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(origin(&INSIDE, "10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(origin(&INSIDE, "10.0.0.1", &["203.0.113.9", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(origin(&INSIDE, "::ffff:10.0.0.1", &["::ffff:192.0.2.1"]), "192.0.2.1");
        // Without a forwarded address, the client is a program on the proxy's machine.
        for none in [&[][..], &[""], &[" , "], &["10.0.0.1"]] {
            assert_eq!(origin(&INSIDE, "10.0.0.1", none), "10.0.0.1", "{none:?}");
        }
    }

    #[test]
    fn a_hop_is_read_with_port_brackets_zone_and_quotes_security_43() {
        let v4 =
            ["192.0.2.1", "192.0.2.1:4711", "\"192.0.2.1:4711\"", "192.0.2.1:", "192.0.2.1:_x"];
        let v4 = v4.into_iter().chain([" 192.0.2.1\t", "[192.0.2.1]:80", "::ffff:192.0.2.1"]);
        for hop in v4 {
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[hop]), "192.0.2.1", "{hop}");
            let many = format!("203.0.113.9, {hop},10.1.2.3:80,, [2001:db8:aaaa::1]:443");
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[&many]), "192.0.2.1", "{many}");
        }
        let v6 = ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443", "\"[2001:db8::1]:443\""];
        for hop in v6.into_iter().chain(["2001:db8::1%eth0", "[2001:db8::1%25eth0]:1"]) {
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[hop]), "2001:db8::1", "{hop}");
        }
    }

    #[test]
    fn an_invalid_hop_is_skipped_and_is_not_taken_for_the_proxy_security_43() {
        let garbage = ["unknown", "_hidden", "unix:", "[", "[]", "[192.0.2.1]x", "300.0.0.1", "\""];
        for hop in garbage.into_iter().chain(["192.0.2.1 192.0.2.2", "0.0.0.0", "::", "a:b:c"]) {
            let many = format!("192.0.2.7, {hop}, 10.0.0.2");
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[&many]), "192.0.2.7", "{hop}");
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[hop]), "0.0.0.0", "{hop}");
            let behind = format!("{hop}, 10.0.0.2");
            assert_eq!(origin(&INSIDE, "10.0.0.1", &[&behind]), "0.0.0.0", "{hop}");
        }
        // Invalid UTF-8 makes only its own hop invalid, not the whole header.
        let invalid = b"203.0.113.9, \xff\xfe, 192.0.2.1";
        assert_eq!(origin_of_bytes(&INSIDE, "10.0.0.1", &[invalid]), "192.0.2.1");
        let invalid = b"192.0.2.1, \xff";
        assert_eq!(origin_of_bytes(&INSIDE, "10.0.0.1", &[invalid]), "192.0.2.1");
    }

    #[test]
    fn a_proxy_is_not_one_client_and_an_ipv6_household_is_security_36() {
        let proxies = INSIDE.iter().map(|network| network.parse().unwrap()).collect();
        let proxies = TrustedProxies(proxies);
        let client = |text: &str| proxies.client(text.parse().unwrap());
        assert_eq!(client("10.0.0.1"), None);
        assert_eq!(client("0.0.0.0"), None);
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1::ffff:2"));
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
    }

    proptest! {
        #[test]
        fn the_hop_added_by_the_proxy_counts_whatever_the_client_sends(
            sent in proptest::collection::vec(any::<u8>().prop_filter("valid in a header", |byte| {
                *byte >= 32 && *byte != 127
            }), 0..60),
        ) {
            let mut value = sent;
            value.extend_from_slice(b", 192.0.2.1:4711");
            let client = origin_of_bytes(&INSIDE, "10.0.0.1", &[&value]);
            prop_assert_eq!(client, "192.0.2.1");
        }
    }
}
