//! The bodies of the operations about outgoing webhooks.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};

use crate::domain::operator::webhook::{EventFilter, Webhook};
use crate::domain::operator::webhook_delivery::{DeliveryState, StoredDelivery};
use crate::domain::operator::webhook_event::EventKind;
use crate::domain::page::Page;
use crate::domain::time::Timestamp;

/// Declares the texts of events in the API, and their conversions.
macro_rules! events {
    ($($kind:ident = $text:literal,)+) => {
        /// An event, or `*` for all of them, also those that later versions add.
        #[derive(Clone, Copy, Enum)]
        #[oai(rename = "WebhookEvent")]
        pub enum EventView {
            /// All events.
            #[oai(rename = "*")]
            All,
            $(#[oai(rename = $text)] $kind,)+
        }

        impl EventView {
            fn kind(self) -> Option<EventKind> {
                match self {
                    Self::All => None,
                    $(Self::$kind => Some(EventKind::$kind),)+
                }
            }
        }

        impl From<EventKind> for EventView {
            fn from(kind: EventKind) -> Self {
                match kind {
                    $(EventKind::$kind => Self::$kind,)+
                }
            }
        }
    };
}

events! {
    CustomerCreated = "customer.created",
    CustomerChanged = "customer.changed",
    CustomerDeleted = "customer.deleted",
    LicenseIssued = "license.issued",
    LicenseRevoked = "license.revoked",
    SubscriptionChanged = "subscription.changed",
    OrderPaid = "order.paid",
    OrderRefunded = "order.refunded",
}

pub fn filter(events: &[EventView]) -> EventFilter {
    let kinds: Option<BTreeSet<_>> = events.iter().map(|event| event.kind()).collect();
    kinds.map_or(EventFilter::All, EventFilter::Kinds)
}

fn views(events: &EventFilter) -> Vec<EventView> {
    match events {
        EventFilter::All => vec![EventView::All],
        EventFilter::Kinds(kinds) => kinds.iter().map(|kind| EventView::from(*kind)).collect(),
    }
}

/// A new webhook.
#[derive(Object)]
#[oai(rename = "NewWebhook", deny_unknown_fields, example)]
pub struct NewWebhookRequest {
    /// The URL that is called by POST. `https` at a public address, unless the setting
    /// `webhooks.allow_private` allows others.
    #[oai(validator(max_length = 2000))]
    pub url: String,
    /// The events that it gets: at least one, or `["*"]` for all.
    #[oai(validator(min_items = 1, max_items = 20))]
    pub events: Vec<EventView>,
    /// Whether it gets deliveries from now on. Default `true`.
    pub enabled: Option<bool>,
}

impl Example for NewWebhookRequest {
    fn example() -> Self {
        Self {
            url: "https://acme.example/hooks/licentia".into(),
            events: vec![EventView::LicenseIssued, EventView::LicenseRevoked],
            enabled: Some(true),
        }
    }
}

/// The fields to change. An absent field is kept.
#[derive(Object)]
#[oai(rename = "WebhookChange", deny_unknown_fields, example)]
pub struct WebhookChangeRequest {
    /// The URL. Deliveries that wait go there too.
    #[oai(validator(max_length = 2000), skip_serializing_if_is_none)]
    pub url: Option<String>,
    /// The events that it gets.
    #[oai(validator(min_items = 1, max_items = 20), skip_serializing_if_is_none)]
    pub events: Option<Vec<EventView>>,
    /// `false` stops deliveries. Those that wait are given up. `true` starts new ones.
    #[oai(skip_serializing_if_is_none)]
    pub enabled: Option<bool>,
    /// `true` creates a new secret, which the response shows once. The former secret also signs for
    /// 24 hours.
    #[oai(skip_serializing_if_is_none)]
    pub rotate_secret: Option<bool>,
}

impl Example for WebhookChangeRequest {
    fn example() -> Self {
        Self { url: None, events: None, enabled: None, rotate_secret: Some(true) }
    }
}

/// An outgoing webhook.
#[derive(Object)]
#[oai(rename = "Webhook", example)]
pub struct WebhookView {
    /// The id.
    webhook_id: String,
    /// The URL that is called.
    url: String,
    /// The events that it gets.
    events: Vec<EventView>,
    /// Whether it gets deliveries.
    enabled: bool,
    /// When it was disabled: by an operator, or because the receiver returned a 410.
    #[oai(nullable)]
    disabled_at: Option<DateTime<Utc>>,
    /// The secret (`whsec_…`) for verifying signatures. Only in the response that creates it.
    #[oai(skip_serializing_if_is_none)]
    secret: Option<String>,
    /// The time until which the former secret also signs, after a rotation.
    #[oai(nullable)]
    former_secret_until: Option<DateTime<Utc>>,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    updated_at: DateTime<Utc>,
}

pub fn example_webhook() -> String {
    "whk_0123456789abcdef0123456789abcdef".into()
}

pub fn example_delivery() -> String {
    "dlv_0123456789abcdef0123456789abcdef".into()
}

impl Example for WebhookView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            webhook_id: example_webhook(),
            url: "https://acme.example/hooks/licentia".into(),
            events: vec![EventView::LicenseIssued, EventView::LicenseRevoked],
            enabled: true,
            disabled_at: None,
            secret: Some("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()),
            former_secret_until: None,
            created_at: time(1_795_186_800),
            updated_at: time(1_795_186_800),
        }
    }
}

