//! Applies to every request: a body limit, a time limit, a request id, security headers, a log
//! line, metrics, and errors as problem responses.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::Version;
use poem::http::header::{self, HeaderName, HeaderValue};
use poem::{Body, Endpoint, Request, Response, Result};
use poem_openapi::OperationId;
use poem_openapi::auth::{Bearer, BearerAuthorization};
use poem_openapi::error::{AuthorizationError, ContentTypeError};
use tracing::Instrument;

use crate::app::App;
use crate::error::Error;
use crate::http::body::{LargeBodies, MAX_BODY_BYTES, MAX_EVENT_BYTES, Slot};
use crate::http::openapi::{self, Operation, Paths};
use crate::http::problem::{self, Carried};
use crate::http::sale::webhooks;
use crate::http::server::connection::Connection;
use crate::metrics;

/// The longest time from the end of a request's headers to the start of its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The header with the id of a request, which is also in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes browsers use only TLS, for a year (RFC 6797).
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// The methods that are counted by name. A client can send any other text.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"];

/// Wraps the routes.
pub struct Edge<E> {
    inner: E,
    app: App,
    paths: Paths,
    over_tls: bool,
    large_bodies: LargeBodies,
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let operations = self.paths.matching(request.uri().path());
        let path = operations.first().map_or("(not described)", |operation| &operation.template);
        let method = request.method().clone();
        let operation = operations.iter().find(|operation| operation.method == method.as_str());
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        let connection = connection.unwrap_or_default();
        // Boxed, as in `dispatch`.
        let work = Box::pin(async {
            let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
            let body = request.take_body();
            let has_body = !body.is_empty();
            let admitted = self.admit(&mut request, body, operation.copied());
            let admitted = in_time(deadline, admitted).await;
            if admitted.is_err() && has_body {
                connection.leave_body_unread();
            }
            let _slot = admitted?;
            connection.begin_work();
            in_time(deadline, self.dispatch(request, &operations)).await
        });
        let mut response = self.respond(method.as_str(), path, work).await;
        if connection.has_unread_body() {
            // The rest of the body would be read as the next request.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
    }
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    /// Wraps routes with the given paths. `over_tls` is whether browsers reach the server over TLS.
    pub fn new(inner: E, app: App, paths: Paths, over_tls: bool) -> Self {
        Self { inner, app, paths, over_tls, large_bodies: LargeBodies::default() }
    }

    /// Returns the response to a request with an unreadable head, after logging and counting it.
    pub async fn refuse(&self, error: Error) -> Response {
        self.respond("(unknown)", "(unreadable)", std::future::ready(Err(error))).await
    }

    /// Returns the response to a request, with its id and security headers, after logging and
    /// counting it.
    async fn respond(
        &self,
        method: &str,
        path: &str,
        work: impl Future<Output = std::result::Result<Response, Error>>,
    ) -> Response {
        let start = Instant::now();
        let request_id = format!("{:032x}", self.app.random.bits());
        // The level is error, so that every log line has the request id with any log filter.
        let span = tracing::error_span!("request", request_id, %method, path);
        let respond = async {
            let mut response = work.await.unwrap_or_else(|error| {
                log(&error);
                problem::response(&error, &request_id)
            });
            self.add_headers(&mut response, &request_id);
            let status = response.status().as_u16();
            let elapsed = start.elapsed();
            tracing::info!(status, milliseconds = elapsed.as_secs_f64() * 1e3, "responded");
            self.measure(method, &response, elapsed);
            response
        };
        respond.instrument(span).await
    }

    /// Checks that the credential is present, then reads the body. Returns the slot of a large
    /// body.
    async fn admit(
        &self,
        request: &mut Request,
        body: Body,
        operation: Option<&Operation>,
    ) -> std::result::Result<Option<Slot>, Error> {
        if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
            // RFC 9112, section 3.2.
            return Err(Error::InvalidRequest("the header `Host` is missing".into()));
        }
        let is_event = operation.is_some_and(|operation| operation.template == webhooks::PATH);
        let limit = if is_event { MAX_EVENT_BYTES } else { MAX_BODY_BYTES };
        let announced =
            request.header("content-length").and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            // Refused before the client sends it.
            return Err(Error::PayloadTooLarge { limit });
        }
        if is_event {
            webhooks::admit(&self.app, request)?;
        }
        if operation.is_some_and(|operation| operation.needs_bearer) {
            Bearer::from_request(request).map_err(|_| Error::Unauthenticated)?;
        }
        let body = self.large_bodies.read(body, limit).await?;
        request.set_body(Body::from_bytes(body.bytes));
        Ok(body.slot)
    }

    /// Calls the handler of a request whose body was read.
    async fn dispatch(
        &self,
        request: Request,
        operations: &[&Operation],
    ) -> std::result::Result<Response, Error> {
        let method = request.method().to_string();
        // Boxed: this future has many kilobytes, and each of those around it would copy it.
        let call = AssertUnwindSafe(self.inner.call(request)).catch_unwind().boxed();
        let result = call.await;
        // The panic hook has already logged the panic.
        let result = result.map_err(|_| Error::Internal("a handler panicked".into()))?;
        result.map_err(|error| {
            if error.is::<MethodNotAllowedError>() {
                return Error::MethodNotAllowed { method, allowed: openapi::allowed(operations) };
            }
            from_framework(error)
        })
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

    fn measure(&self, method: &str, response: &Response, elapsed: Duration) {
        let operation = response.data::<OperationId>().map_or("none", |operation| operation.0);
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        let status = response.status().as_u16();
        self.app.metrics.responded(&metrics::Response { operation, method, status }, elapsed);
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
