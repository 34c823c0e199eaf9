//! The calls that set up an account: prices, the webhook endpoint, and the permissions of the key.
//! [`crate::flows::sale::setup`] decides what to change.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::sale::of_page;
use super::wire::{
    Identified, List, WireEndpoint, WirePaymentLink, WirePrice, WireProduct, WireTaxSettings,
};
use super::{API_VERSION, Answer, Form, Stripe, StripeFailure, field, read_id};
use crate::domain::ids::AttemptId;
use crate::domain::sale::plan::CheckoutOptions;
use crate::domain::sale::webhook::EVENT_TYPES;
use crate::domain::time::Timestamp;
use crate::fail_point::FailPoint;

/// The resources that the key must always be able to read.
pub const RESOURCES: [&str; 10] = [
    "customers",
    "subscriptions",
    "invoices",
    "credit_notes",
    "prices",
    "payment_intents",
    "charges",
    "disputes",
    "checkout/sessions",
    "events",
];

/// The page after the payment of a session that nobody can pay. It is not opened.
const PROBE_URL: &str = "https://example.com/";

/// A price at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripePrice {
    /// Whether it can be sold: archived prices cannot.
    pub active: bool,
    /// The id of its product.
    pub product: Option<String>,
    /// The amount in the currency's smallest unit; `None` if it depends on the quantity.
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// How often it is charged: `once`, `month`, `3 months`, `metered, month`….
    pub interval: String,
    /// The amounts in all currencies, including its own.
    pub amounts: BTreeMap<String, Option<i64>>,
    /// Whether it says if its amounts contain taxes.
    pub has_tax_behavior: bool,
}

/// A payment link that can be opened.
#[derive(Clone, Debug)]
pub struct PaymentLink {
    /// The id.
    pub id: String,
    /// The ids of the prices that it sells, at most ten.
    pub prices: Vec<String>,
    /// Whether Stripe creates an invoice for a single payment.
    pub has_invoice: bool,
    /// Whether it sells single payments to guests, for whom Stripe creates no customer.
    pub is_for_guests: bool,
}

/// Whether Stripe Tax is set up.
#[derive(Clone, Debug)]
pub struct TaxSettings {
    /// Whether it is.
    pub is_active: bool,
    /// The names of the missing fields, like `head_office`.
    pub missing: Vec<String>,
}

/// A Checkout session that only finds out what the account supports.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The price that it sells.
    pub price: String,
    /// The units.
    pub quantity: u32,
    /// Whether the price is paid once.
    pub is_once: bool,
    /// The options of the page.
    pub options: CheckoutOptions,
    /// When it expires, unless it is expired before.
    pub expires_at: Timestamp,
}

/// A webhook endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The id.
    pub id: String,
    /// The secret. Stripe sends it only when it creates the endpoint.
    pub secret: Option<SecretString>,
}

impl Stripe {
    /// Returns the price with this id, or `None` if the account has none.
    pub async fn price(&self, id: &str) -> Answer<Option<StripePrice>> {
        let expand = vec![field("expand[]", "currency_options")];
        let price: Option<WirePrice> = self.known(&format!("/prices/{id}"), expand).await?;
        let Some(price) = price else { return Ok(None) };
        let currency = price.currency.unwrap_or_default();
        let options = price.currency_options.unwrap_or_default().into_iter();
        let mut amounts: BTreeMap<_, _> =
            options.map(|(currency, option)| (currency, option.unit_amount)).collect();
        amounts.insert(currency.clone(), price.unit_amount);
        Ok(Some(StripePrice {
            active: price.active.unwrap_or(true),
            product: price.product,
            amount: price.unit_amount,
            currency,
            interval: price.recurring.map_or("once".to_owned(), |each| each.to_string()),
            amounts,
            has_tax_behavior: price.tax_behavior.is_some_and(|tax| tax != "unspecified"),
        }))
    }

    /// Returns whether a product is archived: none of its prices can be sold then, whatever they
    /// say themselves (<https://docs.stripe.com/api/products/object#product_object-active>). `None`
    /// if the key cannot read products, which only this check needs.
    pub async fn is_product_archived(&self, id: &str) -> Answer<Option<bool>> {
        match self.known::<WireProduct>(&format!("/products/{id}"), Vec::new()).await {
            Err(StripeFailure::Refused { status: 401 | 403, .. }) => Ok(None),
            found => Ok(Some(found?.is_some_and(|product| product.active == Some(false)))),
        }
    }

