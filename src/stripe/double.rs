//! The double of Stripe for the simulation: calls go to a function instead of the network. The
//! sandbox is something else: a server that is called like Stripe.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_client_core::StripeMethod;
use url::form_urlencoded;

use super::{Answer, StripeFailure, refused, unreadable};
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
        form: &[(String, String)],
        attempt: Option<&AttemptId>,
    ) -> Self {
        let method = match method {
            StripeMethod::Get => "GET",
            StripeMethod::Post => "POST",
            StripeMethod::Delete => "DELETE",
        };
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let idempotency_key = attempt.map(|attempt| attempt.as_str().to_owned());
        Self { method, path: format!("/v1{path}"), form, idempotency_key }
    }
}

/// Calls a double, without a timeout.
pub(super) async fn call<T: DeserializeOwned>(double: &Double, call: Call) -> Answer<T> {
    let path = call.path.clone();
    match double(call).await {
        Some((200..=299, body)) => {
            serde_json::from_value(body).map_err(|error| unreadable(&path, &error))
        }
        Some((_, Value::String(page))) => Err(StripeFailure::Unreadable(page)),
        Some((status, body)) => {
            let error = |name: &str| body["error"][name].as_str();
            let code = error("code").or(error("type")).unwrap_or("api_error");
            Err(refused(status, code, error("param")))
        }
        None => Err(StripeFailure::Unreachable("no response".into())),
    }
}
