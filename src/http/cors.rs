//! Cross-origin requests: which web pages and apps may call an operation from a browser and read
//! the response (<https://fetch.spec.whatwg.org/#http-cors-protocol>). This does not replace a
//! credential. Credentials are bearer tokens: no browser adds one by itself, and cookies are never
//! allowed.

use poem::http::header::{self, HeaderMap, HeaderValue};
use poem::http::{Method, StatusCode};
use poem::{Request, Response};
use serde_json::Value;

use crate::config::ReturnOrigin;
use crate::http::openapi::Path;

/// How long a browser may remember a preflight, in seconds. A change of `return_origins` counts for
/// every browser after this time.
const PREFLIGHT_MAX_AGE: u32 = 600;

/// The request headers that pages may set.
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key";

/// The response headers that pages may read, besides those that the standard allows.
const RESPONSE_HEADERS: &str = "idempotent-replayed, retry-after, x-request-id";

/// The tags of the operations that are not for pages: only vendor and Stripe call them.
const NOT_FOR_PAGES: [&str; 3] = ["Administration", "Operations", "Webhooks"];

/// The tags of the operations whose response is public and the same for everyone.
const PUBLIC: [&str; 2] = ["Plans", "Keys"];

/// Which pages may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No page.
    Nobody,
    /// Pages of the origins in `return_origins`.
    Listed,
    /// Every page.
    Anyone,
}

impl Access {
    /// Returns the access to an operation with this description.
    pub fn to(operation: &Value) -> Self {
        let tags = operation["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let has = |names: &[&str]| tags.clone().any(|tag| names.contains(&tag));
        match (has(&NOT_FOR_PAGES), has(&PUBLIC)) {
            (true, _) => Self::Nobody,
            (false, true) => Self::Anyone,
            (false, false) => Self::Listed,
        }
    }
}

/// The origins whose pages may call the API.
pub struct Cors(Vec<HeaderValue>);

impl Cors {
    /// Allows these origins.
    pub fn of(origins: &[ReturnOrigin]) -> Self {
        let values = origins.iter().map(|origin| HeaderValue::from_str(origin.as_str()));
        Self(values.filter_map(Result::ok).collect())
    }

    /// Returns the response to a preflight, with which a browser asks whether a page may call the
    /// operation. Returns `None` for every other request, and if the page may not.
    pub fn preflight(&self, request: &Request, path: Option<&Path>) -> Option<Response> {
        let (path, origin) = (path?, request.headers().get(header::ORIGIN)?);
        let method = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()?;
        let operation = path.operation(method).filter(|_| *request.method() == Method::OPTIONS)?;
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        if !self.allow(response.headers_mut(), Some(origin), operation.access) {
            return None;
        }
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(REQUEST_HEADERS),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE.into());
        let methods = HeaderValue::from_str(&path.methods().join(", ")).ok()?;
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        Some(response)
    }

    /// Adds the headers by which a page of `origin` may read the response. Returns whether it may.
    pub fn allow(
        &self,
        headers: &mut HeaderMap,
        origin: Option<&HeaderValue>,
        access: Access,
    ) -> bool {
        let allowed = match access {
            Access::Nobody => None,
            Access::Anyone => Some(HeaderValue::from_static("*")),
            Access::Listed => {
                // Caches must not return the response for one origin to another.
                headers.append(header::VARY, HeaderValue::from_static("origin"));
                origin.filter(|origin| self.0.contains(origin)).cloned()
            }
        };
        let Some(allowed) = allowed else { return false };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let readable = HeaderValue::from_static(RESPONSE_HEADERS);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
        true
    }
}
