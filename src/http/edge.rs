//! Applies to every request: a body limit, a time limit, a request id, security headers, a log
//! line, metrics, and errors as problem responses.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt, TryFutureExt};
use poem::endpoint::{BoxEndpoint, DynEndpoint};
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::Version;
use poem::http::header::{self, HeaderName, HeaderValue};
use poem::{Body, Request, Response};
use poem_openapi::OperationId;
use poem_openapi::auth::{Bearer, BearerAuthorization};
use poem_openapi::error::{AuthorizationError, ContentTypeError};
use tracing::{Instrument, Span};

use crate::app::App;
use crate::error::Error;
use crate::http::body::{BodySlot, LargeBodies, MAX_BODY_BYTES};
use crate::http::cors::Cors;
use crate::http::idempotency::{self, Keyed};
use crate::http::openapi::{self, Operation, Path, Paths};
use crate::http::problem::{self, Carried};
use crate::http::sale::webhooks;
use crate::http::server::connection::Connection;
use crate::http::throttle::Throttle;
use crate::metrics::{self, ErrorLabels};
use crate::request_id;

/// The longest time from the end of a request's headers to the start of its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The header with the id of a request, which is also in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes browsers use only TLS, for a year (RFC 6797).
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// The methods that are counted by name. A client can send any other text.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"];

/// The routes, with what applies to every request.
pub struct Edge {
    /// The described paths.
    api: BoxEndpoint<'static>,
    /// All other paths.
    pages: BoxEndpoint<'static>,
    app: App,
    throttle: Arc<Throttle>,
    paths: Paths,
    over_tls: bool,
    cors: Cors,
    large_events: LargeBodies,
    /// Apart from the events: anybody may send a license.
    large_licenses: LargeBodies,
}

/// A request that is being handled.
struct Exchange<'a> {
    /// When its head was read.
    start: Instant,
    method: &'a str,
    operation: Option<&'a Operation>,
    /// The origin of the page that makes the request.
    origin: Option<HeaderValue>,
    request_id: String,
    /// The context of its log lines.
    span: Span,
}

impl Edge {
    /// Wraps the endpoints of the described paths and of all others. `over_tls` is whether browsers
    /// reach the server over TLS.
    pub fn new(
        api: BoxEndpoint<'static>,
        pages: BoxEndpoint<'static>,
        app: App,
        paths: Paths,
        over_tls: bool,
    ) -> Self {
        let (large_events, large_licenses) = Default::default();
        let (throttle, cors) = (Arc::default(), Cors::of(&app.return_origins));
        Self { api, pages, app, throttle, paths, over_tls, cors, large_events, large_licenses }
    }

    /// Returns the response to a request.
    pub async fn serve(&self, request: Request, connection: &Connection) -> Response {
        let path = self.paths.find(request.uri().path());
        let template = path.map_or("(not described)", |path| path.template.as_str());
        let method = request.method().clone();
        let operation = path.and_then(|path| path.operation(method.as_str()));
        let origin = request.headers().get(header::ORIGIN).cloned();
        let exchange = self.begin(method.as_str(), template, operation, origin);
        if let Some(allowed) = self.cors.preflight(&request, path) {
            return self.finish(&exchange, Ok(allowed));
        }
        let handled = self.handle(request, connection, path, operation);
        let handled = request_id::scope(Some(exchange.request_id.clone()), handled);
        let handled = handled.instrument(exchange.span.clone()).await;
        let mut response = self.finish(&exchange, handled);
        if connection.has_unread_body() {
            // The rest of the body would be read as the next request.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    /// Returns the response to a request with an unreadable head, after logging and counting it.
    pub fn refuse(&self, error: Error) -> Response {
        let exchange = self.begin("(unknown)", "(unreadable)", None, None);
        self.finish(&exchange, Err(error))
    }

    fn begin<'a>(
        &self,
        method: &'a str,
        path: &str,
        operation: Option<&'a Operation>,
        origin: Option<HeaderValue>,
    ) -> Exchange<'a> {
        let start = Instant::now();
        let request_id = format!("{:032x}", self.app.random.bits());
        // The level is error, so that every log line has the request id with any log filter.
        let span = tracing::error_span!("request", request_id, %method, path);
        Exchange { start, method, operation, origin, request_id, span }
    }

