//! A small HTTP client for the demo. It calls Licentia and the sandbox's pages on loopback, as an
//! app or a browser would, without TLS and without following redirects.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::form_urlencoded;

use super::proof::{Proven, Unproven, hold, in_time};

/// The largest response that is read, in bytes: a page of the sandbox has tens of thousands.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// An HTTP client.
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Default for Client {
    fn default() -> Self {
        Self { http: legacy::Client::builder(TokioExecutor::new()).build_http() }
    }
}

/// A request body.
pub enum Body<'a> {
    Nothing,
    Json(Value),
    Form(&'a [(&'a str, &'a str)]),
}

/// A response.
pub struct Response {
    call: String,
    pub status: StatusCode,
    pub location: Option<String>,
    pub text: String,
}

impl Client {
    pub async fn get(&self, url: &str, bearer: Option<&str>) -> Proven<Response> {
        self.send(Method::GET, url, bearer, Body::Nothing).await
    }

    pub async fn post(&self, url: &str, bearer: Option<&str>, body: Body<'_>) -> Proven<Response> {
        self.send(Method::POST, url, bearer, body).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&str>,
        body: Body<'_>,
    ) -> Proven<Response> {
        let call = format!("{method} {url}");
        let lost = |problem: &dyn std::fmt::Display| {
            Unproven::new(format!("a response to {call}"), problem.to_string())
        };
        let mut request = Request::builder().method(method).uri(url);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let (content_type, body) = match body {
            Body::Nothing => (None, String::new()),
            Body::Json(value) => (Some("application/json"), value.to_string()),
            Body::Form(fields) => {
                let form =
                    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                (Some("application/x-www-form-urlencoded"), form)
            }
        };
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::from(body)).map_err(|error| lost(&error))?;
        let expected = format!("a response to {call}");
        let response = in_time(&expected, self.http.request(request)).await?;
        let (head, body) = response.map_err(|error| lost(&error))?.into_parts();
        let read = in_time(&expected, Limited::new(body, MAX_RESPONSE_BYTES).collect()).await?;
        let bytes = read.map_err(|error| lost(&error))?.to_bytes();
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        Ok(Response {
            location: location.map(str::to_owned),
            status: head.status,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            call,
        })
    }
}

impl Response {
    /// Returns the body as JSON if the status is this one.
    pub fn json(&self, status: StatusCode) -> Proven<Value> {
        self.has_status(status)?;
        serde_json::from_str(&self.text)
            .map_err(|_| Unproven::new(format!("JSON from {}", self.call), self.text.clone()))
    }

    /// Fails unless the status is this one.
    pub fn has_status(&self, status: StatusCode) -> Proven<()> {
        let expected = format!("{} to return {status}", self.call);
        hold(self.status == status, expected, format_args!("{} {}", self.status, self.text))
    }
}
