//! The kinds of object that have an id and a place of their own.

use std::sync::LazyLock;

use serde_json::Value;

use super::{
    catalog, checkout, customer, invoice, payment, portal, schedule, subscription, webhook,
};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Customer,
    PaymentMethod,
    Product,
    Price,
    CheckoutSession,
    Subscription,
    SubscriptionSchedule,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    Charge,
    Refund,
    Dispute,
    PortalSession,
    PortalConfiguration,
    Event,
    WebhookEndpoint,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Customer,
        Self::PaymentMethod,
        Self::Product,
        Self::Price,
        Self::CheckoutSession,
        Self::Subscription,
        Self::SubscriptionSchedule,
        Self::Invoice,
        Self::InvoicePayment,
        Self::PaymentIntent,
        Self::Charge,
        Self::Refund,
        Self::Dispute,
        Self::PortalSession,
        Self::PortalConfiguration,
        Self::Event,
        Self::WebhookEndpoint,
    ];

    /// What its ids begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Customer => "cus_",
            Self::PaymentMethod => "pm_",
            Self::Product => "prod_",
            Self::Price => "price_",
            Self::CheckoutSession => "cs_test_",
            Self::Subscription => "sub_",
            Self::SubscriptionSchedule => "sub_sched_",
            Self::Invoice => "in_",
            Self::InvoicePayment => "inpay_",
            Self::PaymentIntent => "pi_",
            Self::Charge => "ch_",
            Self::Refund => "re_",
            Self::Dispute => "du_",
            Self::PortalSession => "bps_",
            Self::PortalConfiguration => "bpc_",
            Self::Event => "evt_",
            Self::WebhookEndpoint => "we_",
        }
    }

    /// Where it is listed.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Customer => "/v1/customers",
            Self::PaymentMethod => "/v1/payment_methods",
            Self::Product => "/v1/products",
            Self::Price => "/v1/prices",
            Self::CheckoutSession => "/v1/checkout/sessions",
            Self::Subscription => "/v1/subscriptions",
            Self::SubscriptionSchedule => "/v1/subscription_schedules",
            Self::Invoice => "/v1/invoices",
            Self::InvoicePayment => "/v1/invoice_payments",
            Self::PaymentIntent => "/v1/payment_intents",
            Self::Charge => "/v1/charges",
            Self::Refund => "/v1/refunds",
            Self::Dispute => "/v1/disputes",
            Self::PortalSession => "/v1/billing_portal/sessions",
            Self::PortalConfiguration => "/v1/billing_portal/configurations",
            Self::Event => "/v1/events",
            Self::WebhookEndpoint => "/v1/webhook_endpoints",
        }
    }

    /// Whether its objects are somebody's.
    pub fn names_customers(self) -> bool {
        static THESE: LazyLock<Vec<Kind>> = LazyLock::new(|| {
            let named = |kind: &Kind| kind.blank().get("customer").is_some();
            Kind::ALL.into_iter().filter(named).collect()
        });
        THESE.contains(&self)
    }

    /// An object of this kind that says nothing yet; its `object` names the kind.
    pub fn blank(self) -> Value {
        match self {
            Self::Customer => customer::customer(),
            Self::PaymentMethod => customer::payment_method(),
            Self::Product => catalog::product(),
            Self::Price => catalog::price(),
            Self::CheckoutSession => checkout::checkout_session(),
            Self::Subscription => subscription::subscription(),
            Self::SubscriptionSchedule => schedule::subscription_schedule(),
            Self::Invoice => invoice::invoice(),
            Self::InvoicePayment => invoice::invoice_payment(),
            Self::PaymentIntent => payment::payment_intent(),
            Self::Charge => payment::charge(),
            Self::Refund => payment::refund(),
            Self::Dispute => payment::dispute(),
            Self::PortalSession => portal::portal_session(),
            Self::PortalConfiguration => portal::portal_configuration(),
            Self::Event => webhook::event(),
            Self::WebhookEndpoint => webhook::webhook_endpoint(),
        }
    }
}
