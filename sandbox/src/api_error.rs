//! Stripe's error objects. Which call returns which error is in `api`.

use serde_json::{Value, json};

/// The result of a handler of the API: the response's body, or an error.
pub type ApiResult = Result<Value, ApiError>;

/// An error in Stripe's words.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

impl ApiError {
    /// A bad request. `param` names the parameter at fault, unless it is empty.
    pub fn invalid(message: impl Into<String>, param: &str) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            param: (!param.is_empty()).then(|| param.to_owned()),
            message: message.into(),
        }
    }

    /// A bad request with one of Stripe's codes.
    pub fn coded(code: &'static str, message: impl Into<String>, param: &str) -> Self {
        Self { code: Some(code), ..Self::invalid(message, param) }
    }

    /// A required parameter is missing.
    pub fn missing(param: &str) -> Self {
        Self::coded("parameter_missing", format!("Missing required param: {param}."), param)
    }

    /// A parameter that the endpoint does not know.
    pub fn unknown(param: &str) -> Self {
        Self::coded("parameter_unknown", format!("Received unknown parameter: {param}"), param)
    }

    /// No object has this id. In the path this is a 404, in a parameter a 400.
    pub fn no_such(noun: &str, id: &str, param: &str) -> Self {
        let message = format!("No such {noun}: '{id}'");
        let status = if param == "id" { 404 } else { 400 };
        Self { status, ..Self::coded("resource_missing", message, param) }
    }

    /// No resource has this path.
    pub fn no_such_url(method: &str, path: &str) -> Self {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Self { status: 404, ..Self::invalid(message, "") }
    }

    /// A preview finds no invoice that would be made.
    pub fn nothing_upcoming(of: &str) -> Self {
        let message = format!("No upcoming invoices for customer: {of}");
        Self { status: 404, ..Self::coded("invoice_upcoming_none", message, "") }
    }

    /// The API key is missing or wrong.
    pub fn unauthorized() -> Self {
        let message = "Invalid API Key provided: the sandbox accepts only the secret key that it \
                       was started with.";
        Self { status: 401, ..Self::invalid(message, "") }
    }

    /// Too many calls.
    pub fn rate_limited() -> Self {
        let message = "Too many requests hit the API too quickly.";
        Self { status: 429, ..Self::coded("rate_limit", message, "") }
    }

    /// The call is refused by a fault.
    pub fn refused() -> Self {
        Self::invalid("The sandbox refuses this call (a fault is switched on).", "")
    }

    /// The key lacks a permission because of a fault.
    pub fn forbidden() -> Self {
        let message = "The key does not have the required permissions (a fault is switched on).";
        Self { status: 403, ..Self::invalid(message, "") }
    }

    /// Stripe fails because of a fault.
    pub fn internal() -> Self {
        let message = "An unknown error occurred in the sandbox (a fault is switched on).";
        Self { status: 500, kind: "api_error", ..Self::invalid(message, "") }
    }

    /// A proxy in front of Stripe fails because of a fault. The body is a page, no error object.
    pub fn page() -> Self {
        let message = "An error occurred before the sandbox (a fault is switched on).";
        Self { status: 500, kind: "page", ..Self::invalid(message, "") }
    }

    /// A payment was declined.
    pub fn declined() -> Self {
        let message = "Your card was declined.";
        Self { status: 402, kind: "card_error", ..Self::coded("card_declined", message, "") }
    }

    /// The idempotency key was used for a call with other parameters.
    pub fn key_of_another_call(key: &str) -> Self {
        let message = format!(
            "Keys for idempotent requests can only be used with the same parameters they were \
             first used with. Try using a key other than '{key}' if you meant to execute a \
             different request."
        );
        Self { kind: "idempotency_error", ..Self::invalid(message, "") }
    }

    /// The idempotency key is in use by another call.
    pub fn key_in_use(key: &str) -> Self {
        let message = format!(
            "There is currently another in-progress request using this Idempotent Key '{key}'."
        );
        let error = Self::coded("idempotency_key_in_use", message, "");
        Self { status: 409, kind: "idempotency_error", ..error }
    }

    /// Whether Stripe stores this response under the idempotency key. It does so only when the call
    /// had begun (docs: idempotent requests).
    pub fn is_stored(&self) -> bool {
        matches!(self.status, 402 | 500)
    }

    /// The response's body.
    pub fn body(&self) -> Value {
        if self.kind == "page" {
            return self.message.as_str().into();
        }
        let mut error = json!({ "message": self.message, "type": self.kind });
        if let Some(code) = self.code {
            error["code"] = code.into();
            error["doc_url"] = format!("https://docs.stripe.com/error-codes/{code}").into();
        }
        if let Some(param) = &self.param {
            error["param"] = param.as_str().into();
        }
        json!({ "error": error })
    }
}
