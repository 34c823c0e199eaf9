//! Stripe's API, as far as we use it: the only file that names async-stripe, whose client we use with
//! shapes of our own (`stripe/wire.rs`), since its typed parsers reject an object that lacks one field.
//! What a call is for, and what happens when it fails, is decided by [`crate::flows`].

mod wire;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stripe::{ClientBuilder, IdempotencyKey, RequestStrategy, StripeError};
use stripe_client_core::{RequestBuilder, StripeMethod};
use url::form_urlencoded;

use crate::config::{CreateCustomer, StripeConfig};
use crate::domain::ids::{AttemptId, CustomerId};
use crate::domain::invoice::Payment;
use crate::domain::stripe_ids::{
    CheckoutSessionId, InvoiceId, PaymentIntentId, StripeCustomerId, StripeSubscriptionId,
};
use crate::domain::subscription::Seen;
use crate::domain::webhook::EVENT_TYPES;
use crate::error::{Error, Result};
use wire::{
    Identified, Link, List, WireCustomer, WireEndpoint, WireInvoice, WireItem, WirePaymentIntent,
    WirePortal, WirePrice, WireSession, WireSubscription,
};

/// How long Stripe has for one answer, all of it: its slowest calls take a few seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a call is tried that failed at once, and how long apart at first. What takes longer to
/// pass is tried again by the worker.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Objects in one page, the most that Stripe gives.
const PAGE: &str = "100";

/// Pages that are read of one list: ten thousand invoices of one customer are a mistake.
const MAX_PAGES: usize = 100;

/// The version that async-stripe is made for, and whose shapes `wire` has.
pub const API_VERSION: &str = "2026-09-30.endive";

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeFailure {
    /// No answer, or one that says to come back later. It may have taken effect.
    #[error("Stripe cannot be reached: {0}")]
    Unreachable(String),
    /// A 5xx, which Stripe may keep under the call's idempotency key and repeat for ever.
    #[error("Stripe failed: {0}")]
    Broken(String),
    /// A 4xx: the call is wrong, or the account is set up otherwise.
    #[error("Stripe refused ({status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What Stripe said; it names no secret.
        message: String,
    },
    /// An answer of another shape than Stripe's.
    #[error("Stripe's answer cannot be read: {0}")]
    Unreadable(String),
}

/// What calls answer.
pub type Answer<T> = std::result::Result<T, StripeFailure>;

/// How a customer is made at Stripe; kept as it is until the answer has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerParameters {
    /// Ours, for the metadata.
    pub customer_id: String,
    /// The address.
    pub email: String,
    /// The person's name, or the company's.
    pub name: Option<String>,
}

/// How a checkout session is made; kept as it is until the answer has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionParameters {
    /// Ours, for the metadata.
    pub customer_id: String,
    /// Who pays.
    pub stripe_customer_id: String,
    /// The plan's id, for the metadata.
    pub plan: String,
    /// What is sold.
    pub price: String,
    /// Where the customer goes afterwards.
    pub success_url: String,
    /// Where the customer goes instead.
    pub cancel_url: String,
}

/// Where a checkout session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStatus {
    /// It can be paid.
    Open,
    /// It was completed; the money may still be on its way.
    Complete,
    /// It was closed without.
    Expired,
}

/// A checkout session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: CheckoutSessionId,
    /// The page, while it is open.
    pub url: Option<String>,
    /// Where it stands.
    pub status: SessionStatus,
    /// The first invoice of what it sold.
    pub invoice: Option<InvoiceId>,
    /// The attempt that made it.
    attempt_id: Option<String>,
}

/// What Stripe says about a customer's own record.
#[derive(Clone, Debug, Default)]
pub struct StripeCustomer {
    /// Whether it was deleted.
    pub deleted: bool,
    /// The card, or the like, that pays invoices.
    pub default_payment_method: Option<String>,
}

/// A price, as it is at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripePrice {
    /// Whether it can still be sold.
    pub active: bool,
    /// In the currency's smallest unit; none if it depends on the quantity.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// `month`, `year`…; none if it is charged once, or every few of them.
    pub interval: Option<String>,
}

