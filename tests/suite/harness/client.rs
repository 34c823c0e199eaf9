//! A client that checks every response against the API description: the status is documented for
//! the operation, and an error is a problem with a stable code. The service is in `mod.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use licentia::http::{WEBHOOK_PATH, openapi};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// Sends requests to a service, possibly with a token.
#[derive(Clone, Debug)]
pub struct Client {
    pub base: String,
    http: reqwest::Client,
    token: Option<String>,
    forwarded_for: Option<String>,
    idempotency_key: Option<String>,
    calls: Arc<AtomicUsize>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Client {
    pub fn new(base: String) -> Self {
        // Shorter than the ten seconds after which the server closes an idle connection. Otherwise
        // a request could be sent on a connection that is being closed.
        let http = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(5));
        let calls = Arc::default();
        Self {
            base,
            http: http.build().unwrap(),
            token: None,
            forwarded_for: None,
            idempotency_key: None,
            calls,
        }
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), calls: Arc::default(), ..self.clone() }
    }

    /// Returns a client with this address, for a service that trusts proxies on 127.0.0.1.
    pub fn at_address(&self, address: &str) -> Self {
        Self { forwarded_for: Some(address.to_owned()), ..self.clone() }
    }

    /// Returns this client at the server of another one.
    pub fn at_server(&self, other: &Self) -> Self {
        Self { base: other.base.clone(), ..self.clone() }
    }

    /// Returns a client that sends this `Idempotency-Key`.
    pub fn with_key(&self, key: &str) -> Self {
        Self { idempotency_key: Some(key.to_owned()), ..self.clone() }
    }

    /// Returns how many requests this client and its clones sent since the token was set.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(address) = &self.forwarded_for {
            request = request.header("x-forwarded-for", address);
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        finish(method, path, request).await.unwrap()
    }

    /// Gets a response of this media type.
    pub async fn get_as(&self, accept: &str, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(self.token());
        finish(Method::GET, path, request.header(ACCEPT, accept)).await.unwrap()
    }

    /// Returns the value of a metric with its labels, as in `licentia_mails_total{result="sent"}`,
    /// or `None` if it is absent.
    pub async fn metric(&self, name: &str) -> Option<i64> {
        let text = self.get("/metrics").await.text;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// Sends a raw body with this content type.
    pub async fn post_raw(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<String>,
    ) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base));
        let request = request.header(CONTENT_TYPE, content_type).body(body.into());
        finish(Method::POST, path, request).await.unwrap()
    }

    /// Delivers an event as Stripe does, signed or not.
    pub async fn deliver(&self, event: &str, signature: Option<&str>) -> Answer {
        self.try_deliver(event, signature).await.unwrap()
    }

    /// Delivers an event to a server that may have died.
    pub async fn try_deliver(
        &self,
        event: &str,
        signature: Option<&str>,
    ) -> reqwest::Result<Answer> {
        let request = self.http.post(format!("{}{WEBHOOK_PATH}", self.base));
        let mut request = request.header(CONTENT_TYPE, "application/json").body(event.to_owned());
        if let Some(signature) = signature {
            request = request.header("stripe-signature", signature);
        }
        finish(Method::POST, WEBHOOK_PATH, request).await
    }
}

async fn finish(method: Method, path: &str, request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = Answer { status, headers, text, body };
    answer.must_keep_the_promises(method.as_str(), path);
    Ok(answer)
}

impl Answer {
    /// Returns the text at a JSON pointer of the body, such as `/license/token`.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer} in {}", self.text))
    }

    /// Returns the problem's status and code.
    #[track_caller]
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.text("/code"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn must_keep_the_promises(&self, method: &str, path: &str) {
        let shown = format!("{method} {path}: {} {}", self.status, self.text);
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{shown}");
        assert!(!self.header("content-security-policy").is_empty(), "{shown}");
        assert_eq!(self.header("x-request-id").len(), 32, "{shown}");
        if self.status >= 400 {
            assert_eq!(self.header("content-type"), "application/problem+json", "{shown}");
            assert_eq!(self.body["status"], self.status, "{shown}");
            // A kept response has the id of the first request.
            let is_own = self.body["request_id"] == self.header("x-request-id");
            assert!(is_own || self.header("idempotent-replayed") == "true", "{shown}");
            assert!(!self.text("/code").is_empty() && !self.text("/detail").is_empty(), "{shown}");
        }
        if let Some(documented) = documented(method, path) {
            let response = documented.get(self.status.to_string());
            let response =
                response.unwrap_or_else(|| panic!("this status is not documented: {shown}"));
            if self.status >= 400 {
                let said = response["description"].as_str().unwrap();
                let code = format!("`{}`", self.text("/code"));
                assert!(said.contains(&code), "the code {code} is not documented: {shown}\n{said}");
            }
        }
    }
}

/// Returns the documented responses of an operation.
fn documented(method: &str, path: &str) -> Option<&'static Value> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let document = DOCUMENT.get_or_init(openapi::document);
    let path = path.split('?').next().unwrap();
    let matches = |template: &str| openapi::matches_template(template, path);
    let (_, item) =
        document["paths"].as_object()?.iter().find(|(template, _)| matches(template))?;
    item.get(method.to_lowercase())?.get("responses")
}
