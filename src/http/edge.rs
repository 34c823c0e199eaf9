//! What holds for every request, whatever it asks for: a bounded body, a time limit, a request
//! id, headers that keep browsers out of trouble, a line in the log, and errors as problems.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::Version;
use poem::http::header::{self, HeaderName, HeaderValue};
use poem::{Body, Endpoint, Request, Response, Result};
use poem_openapi::OperationId;
use poem_openapi::error::{AuthorizationError, ContentTypeError};
use tracing::Instrument;

use crate::app::App;
use crate::error::Error;
use crate::http::openapi::Paths;
use crate::http::problem::{self, Carried};
use crate::http::webhooks;

/// The largest body, in bytes: every request of ours is a few hundred.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The largest event of Stripe's, in bytes: those with many line items have a few hundred thousand.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The longest time from the end of a request's headers to the beginning of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The name under which a request is found in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A year, the usual life of the promise to speak TLS only (RFC 6797).
const STRICT_TRANSPORT_SECURITY: &str = "max-age=31536000";

/// Wraps the routes.
pub struct Edge<E> {
    /// The routes.
    pub inner: E,
    /// The service, for request ids.
    pub app: App,
    /// The paths that are described.
    pub paths: Paths,
    /// Whether browsers reach the server over TLS.
    pub over_tls: bool,
}

impl<E: Endpoint<Output = Response>> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let begun = Instant::now();
        let request_id = format!("{:032x}", self.app.random.bits());
        let method = request.method().clone();
        let path = self.paths.template(request.uri().path());
        // At the level of errors, so that it names the request of any event that is logged.
        let span = tracing::error_span!("request", request_id, %method, path);
        let answer = async {
            let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.answer(request)).await;
            let answer = answer.unwrap_or(Err(Error::RequestTimeout(REQUEST_TIMEOUT)));
            let mut response = answer.unwrap_or_else(|error| {
                tell(&error);
                problem::response(&error, &request_id)
            });
            self.add_headers(&mut response, &request_id);
            let status = response.status().as_u16();
            let elapsed = begun.elapsed();
            tracing::info!(status, milliseconds = elapsed.as_secs_f64() * 1e3, "answered");
            measure(&method, &response, elapsed);
            response
        };
        Ok(answer.instrument(span).await)
    }
}

impl<E: Endpoint<Output = Response>> Edge<E> {
    async fn answer(&self, mut request: Request) -> std::result::Result<Response, Error> {
        if request.version() == Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
            // RFC 9112, section 3.2.
            return Err(Error::InvalidRequest("the header `Host` is missing".into()));
        }
        let is_event = request.uri().path() == webhooks::PATH;
        let limit = if is_event { MAX_EVENT_BYTES } else { MAX_BODY_BYTES };
        let announced =
            request.header("content-length").and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            // Told before it is sent.
            return Err(Error::PayloadTooLarge { limit });
        }
        let body = request.take_body().into_bytes_limit(limit).await;
        request.set_body(Body::from_bytes(body.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => Error::PayloadTooLarge { limit },
            other => Error::InvalidRequest(format!("the body did not arrive: {other}")),
        })?));
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind().await;
        // The panic itself is on standard error already.
        let answer = answer.map_err(|_| Error::Internal("a handler panicked".into()))?;
        answer.map_err(|error| {
            if error.is::<MethodNotAllowedError>() {
                let allowed = self.paths.allowed(&path);
                return Error::MethodNotAllowed { method, allowed };
            }
            ours(error)
        })
    }

    fn add_headers(&self, response: &mut Response, request_id: &str) {
        let headers = response.headers_mut();
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
            // Licenses and tokens are in many answers; what may be kept says so itself.
            (header::CACHE_CONTROL, "no-store"),
        ] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if self.over_tls {
            let promise = HeaderValue::from_static(STRICT_TRANSPORT_SECURITY);
            headers.insert(header::STRICT_TRANSPORT_SECURITY, promise);
        }
        if let Ok(request_id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, request_id);
        }
    }
}

/// An error of the framework, as one of ours.
fn ours(error: poem::Error) -> Error {
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

/// Faults of ours go to the log in full; what callers get wrong, only on request.
fn tell(error: &Error) {
    if error.code().status() >= 500 {
        tracing::error!(code = %error.code(), %error, "failed");
    } else {
        tracing::debug!(code = %error.code(), "refused");
    }
}

fn measure(method: &poem::http::Method, response: &Response, elapsed: Duration) {
    let operation = response.data::<OperationId>().map_or("none", |operation| operation.0);
    let status = response.status().as_str().to_owned();
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
    .to_owned();
    metrics::counter!(
        "licentia_http_requests_total",
        "operation" => operation, "method" => method, "status" => status
    )
    .increment(1);
    metrics::histogram!("licentia_http_request_seconds", "operation" => operation)
        .record(elapsed.as_secs_f64());
}