    /// Returns the response with its id and security headers, after logging and counting it.
    fn finish(
        &self,
        exchange: &Exchange<'_>,
        handled: std::result::Result<Response, Error>,
    ) -> Response {
        let _entered = exchange.span.enter();
        let mut response = handled.unwrap_or_else(|error| {
            log(&error);
            self.count_error(exchange, &error);
            problem::response(&error, &exchange.request_id)
        });
        self.add_headers(&mut response, &exchange.request_id);
        if let Some(operation) = exchange.operation {
            self.cors.allow(response.headers_mut(), exchange.origin.as_ref(), operation.access);
        }
        let status = response.status().as_u16();
        let elapsed = exchange.start.elapsed();
        tracing::info!(status, milliseconds = elapsed.as_secs_f64() * 1e3, "responded");
        self.measure(exchange, &response, elapsed);
        response
    }

    /// Checks a request, reads its body, and calls its handler.
    async fn handle(
        &self,
        mut request: Request,
        connection: &Connection,
        path: Option<&Path>,
        operation: Option<&Operation>,
    ) -> std::result::Result<Response, Error> {
        let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
        let body = request.take_body();
        let has_body = !body.is_empty();
        let has_key = request.headers().contains_key(idempotency::KEY);
        if let (true, Some(operation)) = (has_key, operation) {
            let (operation, body) = (operation.id.clone(), Bytes::new());
            request.set_data(Keyed { operation, body });
        }
        let admitted = match self.admit(&request, operation) {
            Ok(limit) if has_body => {
                // Boxed: most requests have no body, and a future is copied several times.
                let read = Box::pin(self.read_body(&mut request, body, (limit, operation)));
                in_time(deadline, read).await
            }
            admitted => admitted.map(|_| None),
        };
        if admitted.is_err() && has_body {
            connection.leave_body_unread();
        }
        let _slot = admitted?;
        connection.begin_work();
        let method = request.method().clone();
        let endpoint = match (path, operation) {
            (_, Some(Operation { handler: Some(handler), .. })) => handler,
            (Some(_), _) => &self.api,
            (None, _) => &self.pages,
        };
        let answered = async {
            let handled = in_time(deadline, self.call(request, endpoint)).await;
            handled?.or_else(|error| {
                if error.is_from_response() {
                    // `Once` ends a repeated request with its kept response.
                    return Ok(error.into_response());
                }
                if error.is::<MethodNotAllowedError>() {
                    let method = method.to_string();
                    let allowed = openapi::allowed(path);
                    return Err(Error::MethodNotAllowed { method, allowed });
                }
                Err(from_framework(error))
            })
        };
        // Boxed: most requests have no key.
        if has_key { Box::pin(idempotency::answer(answered)).await } else { answered.await }
    }