/// A webhook endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Its secret; Stripe shows it only when the endpoint is made.
    pub secret: Option<String>,
}

/// The account at Stripe.
pub struct Stripe {
    client: stripe::Client,
    config: StripeConfig,
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
    pub fn new(config: &StripeConfig) -> Result<Self> {
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
        Ok(Self { client, config: config.clone() })
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

    /// Makes a customer. The same attempt makes the same one.
    pub async fn create_customer(
        &self,
        attempt: &AttemptId,
        parameters: &CustomerParameters,
    ) -> Answer<StripeCustomerId> {
        let mut form = vec![
            field("email", &parameters.email),
            field("metadata[customer_id]", &parameters.customer_id),
        ];
        form.extend(parameters.name.as_ref().map(|name| field("name", name)));
        let made: Identified = self.post("/customers", form, Some(attempt)).await?;
        read_id(&made.id)
    }

    /// The customer whose metadata names one of ours, among those with this address: the list, unlike
    /// Stripe's search, knows at once what was made.
    pub async fn find_customer(
        &self,
        email: &str,
        customer_id: &CustomerId,
    ) -> Answer<Option<StripeCustomerId>> {
        let query = vec![field("email", email)];
        let found: Vec<WireCustomer> =
            self.all("/customers", query, |customer: &WireCustomer| &customer.id).await?;
        let ours = |customer: &&WireCustomer| {
            let named = customer.metadata.get("customer_id");
            !customer.deleted && named.is_some_and(|named| named == customer_id.as_str())
        };
        found.iter().find(ours).map(|customer| read_id(&customer.id)).transpose()
    }

    /// Tells of a changed name or address.
    pub async fn update_customer(
        &self,
        id: &StripeCustomerId,
        email: &str,
        name: Option<&str>,
    ) -> Answer<()> {
        // An empty value empties the field.
        let form = vec![field("email", email), field("name", name.unwrap_or_default())];
        self.post::<Identified>(&format!("/customers/{id}"), form, None).await.map(drop)
    }

    /// A customer's own record.
    pub async fn customer(&self, id: &StripeCustomerId) -> Answer<StripeCustomer> {
        let found: WireCustomer = self.get(&format!("/customers/{id}"), Vec::new()).await?;
        let settings = found.invoice_settings;
        let method = settings.and_then(|settings| settings.default_payment_method);
        let default_payment_method = method.map(|method| method.id().to_owned());
        Ok(StripeCustomer { deleted: found.deleted, default_payment_method })
    }

    /// Everything that Stripe says about what a customer bought. Read anew each time, as a whole.
    pub async fn purchases(&self, id: &StripeCustomerId) -> Answer<Seen> {
        let of_customer = |more: &[(&str, &str)]| {
            let mut query = vec![field("customer", id.as_str())];
            query.extend(more.iter().map(|(name, value)| field(*name, *value)));
            query
        };
        let (subscriptions, invoices, payments) = futures_util::try_join!(
            self.all(
                "/subscriptions",
                of_customer(&[("status", "all")]),
                |found: &WireSubscription| &found.id
            ),
            self.all(
                "/invoices",
                of_customer(&[("expand[]", "data.payments")]),
                |found: &WireInvoice| &found.id
            ),
            self.payments(of_customer(&[("expand[]", "data.latest_charge")])),
        )?;
        let mut seen = Seen::default();
        for mut subscription in subscriptions {
            if subscription.items.as_ref().is_some_and(|items| items.has_more) {
                let query = vec![field("subscription", &subscription.id)];
                let data =
                    self.all("/subscription_items", query, |item: &WireItem| &item.id).await?;
                subscription.items = Some(List { data, has_more: false });
            }
            seen.subscriptions.extend(subscription.into_domain());
        }
        seen.invoices =
            invoices.into_iter().filter_map(|found| found.into_domain(&payments)).collect();
        Ok(seen)
    }

    /// What became of a customer's payments.
    async fn payments(&self, query: Form) -> Answer<HashMap<PaymentIntentId, Payment>> {
        let found =
            self.all("/payment_intents", query, |found: &WirePaymentIntent| &found.id).await;
        let found = match found {
            // They only add to what the invoices say.
            Err(StripeFailure::Refused { status: 404, .. }) => Vec::new(),
            found => found?,
        };
        Ok(found.into_iter().filter_map(WirePaymentIntent::into_domain).collect())
    }

    /// Opens a checkout session for a subscription. The same attempt opens the same one.
    pub async fn create_session(
        &self,
        attempt: &AttemptId,
        parameters: &SessionParameters,
    ) -> Answer<Session> {
        let mut form = vec![
            field("mode", "subscription"),
            field("customer", &parameters.stripe_customer_id),
            field("client_reference_id", &parameters.customer_id),
            field("line_items[0][price]", &parameters.price),
            field("line_items[0][quantity]", "1"),
            field("success_url", &parameters.success_url),
            field("cancel_url", &parameters.cancel_url),
        ];
        for place in ["metadata", "subscription_data[metadata]"] {
            form.push(field(format!("{place}[customer_id]"), &parameters.customer_id));
            form.push(field(format!("{place}[plan]"), &parameters.plan));
            form.push(field(format!("{place}[attempt_id]"), attempt.as_str()));
        }
        read_session(self.post("/checkout/sessions", form, Some(attempt)).await?)
    }

    /// A checkout session.
    pub async fn session(&self, id: &CheckoutSessionId) -> Answer<Session> {
        read_session(self.get(&format!("/checkout/sessions/{id}"), Vec::new()).await?)
    }

    /// The checkout session that an attempt made, if it made one.
    pub async fn find_session(
        &self,
        customer: &str,
        attempt: &AttemptId,
    ) -> Answer<Option<Session>> {
        let query = vec![field("customer", customer)];
        let found = self.all("/checkout/sessions", query, |found: &WireSession| &found.id).await?;
        let sessions = found.into_iter().map(read_session).collect::<Answer<Vec<_>>>()?;
        let made = |session: &Session| session.attempt_id.as_deref() == Some(attempt.as_str());
        Ok(sessions.into_iter().find(made))
    }

    /// Closes a checkout session, so that nobody can pay it any more.
    pub async fn expire_session(&self, id: &CheckoutSessionId) -> Answer<Session> {
        let path = format!("/checkout/sessions/{id}/expire");
        read_session(self.post(&path, Vec::new(), None).await?)
    }

    /// The address of a page where the customer manages the subscription.
    pub async fn portal(&self, id: &StripeCustomerId, return_url: &str) -> Answer<String> {
        let form = vec![field("customer", id.as_str()), field("return_url", return_url)];
        let made: WirePortal = self.post("/billing_portal/sessions", form, None).await?;
        Ok(made.url)
    }

    /// Ends a subscription at once.
    pub async fn cancel_subscription(&self, id: &StripeSubscriptionId) -> Answer<()> {
        let path = format!("/subscriptions/{id}");
        self.call::<Identified>(StripeMethod::Delete, &path, &[], None).await.map(drop)
    }

    /// A price; none if the account has none with this id.
    pub async fn price(&self, id: &str) -> Answer<Option<StripePrice>> {
        let found: WirePrice = match self.get(&format!("/prices/{id}"), Vec::new()).await {
            Err(StripeFailure::Refused { status: 404, .. }) => return Ok(None),
            found => found?,
        };
        let every = found.recurring.filter(|every| every.interval_count.unwrap_or(1) == 1);
        Ok(Some(StripePrice {
            active: found.active.unwrap_or(true),
            amount: found.unit_amount,
            currency: found.currency.unwrap_or_default(),
            interval: every.and_then(|every| every.interval),
        }))
    }

    /// The webhook endpoint with this address, if there is one.
    pub async fn find_endpoint(&self, url: &str) -> Answer<Option<Endpoint>> {
        let found =
            self.all("/webhook_endpoints", Vec::new(), |found: &WireEndpoint| &found.id).await?;
        let there = found.into_iter().find(|endpoint| endpoint.url == url);
        Ok(there.map(|endpoint| Endpoint { id: endpoint.id, secret: None }))
    }

    /// Makes a webhook endpoint for exactly the events that we need.
    pub async fn create_endpoint(&self, url: &str) -> Answer<Endpoint> {
        let mut form = endpoint_form(url);
        form.push(field("api_version", API_VERSION));
        let made: WireEndpoint = self.post("/webhook_endpoints", form, None).await?;
        Ok(Endpoint { id: made.id, secret: made.secret })
    }

    /// Subscribes a webhook endpoint to exactly the events that we need.
    pub async fn update_endpoint(&self, id: &str, url: &str) -> Answer<()> {
        let path = format!("/webhook_endpoints/{id}");
        self.post::<WireEndpoint>(&path, endpoint_form(url), None).await.map(drop)
    }

    /// Every object of a list, page by page.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Form,
        id: impl Fn(&T) -> &String,
    ) -> Answer<Vec<T>> {
        let mut all: Vec<T> = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut query = query.clone();
            query.push(field("limit", PAGE));
            query.extend(all.last().map(|last| field("starting_after", id(last))));
            let page: List<T> = self.get(path, query).await?;
            let more = page.has_more && !page.data.is_empty();
            all.extend(page.data);
            if !more {
                return Ok(all);
            }
        }
        Err(StripeFailure::Unreadable(format!("{path} has more than {MAX_PAGES} pages")))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Form) -> Answer<T> {
        self.call(StripeMethod::Get, path, &query, None).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form,
        attempt: Option<&AttemptId>,
    ) -> Answer<T> {
        self.call(StripeMethod::Post, path, &form, attempt).await
    }

    /// Calls, and calls again what failed at once. What has no idempotency key can be repeated
    /// anyway: it says how something is to be.
    async fn call<T: DeserializeOwned>(
        &self,
        method: StripeMethod,
        path: &str,
        form: &[(String, String)],
        attempt: Option<&AttemptId>,
    ) -> Answer<T> {
        let mut pause = BETWEEN_TRIES;
        for _ in 1..TRIES {
            let begun = tokio::time::Instant::now();
            match self.call_once(method, path, form, attempt).await {
                Err(StripeFailure::Unreachable(_) | StripeFailure::Broken(_))
                    if begun.elapsed() < CALL_TIMEOUT / 2 => {}
                done => return done,
            }
            tokio::time::sleep(pause).await;
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
        let sent = async { request.send(&self.client).await.map_err(failure) };
        let answer = sent.boxed().await?;
        // The client reads JSON by its own library only.
        let text = miniserde::json::to_string(&answer);
        serde_json::from_str(&text)
            .map_err(|error| StripeFailure::Unreadable(format!("{path}: {error}")))
    }
}

