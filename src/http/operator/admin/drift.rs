//! The drift report. Its responses have Stripe ids.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{AdminCodes, permit};
use crate::app::App;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::queue::Backlog;
use crate::domain::sale::buyer::{BuyerId, UnknownBuyer};
use crate::domain::time::Timestamp;
use crate::flows::operator::drift::{self, Drift};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::problem::Failure;
use crate::http::throttle::Throttle;

pub struct DriftApi;

/// A customer that paid for a plan and has no working license.
#[derive(Object)]
#[oai(rename = "PaidWithoutLicense", example)]
struct PaidWithoutLicenseView {
    /// The id of the customer.
    customer_id: String,
    /// The plan's id. `null` if no plan has the price of the subscription.
    #[oai(nullable)]
    plan: Option<String>,
    /// The status of the subscription. `null` after a single payment.
    #[oai(nullable)]
    status: Option<String>,
    /// The end of the paid period. `null` after a single payment.
    #[oai(nullable)]
    current_period_end: Option<DateTime<Utc>>,
}

impl Example for PaidWithoutLicenseView {
    fn example() -> Self {
        Self {
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            plan: Some("professional".into()),
            status: Some("active".into()),
            current_period_end: Some(Timestamp::saturating(1_797_778_800).to_datetime()),
        }
    }
}

/// The backlog of a queue.
#[derive(Object)]
#[oai(rename = "Backlog")]
struct BacklogView {
    /// The number of entries that are still to be processed, including retries.
    waiting: i64,
    /// The number of entries that were given up. An operator must check them.
    given_up: i64,
}

impl From<Backlog> for BacklogView {
    fn from(backlog: Backlog) -> Self {
        Self { waiting: backlog.waiting, given_up: backlog.given_up }
    }
}

/// A reconciliation of all customers with Stripe.
#[derive(Object)]
#[oai(rename = "Reconciliation")]
struct ReconciliationView {
    /// When it finished.
    at: DateTime<Utc>,
    /// The number of customers that were compared.
    checked: usize,
    /// The number of customers that had drifted and were repaired.
    drifted: usize,
    /// The number of customers that could not be compared.
    failed: usize,
    /// The number of customers that need an action by an operator: they pay twice, or pay a price
    /// that no plan has. `licentia reconcile` lists them.
    left: usize,
}

/// A buyer who pays for a plan and is not linked to a customer: a Stripe customer or a guest. One
/// of the two ids is null. `licentia stripe claim` links the buyer.
#[derive(Object)]
#[oai(rename = "UnknownBuyer", example)]
struct UnknownBuyerView {
    /// The Stripe customer.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The Checkout session of a guest, for whom Stripe has no customer.
    #[oai(nullable)]
    stripe_checkout_session_id: Option<String>,
    /// The plan's id.
    plan: String,
    /// When the purchase was first detected.
    first_seen_at: DateTime<Utc>,
}

impl From<UnknownBuyer> for UnknownBuyerView {
    fn from(UnknownBuyer { buyer_id, plan, first_seen_at }: UnknownBuyer) -> Self {
        let (customer, session) = match buyer_id {
            BuyerId::Customer(id) => (Some(id.to_string()), None),
            BuyerId::Session(id) => (None, Some(id.to_string())),
        };
        Self {
            stripe_customer_id: customer,
            stripe_checkout_session_id: session,
            plan,
            first_seen_at: first_seen_at.to_datetime(),
        }
    }
}

impl Example for UnknownBuyerView {
    fn example() -> Self {
        Self {
            stripe_customer_id: Some("cus_Abc123".into()),
            stripe_checkout_session_id: None,
            plan: "professional".into(),
            first_seen_at: Timestamp::saturating(1_795_186_800).to_datetime(),
        }
    }
}

/// The state of the service compared with Stripe.
#[derive(Object)]
#[oai(rename = "Drift", example)]
struct DriftView {
    /// The number of customers that paid for a plan, by a subscription or by a single payment, and
    /// have no working license.
    paid_customers_without_license: i64,
    /// The first hundred of these customers.
    customers: Vec<PaidWithoutLicenseView>,
    /// The number of buyers who pay for a plan and are not linked to a customer. They bought by a
    /// payment link, a quote or the dashboard.
    unknown_buyers: i64,
    /// The first hundred of these buyers.
    buyers: Vec<UnknownBuyerView>,
    /// The inbox: events from Stripe.
    events: BacklogView,
    /// The outbox: mails.
    mails: BacklogView,
    /// The last reconciliation by any server or command. `null` if there was none.
    #[oai(nullable)]
    compared: Option<ReconciliationView>,
}

impl Example for DriftView {
    fn example() -> Self {
        let at = Timestamp::saturating(1_795_186_800).to_datetime();
        Self {
            paid_customers_without_license: 0,
            customers: Vec::new(),
            unknown_buyers: 0,
            buyers: Vec::new(),
            events: BacklogView { waiting: 2, given_up: 0 },
            mails: BacklogView { waiting: 1, given_up: 0 },
            compared: Some(ReconciliationView {
                at,
                checked: 1200,
                drifted: 0,
                failed: 0,
                left: 0,
            }),
        }
    }
}

impl From<Drift> for DriftView {
    fn from(drift: Drift) -> Self {
        let customers = drift.customers.into_iter().map(|row| PaidWithoutLicenseView {
            customer_id: row.customer_id.to_string(),
            plan: row.plan,
            status: row.status.map(|status| status.to_string()),
            current_period_end: row.current_period_end.map(Timestamp::to_datetime),
        });
        let buyers = drift.buyers.into_iter().map(UnknownBuyerView::from);
        Self {
            unknown_buyers: drift.unknown_buyers,
            buyers: buyers.collect(),
            paid_customers_without_license: drift.paid_without_license,
            customers: customers.collect(),
            events: drift.events.into(),
            mails: drift.mails.into(),
            compared: drift.compared.map(|(at, result)| ReconciliationView {
                at: at.to_datetime(),
                checked: result.checked,
                drifted: result.drifted,
                failed: result.failed,
                left: result.need_action,
            }),
        }
    }
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl DriftApi {
    /// Get the drift report
    ///
    /// Returns the customers that paid for a plan and have no working license, the unknown buyers,
    /// the backlog of events and mails, and the result of the last reconciliation with Stripe. The
    /// normal number of customers is 0; the metric `licentia_paid_customers_without_license` shows
    /// it without a key. `licentia reconcile` repairs drift. Needs the scope `read`.
    #[oai(path = "/drift", method = "get", operation_id = "getDrift")]
    async fn drift(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
    ) -> Result<Json<DriftView>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::GetDrift, Target::Service).await?;
        Ok(Json(drift::report(app).await?.into()))
    }
}
