//! The fields of Stripe's objects that we read, and their conversion to types of [`crate::domain`].
//! Every field except the id is optional, so that an object without it can still be read. The calls
//! are in [`super`].

mod invoice;
mod payment;
mod preview;
mod session;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::sale::matching::{StripeCandidate, Tag};
use crate::domain::sale::subscription::{Item, Status, Subscription};
use crate::domain::time::Timestamp;
use crate::stripe::PaymentLink;

pub use invoice::{WireCreditNote, WireInvoice, WireInvoicePayment, WireLine};
pub use payment::{PaymentFacts, WireCharge, WireDispute, WirePaymentIntent};

pub use preview::{WireInvoicePage, WirePreview, WireSchedule};
pub use session::{WireLineItem, WireSession};

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

/// A reference to another object: its id, or the object itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Link {
    Id(String),
    Object { id: String },
}

impl Link {
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id } => id,
        }
    }
}

/// An object of which only the id is read.
#[derive(Debug, Deserialize)]
pub struct Identified {
    pub id: String,
}

/// There is no `Debug`: it names a person.
#[derive(Deserialize)]
pub struct WireCustomer {
    pub id: String,
    #[serde(default)]
    pub deleted: bool,
    email: Option<String>,
    pub name: Option<String>,
    pub currency: Option<String>,
    metadata: Option<HashMap<String, String>>,
    pub invoice_settings: Option<InvoiceSettings>,
    /// Charged if the settings name no payment method.
    pub default_source: Option<Link>,
}

impl WireCustomer {
    pub fn metadata(&self, key: &str) -> Option<&str> {
        named(&self.metadata, key)
    }

    /// Returns the customer; `None` if it was deleted, or its id is invalid.
    pub fn into_domain(self) -> Option<StripeCandidate> {
        if self.deleted {
            return None;
        }
        let tag = match self.metadata("customer_id").filter(|named| !named.is_empty()) {
            Some(named) => named.parse().map_or(Tag::Foreign, Tag::Ours),
            None => Tag::None,
        };
        Some(StripeCandidate {
            id: self.id.parse().ok()?,
            email: self.email.and_then(|email| email.parse().ok()),
            name: self.name.and_then(|name| name.parse().ok()),
            tag,
            plan: None,
            is_subscribed: false,
            deleted: None,
        })
    }
}

/// Returns a value of the metadata, which is an object or null.
fn named<'a>(metadata: &'a Option<HashMap<String, String>>, key: &str) -> Option<&'a str> {
    metadata.as_ref()?.get(key).map(String::as_str)
}

#[derive(Debug, Deserialize)]
pub struct InvoiceSettings {
    pub default_payment_method: Option<WireMethod>,
}

/// A payment method: its id, or the object itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum WireMethod {
    Id(String),
    Object {
        id: String,
        #[serde(flatten)]
        account: WireAccount,
    },
}

/// The card or bank account of a payment method: one of these. Each type that has a fingerprint is
/// listed (<https://docs.stripe.com/api/payment_methods/object>).
#[derive(Debug, Deserialize)]
pub struct WireAccount {
    card: Option<Fingerprint>,
    sepa_debit: Option<Fingerprint>,
    us_bank_account: Option<Fingerprint>,
    bacs_debit: Option<Fingerprint>,
    acss_debit: Option<Fingerprint>,
    au_becs_debit: Option<Fingerprint>,
}

#[derive(Debug, Deserialize)]
struct Fingerprint {
    fingerprint: Option<String>,
}

impl WireMethod {
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id, .. } => id,
        }
    }

    /// Returns the fingerprint, which is the same for all uses of a card or bank account; `None` if
    /// the method is not included or has none.
    pub fn fingerprint(&self) -> Option<&str> {
        let Self::Object { account, .. } = self else { return None };
        let WireAccount {
            card,
            sepa_debit,
            us_bank_account,
            bacs_debit,
            acss_debit,
            au_becs_debit,
        } = account;
        let kinds = [card, sepa_debit, us_bank_account, bacs_debit, acss_debit, au_becs_debit];
        kinds.into_iter().flatten().find_map(|account| account.fingerprint.as_deref())
    }
}