fn endpoint_form(url: &str) -> Form {
    let mut form = vec![field("url", url)];
    form.extend(EVENT_TYPES.iter().map(|kind| field("enabled_events[]", *kind)));
    form
}

fn failure(error: StripeError) -> StripeFailure {
    match error {
        StripeError::Stripe(said, status) => {
            let message = said.message.unwrap_or_else(|| "without saying why".into());
            match status {
                409 | 424 | 429 => StripeFailure::Unreachable(format!("{status}: {message}")),
                500.. => StripeFailure::Broken(format!("{status}: {message}")),
                _ => StripeFailure::Refused { status, message },
            }
        }
        // An error page of a proxy in between, or a connection that ended early.
        other => StripeFailure::Unreachable(other.to_string()),
    }
}

fn read_id<T: std::str::FromStr<Err: std::fmt::Display>>(id: &str) -> Answer<T> {
    id.parse().map_err(|error: T::Err| StripeFailure::Unreadable(format!("{id:?}: {error}")))
}

fn read_session(found: WireSession) -> Answer<Session> {
    Ok(Session {
        id: read_id(&found.id)?,
        url: found.url,
        status: match found.status.as_deref() {
            Some("complete") => SessionStatus::Complete,
            Some("expired") => SessionStatus::Expired,
            _ => SessionStatus::Open,
        },
        invoice: found.invoice.as_ref().map(Link::id).map(read_id).transpose()?,
        attempt_id: found.metadata.get("attempt_id").cloned(),
    })
}
