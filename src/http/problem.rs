//! Error responses: RFC 9457 problems with a stable code. Every error, ours and the framework's, is
//! converted to one. The errors themselves are in [`crate::error`].

use std::marker::PhantomData;

use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};
use serde_json::Value;

use crate::error::{Code, Error};

/// The media type of RFC 9457, section 3.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The request id in examples.
const EXAMPLE_REQUEST_ID: &str = "0123456789abcdef0123456789abcdef";

/// An error (RFC 9457). `code` is stable, so programs can depend on it.
#[derive(Debug, Object)]
#[oai(rename = "Problem", example)]
pub struct ProblemDetails {
    /// Always `about:blank`: the code identifies the problem.
    #[oai(rename = "type")]
    pub kind: String,
    /// A short description of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code of the problem, for example `email_taken`.
    pub code: String,
    /// The problem of this request, and how to fix it.
    pub detail: String,
    /// The id of this request in the server's log.
    pub request_id: String,
    /// The page where the customer can pay: of `payment_failed` and `payment_action_required`.
    #[oai(skip_serializing_if_is_none)]
    pub payment_url: Option<String>,
}

impl Example for ProblemDetails {
    fn example() -> Self {
        Self::new(&Error::EmailTaken, EXAMPLE_REQUEST_ID)
    }
}

/// Returns the body of the response to this error, for the API description.
pub fn example(error: &Error) -> Option<Value> {
    ProblemDetails::new(error, EXAMPLE_REQUEST_ID).to_json()
}

/// Returns the body of the response to a failed request, as [`response`] does.
pub fn body(error: &Error, request_id: &str) -> String {
    ProblemDetails::new(error, request_id).to_json_string()
}

impl ProblemDetails {
    fn new(error: &Error, request_id: &str) -> Self {
        let code = error.code();
        Self {
            kind: "about:blank".into(),
            title: code.title().into(),
            status: code.status(),
            code: code.as_str().into(),
            detail: detail(error),
            request_id: request_id.into(),
            payment_url: error.payment_url().map(Into::into),
        }
    }
}

/// Returns the response to a failed request. `request_id` identifies the request in the log.
pub fn response(error: &Error, request_id: &str) -> Response {
    let details = ProblemDetails::new(error, request_id);
    let status = details.status;
    let mut response = poem_openapi::payload::Json(details).into_response();
    response.set_status(StatusCode::from_u16(status).unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
    }
    if status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Error::MethodNotAllowed { allowed, .. } = error
        && let Ok(allowed) = HeaderValue::from_str(&allowed.join(", "))
    {
        headers.insert(header::ALLOW, allowed);
    }
    response
}

/// Returns the message for the caller. It does not reveal internal details.
fn detail(error: &Error) -> String {
    match error.code() {
        Code::Internal => {
            "internal server error; the server's log has the details under the request id".into()
        }
        Code::DatabaseUnreachable => {
            "the database cannot be reached; try again in a few seconds".into()
        }
        Code::Unavailable => {
            "the database failed; the server's log has the reason under the request id".into()
        }
        Code::BillingUnavailable => {
            "the payment provider cannot be reached; try again in a few seconds".into()
        }
        Code::BillingRefused => {
            "the payment provider refused the request; the server's log has the reason under the \
             request id"
                .into()
        }
        _ => error.to_string(),
    }
}

/// Wraps our error for the framework.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Carried(pub Error);

impl ResponseError for Carried {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code().status()).unwrap_or_default()
    }
}

impl From<Error> for poem::Error {
    fn from(error: Error) -> Self {
        Carried(error).into()
    }
}

/// The error of one operation. The type parameter lists the codes that the operation documents.
/// Codes that every operation of a kind can return, such as a malformed body, are added in
/// [`crate::http::openapi`].
pub struct Failure<D> {
    error: poem::Error,
    documented: PhantomData<fn() -> D>,
}

/// The codes that are specific to an operation.
pub trait Documented {
    /// The codes.
    const CODES: &'static [Code];
}

/// Declares the codes of an operation: `documented!(SignupCodes: EmailTaken, WeakPassword)`.
macro_rules! documented {
    ($name:ident: $($code:ident),*) => {
        pub(crate) struct $name;

        impl $crate::http::problem::Documented for $name {
            const CODES: &'static [$crate::error::Code] = &[$($crate::error::Code::$code),*];
        }
    };
}
pub(crate) use documented;

documented!(NothingMore:);

impl<D> From<Error> for Failure<D> {
    fn from(error: Error) -> Self {
        Self { error: error.into(), documented: PhantomData }
    }
}

/// An error of [`Once::begin`](crate::http::idempotency::Once::begin).
impl<D> From<poem::Error> for Failure<D> {
    fn from(error: poem::Error) -> Self {
        Self { error, documented: PhantomData }
    }
}

impl<D> From<Failure<D>> for poem::Error {
    fn from(failure: Failure<D>) -> Self {
        failure.error
    }
}

impl<D: Documented> ApiResponse for Failure<D> {
    fn meta() -> MetaResponses {
        let mut statuses: Vec<u16> = D::CODES.iter().map(|code| code.status()).collect();
        statuses.sort_unstable();
        statuses.dedup();
        let responses = statuses.into_iter().map(|status| MetaResponse {
            description: described(status, D::CODES),
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: schema() }],
            headers: Vec::new(),
        });
        MetaResponses { responses: responses.collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemDetails::register(registry);
    }
}

fn schema() -> MetaSchemaRef {
    ProblemDetails::schema_ref()
}

/// Returns the codes of one status as a line of the API description.
pub fn description(status: u16, codes: &[Code]) -> String {
    let of_status = codes.iter().filter(|code| code.status() == status);
    let lines: Vec<_> = of_status.map(|code| line(*code)).collect();
    lines.join(" ")
}

/// Returns a code in the description of a response.
pub fn line(code: Code) -> String {
    format!("`{}`: {}.", code.as_str(), code.title())
}

/// Returns the description as the `'static` text that the registry needs. The text is leaked; this
/// is called only a few times, at startup.
fn described(status: u16, codes: &[Code]) -> &'static str {
    Box::leak(description(status, codes).into_boxed_str())
}