impl WebhookView {
    pub fn new(webhook: &Webhook, shows_secret: bool) -> Self {
        Self {
            webhook_id: webhook.webhook_id.to_string(),
            url: webhook.url.as_str().to_owned(),
            events: views(&webhook.events),
            enabled: webhook.disabled_at.is_none(),
            disabled_at: webhook.disabled_at.map(Timestamp::to_datetime),
            secret: shows_secret.then(|| webhook.secret.expose().to_owned()),
            former_secret_until: webhook.former_until.map(Timestamp::to_datetime),
            created_at: webhook.created_at.to_datetime(),
            updated_at: webhook.updated_at.to_datetime(),
        }
    }
}

/// A page of webhooks.
#[derive(Object)]
pub struct Webhooks {
    /// The webhooks, newest first.
    webhooks: Vec<WebhookView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

impl From<Page<Webhook>> for Webhooks {
    fn from(page: Page<Webhook>) -> Self {
        Self {
            webhooks: page.entries.iter().map(|one| WebhookView::new(one, false)).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }
    }
}

/// The state of a delivery.
#[derive(Enum)]
#[oai(rename = "DeliveryState", rename_all = "snake_case")]
pub enum StateView {
    /// Not tried yet.
    Waiting,
    /// It failed and is retried.
    Retrying,
    /// The receiver accepted it.
    Delivered,
    /// It failed for three days, or the webhook was disabled.
    GivenUp,
}

impl From<DeliveryState> for StateView {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Retrying => Self::Retrying,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::GivenUp => Self::GivenUp,
        }
    }
}

/// The delivery of a message to a webhook.
#[derive(Object)]
#[oai(rename = "Delivery", example)]
pub struct DeliveryView {
    /// The id of the delivery.
    delivery_id: String,
    /// The id of the message: the header `webhook-id` of every attempt.
    message_id: String,
    /// The kind of the event: the `type` of the payload.
    kind: String,
    /// The customer that it is about.
    customer_id: String,
    /// The state.
    state: StateView,
    /// The number of attempts.
    attempts: i64,
    /// The HTTP status of the last response.
    #[oai(nullable)]
    status_code: Option<i64>,
    /// The reason of the last failure.
    #[oai(nullable)]
    last_error: Option<String>,
    /// When the event happened.
    created_at: DateTime<Utc>,
    /// When it is due next, or was last attempted.
    due_at: DateTime<Utc>,
    /// When the receiver accepted it.
    #[oai(nullable)]
    delivered_at: Option<DateTime<Utc>>,
    /// When it was given up.
    #[oai(nullable)]
    given_up_at: Option<DateTime<Utc>>,
}

impl Example for DeliveryView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            delivery_id: example_delivery(),
            message_id: "msg_0123456789abcdef0123456789abcdef".into(),
            kind: "license.issued".into(),
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            state: StateView::Retrying,
            attempts: 1,
            status_code: Some(503),
            last_error: Some("HTTP 503".into()),
            created_at: time(1_795_186_800),
            due_at: time(1_795_186_802),
            delivered_at: None,
            given_up_at: None,
        }
    }
}

impl From<StoredDelivery> for DeliveryView {
    fn from(delivery: StoredDelivery) -> Self {
        Self {
            state: delivery.state().into(),
            delivery_id: delivery.delivery_id.to_string(),
            message_id: delivery.message_id.to_string(),
            kind: delivery.kind,
            customer_id: delivery.customer_id.to_string(),
            attempts: delivery.attempts,
            status_code: delivery.status_code,
            last_error: delivery.last_error,
            created_at: delivery.created_at.to_datetime(),
            due_at: delivery.due_at.to_datetime(),
            delivered_at: delivery.delivered_at.map(Timestamp::to_datetime),
            given_up_at: delivery.given_up_at.map(Timestamp::to_datetime),
        }
    }
}

/// A page of deliveries.
#[derive(Object)]
pub struct Deliveries {
    /// The deliveries, newest first.
    deliveries: Vec<DeliveryView>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

impl From<Page<StoredDelivery>> for Deliveries {
    fn from(page: Page<StoredDelivery>) -> Self {
        Self {
            deliveries: page.entries.into_iter().map(DeliveryView::from).collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }
    }
}
