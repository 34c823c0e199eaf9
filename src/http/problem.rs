//! Errors as answers: RFC 9457 problems with a stable code. Every error of ours and of the
//! framework ends here.

use std::marker::PhantomData;

use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object};

use crate::error::{Code, Error};

/// The media type of RFC 9457, section 3.
const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong (RFC 9457). `code` is stable: programs branch on it.
#[derive(Debug, Object)]
#[oai(rename = "Problem", example)]
pub struct ProblemDetails {
    /// Where this kind of problem is described; always `about:blank`, the code says it all.
    #[oai(rename = "type")]
    pub kind: String,
    /// What the code means, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the problem, for example `email_taken`.
    pub code: String,
    /// What is wrong with this request, and the way out.
    pub detail: String,
    /// Names this request in the server's log.
    pub request_id: String,
}

impl Example for ProblemDetails {
    fn example() -> Self {
        Self::new(&Error::EmailTaken, "0123456789abcdef0123456789abcdef")
    }
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
        }
    }
}

/// The answer to a request that failed. `request_id` names it in the log.
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

/// What the caller is told. What happened inside stays inside.
fn detail(error: &Error) -> String {
    match error.code() {
        Code::Internal => {
            "this is a fault of the server; the request id finds it in the log".into()
        }
        Code::Unavailable => "the database cannot be reached; try again in a few seconds".into(),
        Code::BillingUnavailable => {
            "the payment provider cannot be reached; try again in a few seconds".into()
        }
        Code::BillingRefused => {
            "the payment provider refused; the vendor finds out why by the request id".into()
        }
        _ => error.to_string(),
    }
}

/// An error of ours on its way through the framework.
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

/// The error of one operation, typed by what it documents. What every operation of a kind can
/// answer (no session, a malformed body, a fault) is added in [`crate::http::openapi`].
pub struct Failure<D> {
    error: Error,
    documented: PhantomData<fn() -> D>,
}

/// The codes that an operation can answer for reasons of its own.
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
        Self { error, documented: PhantomData }
    }
}

impl<D> From<Failure<D>> for poem::Error {
    fn from(failure: Failure<D>) -> Self {
        failure.error.into()
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

/// The codes of one status, as a line of the API description.
pub fn description(status: u16, codes: &[Code]) -> String {
    let of_status = codes.iter().filter(|code| code.status() == status);
    let lines: Vec<_> =
        of_status.map(|code| format!("`{}`: {}.", code.as_str(), code.title())).collect();
    lines.join(" ")
}

/// The registry wants a text that lives for ever. It is asked for a few times, when the server starts.
fn described(status: u16, codes: &[Code]) -> &'static str {
    Box::leak(description(status, codes).into_boxed_str())
}