#[derive(Debug, Deserialize)]
pub struct WireSubscription {
    pub id: String,
    pub customer: Option<Link>,
    status: Option<String>,
    pub items: Option<List<WireItem>>,
    cancel_at: Option<i64>,
    cancel_at_period_end: Option<bool>,
    canceled_at: Option<i64>,
    ended_at: Option<i64>,
    trial_end: Option<i64>,
    pause_collection: Option<IgnoredAny>,
    latest_invoice: Option<Link>,
    default_payment_method: Option<WireMethod>,
    /// Charged if there is no such payment method.
    default_source: Option<Link>,
    pending_update: Option<PendingUpdate>,
    discounts: Option<Vec<Link>>,
    schedule: Option<Link>,
    collection_method: Option<String>,
    currency: Option<String>,
    metadata: Option<HashMap<String, String>>,
    created: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct PendingUpdate {
    expires_at: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct WireItem {
    pub id: String,
    price: Option<Link>,
    quantity: Option<i64>,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
}

/// Returns a quantity. More units than a plan can have stay more.
fn units(quantity: Option<i64>) -> Option<u32> {
    quantity.map(|quantity| u32::try_from(quantity.max(0)).unwrap_or(u32::MAX))
}

fn time(seconds: Option<i64>) -> Option<Timestamp> {
    seconds.map(Timestamp::saturating)
}

impl WireSubscription {
    /// Returns the subscription; `None` if its id is invalid.
    pub fn into_domain(self) -> Option<Subscription> {
        let items = self.items.into_iter().flat_map(|items| items.data);
        let discounts = self.discounts.into_iter().flatten();
        Some(Subscription {
            id: self.id.parse().ok()?,
            status: Status::from_name(self.status.as_deref().unwrap_or_default()),
            items: items.filter_map(WireItem::into_domain).collect(),
            currency: self.currency,
            cancel_at: time(self.cancel_at),
            cancel_at_period_end: self.cancel_at_period_end.unwrap_or(false),
            canceled_at: time(self.canceled_at),
            ended_at: time(self.ended_at),
            trial_end: time(self.trial_end),
            collection_paused: self.pause_collection.is_some(),
            latest_invoice: self.latest_invoice.and_then(|link| link.id().parse().ok()),
            awaits_payment: false,
            card: self
                .default_payment_method
                .as_ref()
                .and_then(|method| method.fingerprint().map(str::to_owned)),
            is_trial_refused: false,
            is_ours: named(&self.metadata, "customer_id").is_some(),
            pending_until: self.pending_update.and_then(|update| time(update.expires_at)),
            discounts: discounts.map(|link| link.id().to_owned()).collect(),
            schedule: self.schedule.map(|link| link.id().to_owned()),
            has_sent_invoices: self.collection_method.as_deref() == Some("send_invoice"),
            default_payment_method: self
                .default_payment_method
                .map(|method| method.id().to_owned())
                .or_else(|| self.default_source.map(|source| source.id().to_owned())),
            created: Timestamp::saturating(self.created.unwrap_or(0)),
        })
    }
}

impl WireItem {
    fn into_domain(self) -> Option<Item> {
        Some(Item {
            id: self.id,
            price: self.price?.id().to_owned(),
            quantity: units(self.quantity),
            period_start: time(self.current_period_start),
            period_end: time(self.current_period_end),
        })
    }
}

/// There is no `Debug`: whoever has the URL is logged in.
#[derive(Deserialize)]
pub struct WirePortal {
    pub url: String,
}

#[derive(Debug, Deserialize)]
pub struct WirePrice {
    pub active: Option<bool>,
    pub product: Option<String>,
    pub unit_amount: Option<i64>,
    pub currency: Option<String>,
    pub recurring: Option<Recurring>,
    pub tax_behavior: Option<String>,
    /// Only if it is expanded.
    pub currency_options: Option<BTreeMap<String, CurrencyOption>>,
}

#[derive(Debug, Deserialize)]
pub struct WireProduct {
    pub active: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub struct Recurring {
    pub interval: Option<String>,
    pub interval_count: Option<i64>,
    pub usage_type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct CurrencyOption {
    pub unit_amount: Option<i64>,
}

/// Writes the interval as the plans file does: `month`, `3 months`, `metered, month`.
impl fmt::Display for Recurring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = self.interval.as_deref().unwrap_or("unknown");
        if self.usage_type.as_deref() == Some("metered") {
            formatter.write_str("metered, ")?;
        }
        match self.interval_count.unwrap_or(1) {
            1 => formatter.write_str(interval),
            count => write!(formatter, "{count} {interval}s"),
        }
    }
}

/// A payment link (<https://docs.stripe.com/api/payment-link/object>).
#[derive(Deserialize)]
pub struct WirePaymentLink {
    pub id: String,
    customer_creation: Option<String>,
    invoice_creation: Option<InvoiceCreation>,
    line_items: Option<List<WireLineItem>>,
}

#[derive(Deserialize)]
struct InvoiceCreation {
    #[serde(default)]
    enabled: bool,
}

impl WirePaymentLink {
    pub fn into_domain(self) -> PaymentLink {
        let has_invoice = self.invoice_creation.is_some_and(|creation| creation.enabled);
        let items = self.line_items.into_iter().flat_map(|items| items.data);
        PaymentLink {
            id: self.id,
            prices: items.filter_map(WireLineItem::into_price).collect(),
            has_invoice,
            is_for_guests: !has_invoice && self.customer_creation.as_deref() != Some("always"),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct WireTaxSettings {
    pub status: Option<String>,
    pub status_details: Option<WireTaxStatus>,
    pub defaults: Option<TaxDefaults>,
}

#[derive(Debug, Deserialize)]
pub struct TaxDefaults {
    pub tax_behavior: Option<String>,
}

/// There is no `Debug`: it may contain the endpoint's secret.
#[derive(Deserialize)]
pub struct WireEndpoint {
    pub id: String,
    #[serde(default)]
    pub url: String,
    pub secret: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct WireTaxStatus {
    pub pending: Option<WireTaxPending>,
}

#[derive(Debug, Deserialize)]
pub struct WireTaxPending {
    pub missing_fields: Option<Vec<String>>,
}