    /// Checks the head of a request, and that the credential is present. Returns the size limit of
    /// the body.
    fn admit(
        &self,
        request: &Request,
        operation: Option<&Operation>,
    ) -> std::result::Result<usize, Error> {
        if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
            // RFC 9112, section 3.2.
            return Err(Error::InvalidRequest("the header `Host` is missing".into()));
        }
        let is_webhook = operation.is_some_and(|operation| operation.is_webhook);
        let limit = operation.map_or(MAX_BODY_BYTES, |operation| operation.max_body_bytes);
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            // Refused before the client sends it.
            return Err(Error::PayloadTooLarge { limit });
        }
        if is_webhook {
            webhooks::admit(&self.app, request)?;
        }
        if operation.is_some_and(|operation| operation.needs_bearer) {
            Bearer::from_request(request).map_err(|_| Error::Unauthenticated)?;
        }
        Ok(limit)
    }

    /// Reads the body of a request into memory. Returns the slot of a large body.
    async fn read_body(
        &self,
        request: &mut Request,
        body: Body,
        (limit, operation): (usize, Option<&Operation>),
    ) -> std::result::Result<Option<BodySlot>, Error> {
        let is_webhook = operation.is_some_and(|operation| operation.is_webhook);
        let bodies = if is_webhook { &self.large_events } else { &self.large_licenses };
        let body = bodies.read(body, limit).await?;
        if let Some(keyed) = request.extensions_mut().get_mut::<Keyed>() {
            keyed.body = body.bytes.clone();
        }
        request.set_body(Body::from_bytes(body.bytes));
        Ok(body.slot)
    }

    /// Calls the handler of a request whose body was read.
    fn call(
        &self,
        mut request: Request,
        endpoint: &BoxEndpoint<'static>,
    ) -> impl Future<Output = std::result::Result<poem::Result<Response>, Error>> {
        request.extensions_mut().insert(self.app.clone());
        request.extensions_mut().insert(Arc::clone(&self.throttle));
        let handler = AssertUnwindSafe(DynEndpoint::call(&**endpoint, request)).catch_unwind();
        // The panic hook has already logged the panic.
        handler.map_err(|_| Error::Internal("a handler panicked".into()))
    }

    fn add_headers(&self, response: &mut Response, request_id: &str) {
        let headers = response.headers_mut();
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            // Many responses contain tokens. A handler sets this header if caching is allowed.
            (header::CACHE_CONTROL, "no-store"),
        ] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.over_tls {
            let value = HeaderValue::from_static(STRICT_TRANSPORT_SECURITY);
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, request_id);
        }
    }

    fn count_error(&self, exchange: &Exchange<'_>, error: &Error) {
        let operation = exchange.operation.map_or("none", |operation| operation.id.as_str());
        let labels = ErrorLabels { operation: operation.to_owned(), code: error.code().as_str() };
        self.app.metrics.http_errors.get_or_create_owned(&labels).inc();
    }

    fn measure(&self, exchange: &Exchange<'_>, response: &Response, elapsed: Duration) {
        let known = |method: &&str| *method == exchange.method;
        let labels = metrics::ResponseLabels {
            operation: response.data::<OperationId>().map_or("none", |operation| operation.0),
            method: METHODS.into_iter().find(known).unwrap_or("other"),
            status: response.status().as_u16(),
        };
        let metrics = &self.app.metrics;
        match exchange.operation {
            // Only frequent responses are kept: those with status 200.
            Some(operation) if labels.operation != "none" && labels.status == 200 => {
                operation.metrics.get_or_init(|| metrics.of_response(&labels)).count(elapsed);
            }
            _ => metrics.of_response(&labels).count(elapsed),
        }
    }
}

/// Awaits `work` until the deadline of the request.
///
/// # Errors
/// [`Error::RequestTimeout`].
async fn in_time<T>(
    deadline: tokio::time::Instant,
    work: impl Future<Output = std::result::Result<T, Error>>,
) -> std::result::Result<T, Error> {
    let result = tokio::time::timeout_at(deadline, work).await;
    result.unwrap_or(Err(Error::RequestTimeout(REQUEST_TIMEOUT)))
}

/// Converts an error of the framework to ours.
fn from_framework(error: poem::Error) -> Error {
    let status = error.status();
    if error.is::<Carried>() {
        let carried = error.downcast::<Carried>();
        carried.map_or_else(|other| Error::Internal(other.to_string()), |carried| carried.0)
    } else if error.is::<AuthorizationError>() {
        Error::Unauthenticated
    } else if error.is::<ContentTypeError>() {
        Error::UnsupportedMediaType
    } else if error.is::<NotFoundError>() {
        Error::NotFound("path; the API is described at /docs")
    } else if status.is_client_error() {
        Error::InvalidRequest(error.to_string())
    } else {
        Error::Internal(error.to_string())
    }
}

/// Logs an error: a 5xx in full, a 4xx only as its code and only at level debug.
fn log(error: &Error) {
    if error.code().status() >= 500 {
        tracing::error!(code = %error.code(), %error, "failed");
    } else {
        tracing::debug!(code = %error.code(), "refused");
    }
}
