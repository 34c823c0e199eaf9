//! Stripe's API, as far as we use it: the only file that names async-stripe, whose client we use with
//! shapes of our own (`stripe/wire.rs`), since its typed parsers reject an object that lacks one field.
//! The calls themselves are in `stripe/sale.rs` and `stripe/account.rs`.
//! What a call is for, and what happens when it fails, is decided by [`crate::flows`].

mod account;
mod double;
mod listing;
mod sale;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use stripe::{ClientBuilder, IdempotencyKey, RequestStrategy, StripeError};
use stripe_client_core::{RequestBuilder, StripeMethod};
use url::form_urlencoded;

use crate::clock::Clock;
use crate::config::{CreateCustomer, StripeConfig};
use crate::domain::ids::AttemptId;
use crate::error::{Error, Result};
use crate::fail_point::FailPoint;
use wire::List;

pub use crate::domain::stripe_failure::StripeFailure;
pub use account::{Endpoint, StripePrice};
pub use double::{Call, Double};
pub use sale::{CustomerParameters, SessionParameters, StripeCustomer, Undelivered};

/// How long Stripe has for one answer, all of it: its slowest calls take a few seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What took longer, in seconds, is not called again at once: whoever waits would wait too long.
const LONG_CALL_SECONDS: i64 = 5;

/// How often a call is tried that failed at once, and how long apart at first. What takes longer to
/// pass is tried again by the worker.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Objects in one page, the most that Stripe gives.
const PAGE: &str = "100";
const PAGE_SIZE: usize = 100;

/// The most invoices, payments and subscriptions of one customer that a sync fetches, the newest first:
/// more than 160 years of monthly renewals. Older ones were settled by earlier syncs, and a customer
/// with more must not hold up a sync.
const MAX_OBJECTS: usize = 2000;

/// The most pages of any other list.
const MAX_PAGES: usize = 100;

/// The version that async-stripe is made for, and whose shapes `wire` has.
pub const API_VERSION: &str = "2026-09-30.endive";

/// What calls answer.
pub type Answer<T> = std::result::Result<T, StripeFailure>;

/// The account at Stripe.
pub struct Stripe {
    line: Line,
    config: StripeConfig,
    clock: Arc<dyn Clock>,
}

enum Line {
    Client(Box<stripe::Client>),
    Double(Double),
}

type Form = Vec<(String, String)>;