    /// Returns the active payment links
    /// (<https://docs.stripe.com/api/payment-link/object>).
    pub async fn payment_links(&self) -> Answer<Vec<PaymentLink>> {
        let query = vec![field("active", "true"), field("expand[]", "data.line_items")];
        let links = self.all("/payment_links", query, |link: &WirePaymentLink| link.id.as_str());
        Ok(links.await?.into_iter().map(WirePaymentLink::into_domain).collect())
    }

    /// Returns whether Stripe Tax is set up
    /// (<https://docs.stripe.com/api/tax/settings/object>).
    pub async fn tax_settings(&self) -> Answer<TaxSettings> {
        let settings: WireTaxSettings = self.get("/tax/settings", Vec::new()).await?;
        let pending = settings.status_details.and_then(|details| details.pending);
        Ok(TaxSettings {
            is_active: settings.status.as_deref() == Some("active"),
            missing: pending.and_then(|pending| pending.missing_fields).unwrap_or_default(),
        })
    }

    /// Opens a Checkout session without a customer, and closes it at once.
    pub async fn probe(&self, probe: &Probe, at: FailPoint<'_>) -> Answer<()> {
        let mut form = vec![
            field("mode", if probe.is_once { "payment" } else { "subscription" }),
            field("line_items[0][price]", &probe.price),
            field("line_items[0][quantity]", probe.quantity.to_string()),
            field("success_url", PROBE_URL),
            field("cancel_url", PROBE_URL),
            field("expires_at", probe.expires_at.epoch_seconds().to_string()),
        ];
        if probe.is_once {
            form.push(field("customer_creation", "always"));
        }
        if probe.options.promotion_codes {
            form.push(field("allow_promotion_codes", "true"));
        }
        form.extend(of_page(&probe.options, false));
        let made: Identified = self.post("/checkout/sessions", form, None, at).await?;
        self.expire_session(&read_id(&made.id)?, at).await.map(drop)
    }

    /// Returns whether the account has a default for prices that do not say whether their amounts
    /// contain taxes (<https://docs.stripe.com/api/tax/settings/object>, `defaults.tax_behavior`).
    pub async fn has_default_tax_behavior(&self) -> Answer<bool> {
        let settings: WireTaxSettings = self.get("/tax/settings", Vec::new()).await?;
        Ok(settings.defaults.and_then(|defaults| defaults.tax_behavior).is_some())
    }

    /// Returns the webhook endpoint with this URL, if there is one.
    pub async fn find_endpoint(&self, url: &str) -> Answer<Option<Endpoint>> {
        let endpoints = self
            .all("/webhook_endpoints", Vec::new(), |listed: &WireEndpoint| listed.id.as_str())
            .await?;
        let endpoint = endpoints.into_iter().find(|endpoint| endpoint.url == url);
        Ok(endpoint.map(|endpoint| Endpoint { id: endpoint.id, secret: None }))
    }

    /// Creates a webhook endpoint that receives exactly the events in [`EVENT_TYPES`].
    pub async fn create_endpoint(
        &self,
        attempt: &AttemptId,
        url: &str,
        at: FailPoint<'_>,
    ) -> Answer<Endpoint> {
        let mut form = endpoint_form(url);
        form.push(field("api_version", API_VERSION));
        let created: WireEndpoint =
            self.post("/webhook_endpoints", form, Some(attempt), at).await?;
        Ok(Endpoint { id: created.id, secret: created.secret.map(SecretString::from) })
    }

    /// Subscribes a webhook endpoint to exactly the events in [`EVENT_TYPES`], and enables it.
    pub async fn update_endpoint(&self, id: &str, url: &str, at: FailPoint<'_>) -> Answer<()> {
        let path = format!("/webhook_endpoints/{id}");
        let mut form = endpoint_form(url);
        // Stripe disables an endpoint that has failed for days.
        form.push(field("disabled", "false"));
        self.post::<WireEndpoint>(&path, form, None, at).await.map(drop)
    }

    /// Returns those of the resources that the key cannot read. A restricted key may lack
    /// permissions.
    pub async fn unreadable(&self, resources: &[&'static str]) -> Answer<Vec<&'static str>> {
        let mut unreadable = Vec::new();
        for resource in resources.iter().copied() {
            let one = vec![field("limit", "1")];
            match self.get::<List<Identified>>(&format!("/{resource}"), one).await {
                Err(StripeFailure::Refused { status: 401 | 403, .. }) => unreadable.push(resource),
                response => drop(response?),
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
