//! A customer's record in responses. It has Stripe ids.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::Example;

use super::customer_lists::example_customer;
use super::licenses::LicenseRecord;
use crate::app::App;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers::{self, Record};
use crate::http::account::view::CustomerView;
use crate::http::sale::subscriptions::SubscriptionView;

/// A customer's subscription, with its Stripe id.
#[derive(Object)]
#[oai(rename = "SubscriptionRecord", example)]
struct SubscriptionRecord {
    /// The id of the subscription at Stripe.
    stripe_subscription_id: String,
    /// The subscription as the customer sees it.
    #[oai(flatten)]
    subscription: SubscriptionView,
}

impl Example for SubscriptionRecord {
    fn example() -> Self {
        Self {
            stripe_subscription_id: "sub_1QabcdEFGH".into(),
            subscription: SubscriptionView::example(),
        }
    }
}

impl SubscriptionRecord {
    fn new(row: SubscriptionRow, catalog: &Catalog) -> Self {
        Self {
            stripe_subscription_id: row.stripe_subscription_id.to_string(),
            subscription: SubscriptionView::new(row, catalog),
        }
    }
}

/// Everything that is stored about a customer.
#[derive(Object)]
#[oai(rename = "CustomerRecord", example)]
pub(super) struct RecordView {
    /// The id of the customer.
    customer_id: String,
    /// The customer.
    customer: CustomerView,
    /// The Stripe customer. `null` if there is none.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The Stripe customer in Stripe's dashboard.
    #[oai(nullable)]
    stripe_url: Option<String>,
    /// The changes that are not sent to Stripe yet: `synced`, `name_due`, `email_due` or `due`.
    /// `null` without a Stripe customer.
    #[oai(nullable)]
    stripe_sync_status: Option<String>,
    /// When the customer was last synced with Stripe.
    #[oai(nullable)]
    stripe_synced_at: Option<DateTime<Utc>>,
    /// The id of the default payment method at Stripe.
    #[oai(nullable)]
    default_payment_method: Option<String>,
    /// The subscription, as of the last sync.
    #[oai(nullable)]
    subscription: Option<SubscriptionRecord>,
    /// The current license.
    #[oai(nullable)]
    license: Option<LicenseRecord>,
    /// Free-form texts that support keeps.
    metadata: BTreeMap<String, String>,
}

impl Example for RecordView {
    fn example() -> Self {
        Self {
            customer_id: example_customer(),
            customer: CustomerView::example(),
            stripe_customer_id: Some("cus_Abc123".into()),
            stripe_url: Some("https://dashboard.stripe.com/customers/cus_Abc123".into()),
            stripe_sync_status: Some("synced".into()),
            stripe_synced_at: Some(Timestamp::saturating(1_795_186_800).to_datetime()),
            default_payment_method: Some("pm_1QabcdEFGH".into()),
            subscription: Some(SubscriptionRecord::example()),
            license: Some(LicenseRecord::example()),
            metadata: BTreeMap::from([("crm".into(), "4711".into())]),
        }
    }
}

impl RecordView {
    pub(super) fn new(record: Record, app: &App) -> Self {
        let now = app.now();
        let Record { customer, metadata, synced_at, default_payment_method, .. } = record;
        let (subscription, license) = (record.subscription, record.license);
        Self {
            customer_id: customer.customer_id.to_string(),
            metadata: metadata.values().clone(),
            stripe_customer_id: customer.stripe_customer_id.as_ref().map(ToString::to_string),
            stripe_url: customers::customer_url(app, &customer),
            stripe_sync_status: customer.stripe_sync_status.map(|status| status.to_string()),
            stripe_synced_at: synced_at.map(Timestamp::to_datetime),
            default_payment_method,
            subscription: subscription.map(|row| SubscriptionRecord::new(row, &app.plans)),
            license: license.map(|license| LicenseRecord::new(license, now)),
            customer: customer.into(),
        }
    }
}