/// One field of a form.
fn field(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

impl Stripe {
    /// The account of this configuration. Nothing is called yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the key cannot stand in a header.
    pub fn new(config: &StripeConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut builder = ClientBuilder::new(config.secret_key.expose_secret())
            .request_strategy(RequestStrategy::Once)
            .timeout(CALL_TIMEOUT)
            .app_info("licentia", Some(env!("CARGO_PKG_VERSION").to_owned()), None);
        if let Some(url) = &config.api_url {
            let url = url.as_str();
            // The client appends `v1/…` as it is.
            builder =
                builder.url(if url.ends_with('/') { url.to_owned() } else { format!("{url}/") });
        }
        let client = builder.build().map_err(|_| {
            Error::setup("`stripe.secret_key` or `stripe.api_url` cannot be used; check both")
        })?;
        Ok(Self { line: Line::Client(Box::new(client)), config: config.clone(), clock })
    }

    /// Hands every call to a double.
    #[must_use]
    pub fn double(config: &StripeConfig, double: Double, clock: Arc<dyn Clock>) -> Self {
        Self { line: Line::Double(double), config: config.clone(), clock }
    }

    /// How it is configured.
    #[must_use]
    pub fn config(&self) -> &StripeConfig {
        &self.config
    }

    /// Whether a customer gets a counterpart soon after signing up.
    #[must_use]
    pub fn wants_customers_at_signup(&self) -> bool {
        self.config.create_customer == CreateCustomer::Signup
    }

    /// Every object of a list, page by page.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        id: impl Fn(&T) -> &str,
    ) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        self.each(path, query, MAX_PAGES, id, |page| all.extend(page)).await?;
        Ok(all)
    }

    /// Returns the newest objects of a list, at most [`MAX_OBJECTS`], and whether these are all.
    async fn newest<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        id: impl Fn(&T) -> &str,
    ) -> Answer<(Vec<T>, bool)> {
        let mut newest = Vec::new();
        let listed =
            self.each(path, query, MAX_OBJECTS / PAGE_SIZE, id, |page| newest.extend(page));
        match listed.await {
            Ok(()) => Ok((newest, true)),
            Err(StripeFailure::TooLong { .. }) => Ok((newest, false)),
            Err(error) => Err(error),
        }
    }

    /// Every page of a list, one after the other, `most` at the most.
    async fn each<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        most: usize,
        id: impl Fn(&T) -> &str,
        mut take: impl FnMut(Vec<T>),
    ) -> Answer<()> {
        let mut after = None;
        for _ in 0..most {
            let mut query = query.clone();
            query.push(field("limit", PAGE));
            query.extend(after.take());
            let page: List<T> = self.get(path, query).await?;
            after = page.data.last().map(|last| field("starting_after", id(last)));
            take(page.data);
            if !page.has_more || after.is_none() {
                return Ok(());
            }
        }
        Err(StripeFailure::TooLong { path: path.to_owned(), most })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Form) -> Answer<T> {
        self.call(StripeMethod::Get, path, &query, None).await
    }

    /// What is at a path; nothing, if Stripe does not know it.
    async fn known<T: DeserializeOwned>(&self, path: &str, query: Form) -> Answer<Option<T>> {
        match self.get(path, query).await {
            Ok(found) => Ok(Some(found)),
            Err(StripeFailure::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form,
        attempt: Option<&AttemptId>,
        at: FailPoint<'_>,
    ) -> Answer<T> {
        let written = self.call(StripeMethod::Post, path, &form, attempt).await?;
        at.reach();
        Ok(written)
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str, at: FailPoint<'_>) -> Answer<T> {
        let written = self.call(StripeMethod::Delete, path, &[], None).await?;
        at.reach();
        Ok(written)
    }

    /// Calls, and calls again what failed at once. What has no idempotency key can be repeated
    /// anyway: it says how something is to be, or makes what nobody keeps (a portal session).
    async fn call<T: DeserializeOwned>(
        &self,
        method: StripeMethod,
        path: &str,
        form: &[(String, String)],
        attempt: Option<&AttemptId>,
    ) -> Answer<T> {
        let mut pause = BETWEEN_TRIES;
        for _ in 1..TRIES {
            let began = self.clock.now();
            let answer = self.call_once(method, path, form, attempt).await;
            let settled = matches!(answer, Ok(_) | Err(StripeFailure::Refused { .. }));
            // By the clock: after a machine slept for a day, Stripe may have forgotten the key.
            if settled || self.clock.now() > began.plus(LONG_CALL_SECONDS) {
                return answer;
            }
            self.clock.sleep(pause).await;
            pause *= 2;
        }
        self.call_once(method, path, form, attempt).await
    }

    async fn call_once<T: DeserializeOwned>(
        &self,
        method: StripeMethod,
        path: &str,
        form: &[(String, String)],
        attempt: Option<&AttemptId>,
    ) -> Answer<T> {
        let client = match &self.line {
            Line::Client(client) => client.as_ref(),
            Line::Double(line) => {
                return double::call(line, Call::new(method, path, form, attempt)).await;
            }
        };
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let in_query = matches!(method, StripeMethod::Get);
        let encoded = Some(encoded).filter(|text| !text.is_empty() || !in_query);
        let (query, body) = if in_query { (encoded, None) } else { (None, encoded) };
        let request = RequestBuilder { query, body, path: path.to_owned(), method };
        let mut request = request.customize::<miniserde::json::Value>();
        if let Some(attempt) = attempt {
            let key = IdempotencyKey::new(attempt.as_str());
            let key = key.map_err(|error| StripeFailure::Unreadable(error.to_string()))?;
            request = request.request_strategy(RequestStrategy::Idempotent(key));
        }
        // Boxed, so that the compiler looks at the client's large types once, here.
        let sent = async { request.send(client).await.map_err(failure) };
        let answer = sent.boxed().await?;
        // The client reads JSON by its own library only.
        let text = miniserde::json::to_string(&answer);
        serde_json::from_str(&text).map_err(|error| unreadable(path, &error))
    }
}

fn failure(error: StripeError) -> StripeFailure {
    match error {
        StripeError::Stripe(said, status) => {
            let code = said.code.as_ref().map_or(said.type_.as_str(), |code| code.as_str());
            refused(status, code, said.param.as_deref())
        }
        // An error page, of Stripe's or of a proxy in between.
        StripeError::JSONDeserialize(problem) => StripeFailure::Unreadable(problem),
        // A connection that ended early.
        other => StripeFailure::Unreachable(other.to_string()),
    }
}

/// What an error of Stripe's means, by its status, code and parameter.
fn refused(status: u16, code: &str, param: Option<&str>) -> StripeFailure {
    let of = param.map(|param| format!(" ({param})")).unwrap_or_default();
    let problem = format!("{code}{of}");
    match status {
        409 | 424 | 429 => StripeFailure::Unreachable(format!("{status}: {problem}")),
        500.. => StripeFailure::Broken(format!("{status}: {problem}")),
        _ => StripeFailure::Refused { status, problem },
    }
}

/// The failure of an answer with another shape. serde's text quotes the value that does not fit,
/// which may be an address; only the name of a missing field is one of ours (SECURITY 40).
fn unreadable(path: &str, error: &serde_json::Error) -> StripeFailure {
    let text = error.to_string();
    let problem = if text.starts_with("missing field") { &*text } else { "unexpected JSON" };
    StripeFailure::Unreadable(format!("{path}: {problem}"))
}

fn read_id<T: std::str::FromStr<Err: std::fmt::Display>>(id: &str) -> Answer<T> {
    id.parse().map_err(|error: T::Err| StripeFailure::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_40_an_answer_that_cannot_be_read_is_not_quoted() {
        let failure = |json: &str| {
            let error = serde_json::from_str::<List<String>>(json).unwrap_err();
            unreadable("/v1/customers", &error).to_string()
        };
        let quoting = failure(r#"{"data": [], "has_more": "ada@example.com"}"#);
        assert_eq!(quoting, "Stripe's answer cannot be read: /v1/customers: unexpected JSON");
        let missing = failure(r#"{"has_more": false}"#);
        assert!(missing.contains("/v1/customers: missing field `data`"), "{missing}");
    }
}
