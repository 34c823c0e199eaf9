//! Sends requests to Stripe over HTTPS and reads the responses. async-stripe describes the
//! requests; its own client is not used. That client parses errors into a type that contains most
//! objects of Stripe's API, a third of the binary, and it reads a response of any size.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod};

use super::{API_VERSION, Answer, StripeFailure};
use crate::config::StripeConfig;
use crate::error::{Error, Result};

/// Where Stripe's API is.
const API_URL: &str = "https://api.stripe.com/";

/// The longest time for one response. Stripe's slowest calls take a few seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest response, in bytes. A page of a hundred invoices has a few million.
const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

/// Connections that are kept open between calls, and for how long. A sync makes several calls in a
/// row, and a new connection costs as much as a call. Stripe keeps idle connections for longer.
const MAX_IDLE_CONNECTIONS: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("licentia/", env!("CARGO_PKG_VERSION")));

/// Calls Stripe with the key of an account.
pub struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Ends with a slash; `v1/…` follows.
    api_url: String,
    authorization: HeaderValue,
}

impl Client {
    /// Returns a client for this configuration. Nothing is called yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the key is not valid in a header, or the URL is not one.
    pub fn new(config: &StripeConfig) -> Result<Self> {
        let unusable =
            || Error::setup("`stripe.secret_key` or `stripe.api_url` cannot be used; check both");
        let mut api_url = config.api_url.as_ref().map_or(API_URL, url::Url::as_str).to_owned();
        if !api_url.ends_with('/') {
            api_url.push('/');
        }
        api_url.parse::<Uri>().map_err(|_| unusable())?;
        let authorization = bearer(&config.secret_key).ok_or_else(unusable)?;
        // A double of Stripe may be reached without TLS.
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector.enable_http1().build());
        Ok(Self { http, api_url, authorization })
    }

    /// Returns Stripe's response, whatever its status.
    ///
    /// # Errors
    /// [`StripeFailure::Unreachable`] when no response arrives in time,
    /// [`StripeFailure::Unreadable`] when it is too large.
    pub async fn send(
        &self,
        request: RequestBuilder,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Answer<Response> {
        let path = request.path.clone();
        let request = self.http_request(request, idempotency_key)?;
        let response = async {
            let response = self.http.request(request).await.map_err(unreachable)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
            let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => {
                    let limit = MAX_RESPONSE_BYTES >> 20;
                    StripeFailure::Unreadable(format!("{path}: more than {limit} MiB"))
                }
                Err(other) => StripeFailure::Unreachable(other.to_string()),
            })?;
            Ok(Response::new(head.status.as_u16(), &head.headers, &body.to_bytes()))
        };
        tokio::time::timeout(CALL_TIMEOUT, response).await.unwrap_or_else(|_| {
            let seconds = CALL_TIMEOUT.as_secs();
            Err(StripeFailure::Unreachable(format!("no response within {seconds} seconds")))
        })
    }

    fn http_request(
        &self,
        request: RequestBuilder,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Answer<Request<Full<Bytes>>> {
        let RequestBuilder { query, body, path, method } = request;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut built = Request::builder()
            .method(match method {
                StripeMethod::Get => Method::GET,
                StripeMethod::Post => Method::POST,
                StripeMethod::Delete => Method::DELETE,
            })
            .uri(format!("{}v1{path}{query}", self.api_url))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(USER_AGENT, AGENT)
            .header("stripe-version", API_VERSION);
        if let Some(key) = idempotency_key {
            built = built.header("idempotency-key", key.as_str());
        }
        if body.is_some() {
            built = built.header(CONTENT_TYPE, FORM);
        }
        let built = built.body(Full::from(body.unwrap_or_default()));
        built.map_err(|error| StripeFailure::Unreadable(format!("{path}: {error}")))
    }
}

