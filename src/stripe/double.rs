//! What stands in for Stripe in a simulation: calls go to a function, and never to a network. The double
//! that a developer runs is a server, and reached as Stripe is.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_client_core::StripeMethod;
use url::form_urlencoded;

use super::{Answer, StripeFailure, refused, unreadable};
use crate::domain::ids::AttemptId;

/// Gets a call, and answers with a status and a body; with nothing, where no answer came.
pub type Double = Box<dyn Fn(Call) -> BoxFuture<'static, Option<(u16, Value)>> + Send + Sync>;

/// A call as a double gets it.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path, with `/v1` before it.
    pub path: String,
    /// The form, or the query of a `GET`, encoded.
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

/// Calls a double, which is as patient as it likes.
pub(super) async fn call<T: DeserializeOwned>(double: &Double, call: Call) -> Answer<T> {
    let path = call.path.clone();
    match double(call).await {
        Some((200..=299, body)) => {
            serde_json::from_value(body).map_err(|error| unreadable(&path, &error))
        }
        Some((_, Value::String(page))) => Err(StripeFailure::Unreadable(page)),
        Some((status, body)) => {
            let said = |name: &str| body["error"][name].as_str();
            let code = said("code").or(said("type")).unwrap_or("api_error");
            Err(refused(status, code, said("param")))
        }
        None => Err(StripeFailure::Unreachable("no answer came".into())),
    }
}
