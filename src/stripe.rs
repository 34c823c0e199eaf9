//! Stripe's API. No module outside of this one names async-stripe, which describes the requests
//! that `stripe/client.rs` sends. We use our own types for objects (`stripe/wire.rs`), because
//! async-stripe's parsers reject an object that lacks one field. The calls are in the other files
//! of the folder `stripe`. [`crate::flows`] decides when to call and what to do after a failure.

mod account;
mod change;
mod client;
mod double;
mod listing;
mod promotion;
mod purchases;
mod sale;
mod single_payments;
mod wire;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod};
use url::form_urlencoded;

use crate::clock::Clock;
use crate::config::{CreateCustomer, StripeConfig};
use crate::domain::ids::AttemptId;
use crate::error::Result;
use crate::fail_point::FailPoint;
use client::{Client, Response};
use wire::List;

pub use crate::domain::sale::stripe_failure::StripeFailure;
pub use account::{Endpoint, PaymentLink, Probe, RESOURCES, StripePrice, TaxSettings};
pub use change::{ChangeParameters, PreviewOf};
pub use double::{Call, Double};
pub use purchases::Needs;
pub use sale::{
    CustomerChanges, CustomerParameters, SessionMode, SessionParameters, StripeCustomer,
    Undelivered,
};

/// A call that took longer is not retried immediately, so that the caller need not wait longer.
const LONG_CALL: TimeDelta = TimeDelta::seconds(5);

/// The attempts of a call that fails quickly, and the first pause between them. Longer outages are
/// left to the worker's retries.
const MAX_ATTEMPTS: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The objects in one page: Stripe's maximum.
const PAGE: &str = "100";
const PAGE_SIZE: usize = 100;

/// The maximum number of objects in one list of a customer, newest first: more than 160 years of
/// monthly renewals. The limit keeps a sync short.
const MAX_OBJECTS: usize = 2000;

/// The maximum number of pages of any other list.
const MAX_PAGES: usize = 100;

/// The API version of async-stripe and of the types in `wire`.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The result of a call.
pub type Answer<T> = std::result::Result<T, StripeFailure>;

/// The Stripe account.
pub struct Stripe {
    transport: Transport,
    config: StripeConfig,
    clock: Arc<dyn Clock>,
}

enum Transport {
    Client(Box<Client>),
    Double(Double),
}

type Form = Vec<(String, String)>;

/// Returns one field of a form.
fn field(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

impl Stripe {
    /// Returns the account of a configuration. No call is made yet.
    ///
    /// # Errors
    /// [`crate::error::Error::Setup`] when the key or the URL cannot be used in a request.
    pub fn new(config: &StripeConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let transport = Transport::Client(Box::new(Client::new(config)?));
        Ok(Self { transport, config: config.clone(), clock })
    }

    /// Returns an account whose calls all go to a double.
    #[must_use]
    pub fn double(config: &StripeConfig, double: Double, clock: Arc<dyn Clock>) -> Self {
        Self { transport: Transport::Double(double), config: config.clone(), clock }
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &StripeConfig {
        &self.config
    }

    /// Returns whether the Stripe customer is created after sign-up, not at the first checkout.
    #[must_use]
    pub fn wants_customers_at_signup(&self) -> bool {
        self.config.create_customer == CreateCustomer::Signup
    }

    /// Returns all objects of a list.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        id: impl Fn(&T) -> &str,
    ) -> Answer<Vec<T>> {
        let mut all = Vec::new();
        let take = |page| {
            all.extend(page);
            ControlFlow::Continue(())
        };
        self.each(path, query, MAX_PAGES, id, take).await?;
        Ok(all)
    }

    /// Returns the newest objects of a list, at most [`MAX_OBJECTS`], and whether there are no
    /// others. No page follows the one for which `is_enough` returns true.
    async fn newest<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        id: impl Fn(&T) -> &str,
        mut is_enough: impl FnMut(&[T]) -> bool,
    ) -> Answer<(Vec<T>, bool)> {
        let (mut newest, mut is_complete) = (Vec::new(), true);
        let take = |page: Vec<T>| {
            is_complete = !is_enough(&page);
            newest.extend(page);
            if is_complete { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match self.each(path, query, MAX_OBJECTS / PAGE_SIZE, id, take).await {
            Ok(()) => Ok((newest, is_complete)),
            Err(StripeFailure::TooLong { .. }) => Ok((newest, false)),
            Err(error) => Err(error),
        }
    }

    /// Fetches the pages of a list, at most `most`, and passes each to `take`, until that breaks.
    async fn each<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        most: usize,
        id: impl Fn(&T) -> &str,
        mut take: impl FnMut(Vec<T>) -> ControlFlow<()>,
    ) -> Answer<()> {
        let mut after = None;
        for _ in 0..most {
            let mut query = query.clone();
            query.push(field("limit", PAGE));
            query.extend(after.take());
            let page: List<T> = self.get(path, query).await?;
            after = page.data.last().map(|last| field("starting_after", id(last)));
            if take(page.data).is_break() || !page.has_more || after.is_none() {
                return Ok(());
            }
        }
        Err(StripeFailure::TooLong { path: path.to_owned(), most })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Form) -> Answer<T> {
        read(path, self.call(StripeMethod::Get, path, &query, None).await?)
    }

    /// Returns the object at a path, or `None` if Stripe has none.
    async fn known<T: DeserializeOwned>(&self, path: &str, query: Form) -> Answer<Option<T>> {
        match self.get(path, query).await {
            Ok(object) => Ok(Some(object)),
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
        let response = self.call(StripeMethod::Post, path, &form, attempt).await?;
        at.reach();
        read(path, response)
    }

    async fn delete<T: DeserializeOwned>(&self, path: &str, at: FailPoint<'_>) -> Answer<T> {
        let response = self.call(StripeMethod::Delete, path, &[], None).await?;
        at.reach();
        read(path, response)
    }

    /// Makes a call, and retries it if it fails quickly. A call without an idempotency key is safe
    /// to repeat: it sets a state, or creates something temporary (a portal session). Returns the
    /// object in the response.
    async fn call(
        &self,
        method: StripeMethod,
        path: &str,
        form: &[(String, String)],
        attempt: Option<&AttemptId>,
    ) -> Answer<Value> {
        let mut pause = RETRY_PAUSE;
        let mut attempts = 1;
        loop {
            let began = self.clock.now();
            let response = self.send(method, path, form, attempt).await;
            let may_pass = match &response {
                Ok(response) => response.is_worth_a_retry(),
                Err(failure) => matches!(failure, StripeFailure::Unreachable(_)),
            };
            // Measured by the wall clock: if the machine was suspended for a day, Stripe may have
            // deleted the idempotency key.
            let was_long = self.clock.now() > began + LONG_CALL;
            if !may_pass || was_long || attempts == MAX_ATTEMPTS {
                return response?.into_object(path);
            }
            self.clock.sleep(pause).await;
            pause *= 2;
            attempts += 1;
        }
    }

    /// Sends a request. Boxed, because the future of an HTTP request is large.
    fn send<'a>(
        &'a self,
        method: StripeMethod,
        path: &'a str,
        form: &'a [(String, String)],
        attempt: Option<&AttemptId>,
    ) -> BoxFuture<'a, Answer<Response>> {
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        match &self.transport {
            Transport::Client(client) => {
                let key = attempt.map(|attempt| IdempotencyKey::new(attempt.as_str())).transpose();
                let request = RequestBuilder::new(method, path);
                let request = match method {
                    StripeMethod::Get if encoded.is_empty() => request,
                    StripeMethod::Get => RequestBuilder { query: Some(encoded), ..request },
                    _ => RequestBuilder { body: Some(encoded), ..request },
                };
                async move {
                    let key = key.map_err(|error| StripeFailure::Unreadable(error.to_string()))?;
                    client.send(request, key.as_ref()).await
                }
                .boxed()
            }
            Transport::Double(double) => {
                double::send(double, Call::new(method, path, encoded, attempt)).boxed()
            }
        }
    }
}