/// Returns the header of a key, which no `Debug` shows.
fn bearer(key: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("Bearer {}", key.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The failure of a request without a response: what failed, and each cause.
fn unreachable(error: legacy::Error) -> StripeFailure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    StripeFailure::Unreachable(text)
}

/// A response of Stripe's.
pub struct Response {
    pub status: u16,
    /// The JSON; `None` when it is something else, such as the error page of a proxy.
    pub body: Option<Value>,
    /// Identifies the call in Stripe's dashboard (<https://docs.stripe.com/api/request_ids>).
    pub request_id: Option<String>,
    /// The header `Stripe-Should-Retry` (<https://docs.stripe.com/error-low-level>).
    pub should_retry: Option<bool>,
}

/// An error as Stripe describes it (<https://docs.stripe.com/api/errors>). Its message is not read:
/// it repeats what was sent, such as an email address.
#[derive(Default, Deserialize)]
struct Problem {
    code: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    param: Option<String>,
}

#[derive(Deserialize)]
struct ProblemBody {
    error: Problem,
}

impl Response {
    fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            status,
            body: serde_json::from_slice(body).ok(),
            request_id: text("request-id").map(str::to_owned),
            should_retry: text("stripe-should-retry").and_then(|value| value.parse().ok()),
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns whether the same call may succeed in a moment: if Stripe says so, or else if the
    /// failure is temporary by its status, or the response is not one of Stripe's API.
    pub fn is_worth_a_retry(&self) -> bool {
        let passes = matches!(self.status, 409 | 424 | 429 | 500..) || self.body.is_none();
        match self.should_retry {
            Some(retry) => retry && !self.is_success(),
            None => passes,
        }
    }

    /// Returns the JSON of a success.
    ///
    /// # Errors
    /// What the error's status, code and parameter mean.
    pub fn into_object(self, path: &str) -> Answer<Value> {
        let is_success = self.is_success();
        let Self { status, body, request_id, .. } = self;
        let Some(body) = body else {
            let problem = format!("{path}: the response, with status {status}, is not JSON");
            return Err(StripeFailure::Unreadable(problem));
        };
        if is_success {
            return Ok(body);
        }
        let read: Option<ProblemBody> = serde_json::from_value(body).ok();
        let Problem { code, kind, param } = read.map(|body| body.error).unwrap_or_default();
        let mut problem = code.or(kind).unwrap_or_else(|| "api_error".to_owned());
        if let Some(param) = param {
            problem.push_str(&format!(" ({param})"));
        }
        if let Some(id) = request_id {
            problem.push_str(&format!(", request {id}"));
        }
        Err(match status {
            409 | 424 | 429 => StripeFailure::Unreachable(format!("{status}: {problem}")),
            500.. => StripeFailure::Broken(format!("{status}: {problem}")),
            _ => StripeFailure::Refused { status, problem },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::super::Stripe;
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{CreateCustomer, StripeMode};
    use crate::domain::ids::AttemptId;
    use crate::fail_point::{FailPoints, Place};

    const FOUND: &str = "HTTP/1.1 200 OK\r\n\r\n{\"id\": \"cus_1\"}";

    fn response(status: u16, should_retry: Option<bool>, body: &str) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("request-id", HeaderValue::from_static("req_1"));
        if let Some(retry) = should_retry {
            let retry = HeaderValue::from_static(if retry { "true" } else { "false" });
            headers.insert("stripe-should-retry", retry);
        }
        Response::new(status, &headers, body.as_bytes())
    }

    /// Gives these responses to one request after the other. Returns the requests.
    async fn serve(responses: Vec<String>) -> (Stripe, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = StripeConfig {
            secret_key: "sk_test_secret".into(),
            mode: StripeMode::Test,
            webhook_secrets: Vec::new(),
            api_url: Some(url.parse().unwrap()),
            create_customer: CreateCustomer::default(),
        };
        let serving = tokio::spawn(async move {
            let mut requests = Vec::new();
            for response in responses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
                }
                // A client that has read enough hangs up.
                let _ = stream.write_all(response.as_bytes()).await;
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        });
        (Stripe::new(&config, Arc::new(SystemClock)).unwrap(), serving)
    }

    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() == length.map_or(0, |length| length.parse().unwrap())
    }

    async fn create(stripe: &Stripe) -> Answer<String> {
        let form = vec![("name".to_owned(), "Ada & Co".to_owned())];
        let attempt = AttemptId::from_random(1);
        let points = FailPoints::default();
        let at = points.at(Place::LeaseTaken);
        let made: super::super::wire::Identified =
            stripe.post("/customers", form, Some(&attempt), at).await?;
        Ok(made.id)
    }

    #[test]
    fn the_status_code_and_parameter_decide_what_an_error_means() {
        let failure = |status, body: &str| {
            let failure = response(status, None, body).into_object("/v1/x").unwrap_err();
            failure.to_string()
        };
        let declined = r#"{"error": {"type": "card_error", "code": "card_declined",
            "param": "source", "message": "ada@example.com has no money", "payment_intent": {}}}"#;
        let own = [
            (402, "Stripe refused the call (402): card_declined (source), request req_1"),
            (409, "Stripe cannot be reached: 409: card_declined (source), request req_1"),
            (424, "Stripe cannot be reached: 424: card_declined (source), request req_1"),
            (429, "Stripe cannot be reached: 429: card_declined (source), request req_1"),
            (500, "Stripe failed: 500: card_declined (source), request req_1"),
            (503, "Stripe failed: 503: card_declined (source), request req_1"),
        ];
        for (status, text) in own {
            assert_eq!(failure(status, declined), text);
        }
        let bare = r#"{"error": {"type": "invalid_request_error", "code": null}}"#;
        let refused = "Stripe refused the call (404): invalid_request_error, request req_1";
        assert_eq!(failure(404, bare), refused);
        let unknown = "Stripe refused the call (400): api_error, request req_1";
        assert_eq!(failure(400, "{}"), unknown);
        for status in [200, 301, 404, 502] {
            let page = failure(status, "<h1>Bad gateway</h1>");
            let text = format!("/v1/x: the response, with status {status}, is not JSON");
            assert_eq!(page, format!("Stripe's response cannot be read: {text}"));
        }
    }

    #[test]
    fn a_call_is_repeated_if_stripe_says_so_or_else_if_the_failure_passes() {
        let json = r#"{"error": {}}"#;
        for status in [409, 424, 429, 500, 503] {
            assert!(response(status, None, json).is_worth_a_retry(), "{status}");
            assert!(!response(status, Some(false), json).is_worth_a_retry(), "{status}");
        }
        for status in [400, 401, 402, 404] {
            assert!(!response(status, None, json).is_worth_a_retry(), "{status}");
            assert!(response(status, Some(true), json).is_worth_a_retry(), "{status}");
        }
        assert!(!response(200, None, "{}").is_worth_a_retry());
        assert!(response(200, None, "a captive portal").is_worth_a_retry());
    }

    #[tokio::test]
    async fn every_try_sends_the_same_key_form_and_version() {
        let again = "HTTP/1.1 400 Bad Request\r\nstripe-should-retry: true\r\n\r\n{\"error\": {}}";
        let (stripe, serving) = serve(vec![again.to_owned(), FOUND.to_owned()]).await;
        assert_eq!(create(&stripe).await, Ok("cus_1".to_owned()));
        let requests = serving.await.unwrap();
        assert_eq!(requests[0], requests[1]);
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "name=Ada+%26+Co");
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("POST /v1/customers HTTP/1.1"));
        for line in [
            "authorization: Bearer sk_test_secret",
            "content-type: application/x-www-form-urlencoded",
            &format!("idempotency-key: {}", AttemptId::from_random(1).as_str()),
            &format!("stripe-version: {API_VERSION}"),
        ] {
            assert!(lines.clone().any(|found| found == line), "{line} is missing in {head}");
        }
    }

    #[tokio::test]
    async fn a_call_that_stripe_says_not_to_repeat_is_made_once() {
        let never = "HTTP/1.1 500 No\r\nstripe-should-retry: false\r\n\r\n{\"error\": {}}";
        let (stripe, serving) = serve(vec![never.to_owned()]).await;
        let failed = create(&stripe).await;
        assert_eq!(failed, Err(StripeFailure::Broken("500: api_error".to_owned())));
        assert_eq!(serving.await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_response_without_end_is_not_read_to_its_end() {
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(MAX_RESPONSE_BYTES + 1));
        let (stripe, serving) = serve(vec![endless]).await;
        let failed = create(&stripe).await;
        let problem = "/customers: more than 32 MiB".to_owned();
        assert_eq!(failed, Err(StripeFailure::Unreadable(problem)));
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_without_a_response_names_its_cause() {
        let (stripe, serving) = serve(Vec::new()).await;
        serving.await.unwrap();
        let failed = create(&stripe).await.unwrap_err().to_string();
        assert!(failed.contains("refused"), "{failed}");
    }

    #[test]
    fn the_key_is_not_shown() {
        let header = bearer(&"sk_test_secret".into()).unwrap();
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert!(bearer(&"sk_test_\n".into()).is_none());
    }

    #[test]
    fn the_version_is_that_of_async_stripe() {
        assert_eq!(stripe_client_core::VERSION.as_str(), API_VERSION);
    }
}
