//! Who calls: the session or the admin key behind a bearer token, and the address that a connection comes from.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use poem::web::RemoteAddr;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use crate::app::App;
use crate::domain::admin_key::StoredAdminKey;
use crate::error::Error;
use crate::flows::admin;
use crate::flows::session::{self, SignedIn};

/// The session token that sign-up and login answer as `access_token`.
#[derive(SecurityScheme)]
#[oai(rename = "session", ty = "bearer", checker = "signed_in")]
pub struct Caller(pub SignedIn);

/// A license, as the app sends it to fetch a newer one.
#[derive(SecurityScheme)]
#[oai(rename = "license", ty = "bearer", bearer_format = "JWT")]
pub struct HeldLicense(pub Bearer);

/// The key of an operator, from `licentia admin-key create`.
#[derive(SecurityScheme)]
#[oai(rename = "admin_key", ty = "bearer", checker = "recognised")]
pub struct AdminCaller(pub StoredAdminKey);

async fn recognised(request: &Request, bearer: Bearer) -> poem::Result<StoredAdminKey> {
    let app = request.data::<App>().ok_or(Error::Unauthenticated)?;
    Ok(admin::recognise(app, &bearer.token).await?)
}

async fn signed_in(request: &Request, bearer: Bearer) -> poem::Result<SignedIn> {
    let app = request.data::<App>().ok_or(Error::Unauthenticated)?;
    Ok(session::sign_in(app, &bearer.token).await?)
}

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Default)]
pub struct TrustedProxies(pub Arc<[IpNet]>);

impl TrustedProxies {
    /// The address that a request comes from: that of the connection, or behind a trusted proxy
    /// the rightmost forwarded one that is not itself a trusted proxy. Anything further left was
    /// written by the client.
    fn origin<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let trusted = |address: IpAddr| self.0.iter().any(|network| network.contains(&address));
        let mut origin = peer.to_canonical();
        for hop in forwarded.rev().flat_map(|header| header.rsplit(',')) {
            if !trusted(origin) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            origin = address.to_canonical();
        }
        origin
    }
}

/// What is known of the other end of the connection.
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// What its software calls itself.
    pub name: Option<String>,
}

impl<'a> FromRequest<'a> for Client {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let RemoteAddr(peer) = request.remote_addr();
        let peer = peer.as_socket_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
        let forwarded: Vec<_> = request.headers().get_all("x-forwarded-for").iter().collect();
        let forwarded = forwarded.iter().filter_map(|value| value.to_str().ok());
        let trusted = request.data::<TrustedProxies>().cloned().unwrap_or_default();
        let name = request.header("user-agent").map(str::to_owned);
        Ok(Self { address: trusted.origin(peer, forwarded), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
        let origin =
            TrustedProxies(proxies).origin(peer.parse().unwrap(), forwarded.iter().copied());
        origin.to_string()
    }

    #[test]
    fn forwarded_addresses_count_only_behind_configured_proxies_security_14() {
        assert_eq!(origin(&[], "198.51.100.7", &["192.0.2.1"]), "198.51.100.7");
        let inside = ["10.0.0.0/8"];
        assert_eq!(origin(&inside, "198.51.100.7", &["192.0.2.1"]), "198.51.100.7");
        assert_eq!(origin(&inside, "10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(origin(&inside, "10.0.0.1", &["203.0.113.9, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(origin(&inside, "10.0.0.1", &["203.0.113.9", "192.0.2.1"]), "192.0.2.1");
        assert_eq!(origin(&inside, "10.0.0.1", &["192.0.2.1, nonsense"]), "10.0.0.1");
        assert_eq!(origin(&inside, "10.0.0.1", &[]), "10.0.0.1");
    }
}
