//! The shapes of Stripe's objects, as far as we read them: everything but the id may be missing, so
//! that an object which lacks a field we do not need stops nothing. Turned into the types of
//! [`crate::domain`] here; fetched by [`super`].

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::domain::invoice::{Invoice, InvoiceStatus, Line, Payment};
use crate::domain::matching::{Tag, Theirs};
use crate::domain::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::subscription::{Item, Status, Subscription};
use crate::domain::time::Timestamp;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub has_more: bool,
}

/// Another object: its id, or itself.
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

/// What is there of an object that is named by id only.
#[derive(Debug, Deserialize)]
pub struct Identified {
    pub id: String,
}

#[derive(Debug, Deserialize)]
pub struct WireCustomer {
    pub id: String,
    #[serde(default)]
    pub deleted: bool,
    email: Option<String>,
    name: Option<String>,
    metadata: Option<HashMap<String, String>>,
    pub invoice_settings: Option<InvoiceSettings>,
}

impl WireCustomer {
    pub fn metadata(&self, key: &str) -> Option<&str> {
        named(&self.metadata, key)
    }

    /// `None` when the id is not one, or they were deleted.
    pub fn into_domain(self) -> Option<Theirs> {
        if self.deleted {
            return None;
        }
        let tag = match self.metadata("customer_id").filter(|named| !named.is_empty()) {
            Some(named) => named.parse().map_or(Tag::Foreign, Tag::Ours),
            None => Tag::None,
        };
        Some(Theirs {
            id: self.id.parse().ok()?,
            email: self.email.and_then(|email| email.parse().ok()),
            name: self.name.and_then(|name| name.parse().ok()),
            tag,
            plan: None,
        })
    }
}

/// Metadata is an object, or null.
fn named<'a>(metadata: &'a Option<HashMap<String, String>>, key: &str) -> Option<&'a str> {
    metadata.as_ref()?.get(key).map(String::as_str)
}

#[derive(Debug, Deserialize)]
pub struct InvoiceSettings {
    pub default_payment_method: Option<Link>,
}

#[derive(Debug, Deserialize)]
pub struct WireSubscription {
    pub id: String,
    pub customer: Option<Link>,
    status: Option<String>,
    pub items: Option<List<WireItem>>,
    cancel_at: Option<i64>,
    cancel_at_period_end: Option<bool>,
    trial_end: Option<i64>,
    pause_collection: Option<IgnoredAny>,
    latest_invoice: Option<Link>,
    default_payment_method: Option<Link>,
    metadata: Option<HashMap<String, String>>,
    created: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct WireItem {
    pub id: String,
    price: Option<Link>,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
}

fn time(seconds: Option<i64>) -> Option<Timestamp> {
    seconds.map(Timestamp::saturating)
}

impl WireSubscription {
    /// `None` when the id is not one.
    pub fn into_domain(self) -> Option<Subscription> {
        let items = self.items.into_iter().flat_map(|items| items.data);
        Some(Subscription {
            id: self.id.parse().ok()?,
            status: Status::from_name(self.status.as_deref().unwrap_or_default()),
            items: items.filter_map(WireItem::into_domain).collect(),
            cancel_at: time(self.cancel_at),
            cancel_at_period_end: self.cancel_at_period_end.unwrap_or(false),
            trial_end: time(self.trial_end),
            collection_paused: self.pause_collection.is_some(),
            has_invoice: self.latest_invoice.is_some(),
            awaits_payment: false,
            is_ours: named(&self.metadata, "customer_id").is_some(),
            default_payment_method: self.default_payment_method.map(|link| link.id().to_owned()),
            created: Timestamp::saturating(self.created.unwrap_or(0)),
        })
    }
}

impl WireItem {
    fn into_domain(self) -> Option<Item> {
        Some(Item {
            price: self.price?.id().to_owned(),
            period_start: time(self.current_period_start),
            period_end: time(self.current_period_end),
        })
    }
}

#[derive(Debug, Deserialize)]
pub struct WireInvoice {
    pub id: String,
    parent: Option<Parent>,
    billing_reason: Option<String>,
    status: Option<String>,
    amount_due: Option<i64>,
    amount_paid: Option<i64>,
    currency: Option<String>,
    created: Option<i64>,
    due_date: Option<i64>,
    status_transitions: Option<Transitions>,
    payments: Option<List<WirePayment>>,
    pub lines: Option<List<WireLine>>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Debug, Deserialize)]
