//! The kinds of object that have an id and are stored by it. Their shapes are in the other files.

use std::sync::LazyLock;

use serde_json::Value;

use super::{
    catalog, checkout, credit, customer, discount, invoice, offer, payment, payment_record, portal,
    schedule, subscription, tax, webhook,
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
    CustomerBalanceTransaction,
    Coupon,
    PromotionCode,
    Discount,
    PaymentLink,
    Quote,
    CreditNote,
    PaymentRecord,
    ThinEvent,
    InvoiceItem,
    TaxId,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 28] = [
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
        Self::CustomerBalanceTransaction,
        Self::Coupon,
        Self::PromotionCode,
        Self::Discount,
        Self::PaymentLink,
        Self::Quote,
        Self::CreditNote,
        Self::PaymentRecord,
        Self::ThinEvent,
        Self::InvoiceItem,
        Self::TaxId,
    ];

    /// The prefix of its ids.
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
            Self::Event | Self::ThinEvent => "evt_",
            Self::WebhookEndpoint => "we_",
            Self::CustomerBalanceTransaction => "cbtxn_",
            Self::Coupon => "",
            Self::PromotionCode => "promo_",
            Self::Discount => "di_",
            Self::PaymentLink => "plink_",
            Self::Quote => "qt_",
            Self::CreditNote => "cn_",
            Self::PaymentRecord => "pr_",
            Self::InvoiceItem => "ii_",
            Self::TaxId => "txi_",
        }
    }

    /// The path of its list.
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
            Self::CustomerBalanceTransaction => "/v1/customer_balance_transactions",
            Self::Coupon => "/v1/coupons",
            Self::PromotionCode => "/v1/promotion_codes",
            Self::Discount => "/v1/discounts",
            Self::PaymentLink => "/v1/payment_links",
            Self::Quote => "/v1/quotes",
            Self::CreditNote => "/v1/credit_notes",
            Self::PaymentRecord => "/v1/payment_records",
            Self::ThinEvent => "/v2/core/events",
            Self::InvoiceItem => "/v1/invoiceitems",
            Self::TaxId => "/v1/tax_ids",
        }
    }

    /// Whether its objects belong to a customer.
    pub fn names_customers(self) -> bool {
        static THESE: LazyLock<Vec<Kind>> = LazyLock::new(|| {
            let named = |kind: &Kind| kind.blank().get("customer").is_some();
            Kind::ALL.into_iter().filter(named).collect()
        });
        THESE.contains(&self)
    }

    /// Returns a blank object of this kind. Its `object` names the kind.
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
            Self::CustomerBalanceTransaction => credit::customer_balance_transaction(),
            Self::Coupon => discount::coupon(),
            Self::PromotionCode => discount::promotion_code(),
            Self::Discount => discount::discount(),
            Self::PaymentLink => offer::payment_link(),
            Self::Quote => offer::quote(),
            Self::CreditNote => credit::credit_note(),
            Self::PaymentRecord => payment_record::payment_record(),
            Self::ThinEvent => webhook::thin_event(),
            Self::InvoiceItem => invoice::invoice_item(),
            Self::TaxId => tax::tax_id(),
        }
    }
}
