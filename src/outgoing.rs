//! Sends the requests of outgoing webhooks. Only addresses that are allowed are connected to: a
//! name is resolved here, and each address is checked before the connection, so that a name cannot
//! point elsewhere later. Redirects and proxies are not followed. The signature is in
//! [`crate::domain::operator::webhook`].

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use crate::config::Config;
use crate::domain::ids::MessageId;
use crate::domain::operator::webhook_target::{RefusedTarget, Targets, WebhookUrl, is_public};
use crate::domain::time::Timestamp;
use crate::fail_point::FailPoint;

/// The longest time for one attempt, from the resolution of the name to the response.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time to resolve a name when a webhook is created.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The part of a response that is read, in bytes. It is not used, but the connection is reused.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// Connections that are kept open for each receiver, and for how long: for the events of one sale.
const MAX_IDLE_CONNECTIONS: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("licentia/", env!("CARGO_PKG_VERSION")));

/// Resolves a host name. It may block.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Sends the requests of outgoing webhooks.
pub struct Outgoing {
    transport: Transport,
    resolver: Resolver,
}

enum Transport {
    Http(Box<legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>>),
    Double(Double),
}

/// Receives the id and the payload of each delivery, instead of a receiver.
pub type Double = Box<dyn Fn(MessageId, String) -> BoxFuture<'static, Replied> + Send + Sync>;

/// The result of a request: the response, or the reason why there was none.
pub type Replied = Result<Reply, NoReply>;

/// A request.
pub struct Delivery<'a> {
    /// The URL.
    pub url: &'a WebhookUrl,
    /// The id of the message, the same in every attempt.
    pub message_id: &'a MessageId,
    /// The time of the attempt.
    pub at: Timestamp,
    /// The header `webhook-signature`.
    pub signatures: &'a str,
    /// The body.
    pub payload: String,
}

/// The response of a receiver.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
}

/// The reason why there was no response. It quotes nothing from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// The target is not allowed.
    #[error("the target is refused: {0}")]
    Refused(RefusedTarget),
    /// The name has no address.
    #[error("the host name cannot be resolved")]
    UnknownHost,
    /// No connection, or TLS failed.
    #[error("no connection, or the certificate is not valid")]
    NoConnection,
    /// The connection ended before the response.
    #[error("the connection ended without a response")]
    Closed,
    /// The receiver is too slow.
    #[error("no response within {} seconds", TIMEOUT.as_secs())]
    Timeout,
}

impl Outgoing {
    /// Returns the sender of a server, which resolves names as the system does.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let lookup = |name: &str| {
            let addresses = (name, 0).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        };
        Self::with_lookup(config, Arc::new(lookup))
    }

    /// Returns a sender that resolves names by this function, for tests.
    #[must_use]
    pub fn with_lookup(config: &Config, lookup: Lookup) -> Self {
        let targets = config.webhook_targets;
        let resolver = Resolver { lookup, targets };
        let mut connector = HttpConnector::new_with_resolver(resolver.clone());
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_webpki_roots();
        let tls = match targets {
            Targets::Public => tls.https_only(),
            Targets::Any => tls.https_or_http(),
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(tls.enable_http1().wrap_connector(connector));
        Self { transport: Transport::Http(Box::new(http)), resolver }
    }

    /// Returns a sender that passes every delivery to a double, and resolves no names.
    #[must_use]
    pub fn double(config: &Config, double: Double) -> Self {
        let lookup: Lookup = Arc::new(|_| Ok(Vec::new()));
        let resolver = Resolver { lookup, targets: config.webhook_targets };
        Self { transport: Transport::Double(double), resolver }
    }

    /// Returns the URL of a webhook, if it may be called by today's settings.
    ///
    /// # Errors
    /// The reason why it may not be called.
    pub fn allowed(&self, url: &str) -> Result<WebhookUrl, RefusedTarget> {
        WebhookUrl::parse(url, self.resolver.targets)
    }

    /// Returns the URL of a new webhook. A name that resolves to no allowed address is refused; a
    /// name that does not resolve now may do so later.
    ///
    /// # Errors
    /// The reason why it may not be called.
    pub async fn check(&self, url: &str) -> Result<WebhookUrl, RefusedTarget> {
        let url = self.allowed(url)?;
        let Some(name) = url.name() else { return Ok(url) };
        match timeout(LOOKUP_TIMEOUT, self.resolver.resolve(name.to_owned())).await {
            Ok(Err(NoAddress::Refused)) => Err(RefusedTarget::NotPublic),
            _ => Ok(url),
        }
    }

    /// Sends a request. Returns the response, whatever its status.
    ///
    /// # Errors
    /// The reason why there is none.
    pub async fn send(&self, delivery: Delivery<'_>, at: FailPoint<'_>) -> Replied {
        let http = match &self.transport {
            Transport::Http(http) => http,
            Transport::Double(double) => {
                let reply = double(delivery.message_id.clone(), delivery.payload).await?;
                at.reach();
                return Ok(reply);
            }
        };
        let request = Request::post(delivery.url.as_str())
            .header(CONTENT_TYPE, JSON)
            .header(USER_AGENT, AGENT)
            .header("webhook-id", delivery.message_id.as_str())
            .header("webhook-timestamp", delivery.at.epoch_seconds())
            .header("webhook-signature", delivery.signatures)
            .body(Full::from(delivery.payload))
            .map_err(|_| NoReply::Refused(RefusedTarget::NotAUrl))?;
        let deadline = Instant::now() + TIMEOUT;
        let response = timeout_at(deadline, http.request(request)).await;
        let response = response.map_err(|_| NoReply::Timeout)?.map_err(|error| no_reply(&error))?;
        at.reach();
        let reply = Reply::of(&response);
        // The status decides, whether or not the rest arrives.
        let rest = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect();
        let _ = timeout_at(deadline, rest).await;
        Ok(reply)
    }
}

impl Reply {
    fn of<B>(response: &Response<B>) -> Self {
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { status: response.status().as_u16(), retry_after }
    }
}

fn no_reply(error: &legacy::Error) -> NoReply {
    let mut cause = error.source();
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(NoAddress::Refused) => return NoReply::Refused(RefusedTarget::NotPublic),
            Some(NoAddress::Unknown) => return NoReply::UnknownHost,
            None => cause = error.source(),
        }
    }
    if error.is_connect() { NoReply::NoConnection } else { NoReply::Closed }
}

/// Resolves names, and returns only the addresses that are allowed.
#[derive(Clone)]
struct Resolver {
    lookup: Lookup,
    targets: Targets,
}

/// The reason why a name has no address to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum NoAddress {
    #[error("the host name has no allowed address")]
    Refused,
    #[error("the host name cannot be resolved")]
    Unknown,
}

impl Resolver {
    async fn resolve(&self, name: String) -> Result<Vec<SocketAddr>, NoAddress> {
        let lookup = self.lookup.clone();
        let found = tokio::task::spawn_blocking(move || lookup(&name)).await;
        let found = found.ok().and_then(Result::ok).filter(|found| !found.is_empty());
        let mut addresses = found.ok_or(NoAddress::Unknown)?;
        addresses.retain(|address| self.targets == Targets::Any || is_public(*address));
        if addresses.is_empty() {
            return Err(NoAddress::Refused);
        }
        Ok(addresses.into_iter().map(|address| (address, 0).into()).collect())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = BoxFuture<'static, Result<Self::Response, NoAddress>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.resolve(name.as_str().to_owned()).await?.into_iter()) })
    }
}