struct SubscriptionDetails {
    subscription: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Transitions {
    paid_at: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct WirePayment {
    status: Option<String>,
    payment: Option<PaymentLink>,
}

#[derive(Debug, Deserialize)]
struct PaymentLink {
    payment_intent: Option<Link>,
}

#[derive(Debug, Deserialize)]
pub struct WireLine {
    pub id: String,
    amount: Option<i64>,
    period: Option<Period>,
    pricing: Option<Pricing>,
}

#[derive(Debug, Deserialize)]
struct Period {
    start: Option<i64>,
    end: Option<i64>,
}

impl Period {
    /// When the time ends that a line covers; what is billed once has a period of no length.
    fn end(&self) -> Option<Timestamp> {
        time(self.end).filter(|end| time(self.start).is_none_or(|start| start < *end))
    }
}

#[derive(Debug, Deserialize)]
struct Pricing {
    price_details: Option<PriceDetails>,
}

#[derive(Debug, Deserialize)]
struct PriceDetails {
    price: Option<Link>,
}

impl WireInvoice {
    /// `None` when the id is not one. `payments` is what became of the payments.
    pub fn into_domain(self, payments: &HashMap<PaymentIntentId, Payment>) -> Option<Invoice> {
        let intent = self.payment_intent();
        let status = InvoiceStatus::from_name(self.status.as_deref().unwrap_or_default());
        let paid = status == InvoiceStatus::Paid;
        let details = self.parent.and_then(|parent| parent.subscription_details);
        let subscription = details.and_then(|details| details.subscription);
        let lines = self.lines.into_iter().flat_map(|lines| lines.data);
        Some(Invoice {
            id: self.id.parse().ok()?,
            subscription: subscription.and_then(|link| link.id().parse().ok()),
            by_hand: self.billing_reason.as_deref() == Some("manual"),
            status,
            amount: if paid { self.amount_paid } else { self.amount_due }.unwrap_or(0),
            currency: self.currency.unwrap_or_default(),
            created: Timestamp::saturating(self.created.unwrap_or(0)),
            due: time(self.due_date),
            paid_at: time(self.status_transitions.and_then(|transitions| transitions.paid_at)),
            payment: intent.as_ref().and_then(|id| payments.get(id)).copied().unwrap_or_default(),
            payment_intent: intent,
            lines: lines.map(WireLine::into_domain).collect(),
        })
    }

    /// The payment that paid it, or else the last one that is to.
    pub fn payment_intent(&self) -> Option<PaymentIntentId> {
        let payments = &self.payments.as_ref()?.data;
        let paid = payments.iter().find(|payment| payment.status.as_deref() == Some("paid"));
        let payment = paid.or(payments.last())?.payment.as_ref()?;
        payment.payment_intent.as_ref()?.id().parse().ok()
    }
}

impl WireLine {
    fn into_domain(self) -> Line {
        let details = self.pricing.and_then(|pricing| pricing.price_details);
        let price = details.and_then(|details| details.price);
        Line {
            price: price.map(|price| price.id().to_owned()),
            period_end: self.period.and_then(|period| period.end()),
            amount: self.amount.unwrap_or(0),
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct WirePaymentIntent {
    pub id: String,
    customer: Option<Link>,
    status: Option<String>,
    last_payment_error: Option<Value>,
    pub latest_charge: Option<WireCharge>,
}

/// A charge: its id, or itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum WireCharge {
    Id(String),
    Object { refunded: Option<bool>, disputed: Option<bool> },
}

impl WirePaymentIntent {
    /// Who made it, if Stripe knows.
    pub fn customer(&self) -> Option<StripeCustomerId> {
        self.customer.as_ref()?.id().parse().ok()
    }

    /// The payment, and what became of it. `None` when the id is not one.
    pub fn into_domain(self) -> Option<(PaymentIntentId, Payment)> {
        let (refunded, disputed) = match self.latest_charge {
            Some(WireCharge::Object { refunded, disputed }) => (refunded, disputed),
            Some(WireCharge::Id(_)) | None => (None, None),
        };
        let failed = self.last_payment_error.is_some();
        let payment = match (refunded, disputed, self.status.as_deref()) {
            (Some(true), ..) => Payment::Refunded,
            (_, Some(true), _) => Payment::Disputed,
            (.., Some("processing")) => Payment::Processing,
            (.., Some("canceled")) => Payment::Failed,
            (.., Some("requires_payment_method")) if failed => Payment::Failed,
            _ => Payment::Unremarkable,
        };
        Some((self.id.parse().ok()?, payment))
    }
}

#[derive(Debug, Deserialize)]
pub struct WireDispute {
    pub id: String,
    status: Option<String>,
}

impl WireDispute {
    /// What the payment comes to by this dispute
    /// (<https://docs.stripe.com/api/disputes/object#dispute_object-status>).
    fn payment(&self) -> Payment {
        match self.status.as_deref() {
            Some("lost") => Payment::DisputeLost,
            Some("won" | "prevented") => Payment::Unremarkable,
            // A bank that only inquires has taken nothing.
            Some(status) if status.starts_with("warning_") => Payment::Unremarkable,
            _ => Payment::Disputed,
        }
    }

    /// What a disputed payment comes to by all of its disputes: one that was won takes nothing from one
    /// that was lost.
    pub fn outcome(disputes: &[Self]) -> Payment {
        let all: Vec<Payment> = disputes.iter().map(Self::payment).collect();
        let worst = [Payment::DisputeLost, Payment::Disputed, Payment::Unremarkable];
        worst.into_iter().find(|payment| all.contains(payment)).unwrap_or(Payment::Disputed)
    }
}

#[derive(Debug, Deserialize)]
pub struct WireSession {
    pub id: String,
    pub url: Option<String>,
    pub status: Option<String>,
    pub payment_status: Option<String>,
    pub invoice: Option<Link>,
    pub subscription: Option<Link>,
    metadata: Option<HashMap<String, String>>,
}

impl WireSession {
    pub fn metadata(&self, key: &str) -> Option<&str> {
        named(&self.metadata, key)
    }
}

#[derive(Debug, Deserialize)]
pub struct WirePortal {
    pub url: String,
}

#[derive(Debug, Deserialize)]
pub struct WirePrice {
    pub active: Option<bool>,
    pub unit_amount: Option<i64>,
    pub currency: Option<String>,
    pub recurring: Option<Recurring>,
}

#[derive(Debug, Deserialize)]
pub struct Recurring {
    pub interval: Option<String>,
    pub interval_count: Option<i64>,
}

/// Not shown in logs: it may hold the endpoint's secret.
#[derive(Deserialize)]
pub struct WireEndpoint {
    pub id: String,
    #[serde(default)]
    pub url: String,
    pub secret: Option<String>,
}