/// Reads an object.
fn read<T: DeserializeOwned>(path: &str, object: Value) -> Answer<T> {
    serde_json::from_value(object).map_err(|error| unreadable(path, &error))
}

/// Returns the failure for a response with an unexpected shape. serde's message quotes the
/// unexpected value, which may be an email address. Only the name of a missing field is safe
/// (SECURITY 40).
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
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn stripe_27_the_order_in_which_payments_are_listed_does_not_change_the_orders_payment() {
        let paid = |id: &str, amount: i64| {
            serde_json::json!({
                "status": "paid", "created": 1, "amount_paid": amount,
                "payment": { "payment_intent": id },
            })
        };
        let elsewhere = serde_json::json!({
            "status": "paid", "created": 2, "amount_paid": 3000, "payment": { "type": "payment_record" },
        });
        let payment_of = |status: &str, payments: &[&serde_json::Value]| {
            let found = serde_json::json!({
                "id": "in_1", "status": status, "payments": { "data": payments },
            });
            let invoice: wire::WireInvoice = serde_json::from_value(found).unwrap();
            invoice.into_domain(&BTreeMap::new(), 0, &[]).unwrap().payment_intent.unwrap()
        };
        let (one, other, less) = (paid("pi_1", 950), paid("pi_2", 950), paid("pi_3", 100));
        let default = serde_json::json!({
            "status": "open", "created": 1, "is_default": true, "payment": { "payment_intent": "pi_0" },
        });
        for (status, expected) in [("paid", "pi_2"), ("open", "pi_0")] {
            let listed = payment_of(status, &[&one, &other, &less, &default, &elsewhere]);
            assert_eq!(listed.as_str(), expected, "{status}");
            let reversed = payment_of(status, &[&elsewhere, &default, &less, &other, &one]);
            assert_eq!(reversed, listed, "{status}");
        }
    }

    #[test]
    fn security_40_an_answer_that_cannot_be_read_is_not_quoted() {
        let failure = |json: &str| {
            let error = serde_json::from_str::<List<String>>(json).unwrap_err();
            unreadable("/v1/customers", &error).to_string()
        };
        let quoting = failure(r#"{"data": [], "has_more": "ada@example.com"}"#);
        let unexpected = "Stripe's response cannot be read: /v1/customers: unexpected JSON";
        assert_eq!(quoting, unexpected);
        let missing = failure(r#"{"has_more": false}"#);
        assert!(missing.contains("/v1/customers: missing field `data`"), "{missing}");
    }
}
