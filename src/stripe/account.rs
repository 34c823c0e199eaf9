//! The calls that connect an account: its prices, its webhook endpoint, and what its key may do.

use secrecy::SecretString;

use super::wire::{Identified, List, WireEndpoint, WirePrice};
use super::{API_VERSION, Answer, Form, Stripe, StripeFailure, field};
use crate::domain::ids::AttemptId;
use crate::domain::webhook::EVENT_TYPES;
use crate::fail_point::FailPoint;

/// What a sale reads.
const READ: [&str; 8] = [
    "customers",
    "subscriptions",
    "invoices",
    "payment_intents",
    "charges",
    "disputes",
    "checkout/sessions",
    "events",
];

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
    pub secret: Option<SecretString>,
}

impl Stripe {
    /// A price; none if the account has none with this id.
    pub async fn price(&self, id: &str) -> Answer<Option<StripePrice>> {
        let found: Option<WirePrice> = self.known(&format!("/prices/{id}"), Vec::new()).await?;
        let Some(found) = found else { return Ok(None) };
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
        let found = self
            .all("/webhook_endpoints", Vec::new(), |found: &WireEndpoint| found.id.as_str())
            .await?;
        let there = found.into_iter().find(|endpoint| endpoint.url == url);
        Ok(there.map(|endpoint| Endpoint { id: endpoint.id, secret: None }))
    }

    /// Makes a webhook endpoint for exactly the events that we need.
    pub async fn create_endpoint(
        &self,
        attempt: &AttemptId,
        url: &str,
        at: FailPoint<'_>,
    ) -> Answer<Endpoint> {
        let mut form = endpoint_form(url);
        form.push(field("api_version", API_VERSION));
        let made: WireEndpoint = self.post("/webhook_endpoints", form, Some(attempt), at).await?;
        Ok(Endpoint { id: made.id, secret: made.secret.map(SecretString::from) })
    }

    /// Subscribes a webhook endpoint to exactly the events that we need.
    pub async fn update_endpoint(&self, id: &str, url: &str, at: FailPoint<'_>) -> Answer<()> {
        let path = format!("/webhook_endpoints/{id}");
        let mut form = endpoint_form(url);
        // Stripe switches one off that failed for days.
        form.push(field("disabled", "false"));
        self.post::<WireEndpoint>(&path, form, None, at).await.map(drop)
    }

    /// What the key may not read that a sale needs; a restricted key may lack something.
    pub async fn unreadable(&self) -> Answer<Vec<&'static str>> {
        let mut unreadable = Vec::new();
        for what in READ {
            let one = vec![field("limit", "1")];
            match self.get::<List<Identified>>(&format!("/{what}"), one).await {
                Err(StripeFailure::Refused { status: 401 | 403, .. }) => unreadable.push(what),
                done => drop(done?),
            }
        }
        Ok(unreadable)
    }
}

fn endpoint_form(url: &str) -> Form {
    let mut form = vec![field("url", url)];
    form.extend(EVENT_TYPES.iter().map(|kind| field("enabled_events[]", *kind)));
    form
}
