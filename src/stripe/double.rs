//! The double of Stripe for the simulation: calls go to a function instead of the network. The
//! sandbox is something else: a server that is called like Stripe.

use futures_util::future::BoxFuture;
use serde_json::Value;
use stripe_client_core::StripeMethod;

use super::{Answer, Response, StripeFailure};
use crate::domain::ids::AttemptId;

/// Receives a call and returns the status and the body of the response, or `None` for no response.
pub type Double = Box<dyn Fn(Call) -> BoxFuture<'static, Option<(u16, Value)>> + Send + Sync>;

/// A call to a double.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path, beginning with `/v1`.
    pub path: String,
    /// The encoded form, or the query of a `GET`.
    pub form: String,
    /// The idempotency key.
    pub idempotency_key: Option<String>,
}

impl Call {
    pub(super) fn new(
        method: StripeMethod,
        path: &str,
        form: String,
        attempt: Option<&AttemptId>,
    ) -> Self {
        let method = match method {
            StripeMethod::Get => "GET",
            StripeMethod::Post => "POST",
            StripeMethod::Delete => "DELETE",
        };
        let idempotency_key = attempt.map(|attempt| attempt.as_str().to_owned());
        Self { method, path: format!("/v1{path}"), form, idempotency_key }
    }
}

/// Calls a double, without a timeout.
pub(super) async fn send(double: &Double, call: Call) -> Answer<Response> {
    let answer = double(call).await;
    let (status, body) = answer.ok_or_else(|| StripeFailure::Unreachable("no response".into()))?;
    // A text is a page that is not JSON.
    let body = Some(body).filter(|body| !body.is_string());
    Ok(Response { status, body, request_id: None, should_retry: None })
}
