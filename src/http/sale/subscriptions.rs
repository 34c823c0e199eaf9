//! Checkout, the current subscription, and the customer portal. Responses have no Stripe ids.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::domain::sale::plan::{Catalog, Currency, Interval};
use crate::domain::sale::selection::PurchaseRequest;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flows::account::password;
use crate::flows::sale::checkout::{self, CheckoutRequest};
use crate::flows::sale::subscription;
use crate::http::Tag;
use crate::http::caller::{Buyer, Caller, Client};
use crate::http::idempotency::Once;
use crate::http::input::{Input, OptionalInput};
use crate::http::openapi::EXAMPLE_ORIGIN;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct SubscriptionsApi;

documented!(CheckoutCodes: NotFound, UnknownPlan, InvalidQuantity, UnknownAddon, CurrencyNotSold,
    CurrencyPinned, InvalidPromotionCode, LowerThanOwned, NoPerpetualLicense, InvalidReturnUrl,
    AlreadySubscribed,
    PaymentUnderWay, InvalidLicense, KeyRevoked, Revoked, TooManyRequests, BillingNotConfigured,
    BillingRefused, BillingUnavailable);
documented!(CurrentCodes: NotFound);
documented!(PortalCodes: NotFound, InvalidReturnUrl, InvalidLicense, KeyRevoked, Revoked,
    ResetRequired, TooManyRequests, BillingNotConfigured, BillingRefused, BillingUnavailable);

/// A request for a checkout.
#[derive(Object)]
#[oai(rename = "Checkout", deny_unknown_fields, example)]
struct CheckoutBody {
    /// The plan's id, from `GET /api/plans`.
    plan: String,
    /// How often the price is charged: `month`, `year`, `once` for a perpetual license, or
    /// `updates` for newer builds of one. The default is the first of `month`, `year` and `once`
    /// that the plan has.
    #[oai(skip_serializing_if_is_none)]
    interval: Option<String>,
    /// The currency (ISO 4217), in lower case. The default is that of earlier purchases, or else
    /// the plan's first.
    #[oai(validator(max_length = 3), skip_serializing_if_is_none)]
    currency: Option<String>,
    /// The number of units, for a plan that is sold by the unit. The default is the fewest.
    /// `updates` are always for all units of the license: leave it out. Add-ons are sold alone if
    /// the customer has a perpetual license for the plan that was paid for, `interval` is `once`
    /// (or left out, and that is the plan's default), and there is no quantity or the plan cannot
    /// be bought again.
    #[oai(
        validator(minimum(value = "1"), maximum(value = "1000000000")),
        skip_serializing_if_is_none
    )]
    quantity: Option<u32>,
    /// The ids of add-ons. Each can be listed once.
    #[oai(validator(max_items = 100), default, skip_serializing_if_is_empty)]
    addons: Vec<String>,
    /// Whether to sell it although the license will have less than now, or less after the end of
    /// the subscription: 409 `lower_than_owned` names what would be lost. Let the customer decide.
    #[oai(default, skip_serializing_if = "std::ops::Not::not")]
    accept_smaller: bool,
    /// A promotion code. Without one, buyers can enter one on the page if the vendor allows it.
    #[oai(validator(min_length = 1, max_length = 500), skip_serializing_if_is_none)]
    promotion_code: Option<String>,
    /// The page to return to after the payment. Its origin must be allowed.
    #[oai(validator(max_length = 2000))]
    success_url: String,
    /// The page to return to if the customer cancels. Its origin must be allowed.
    #[oai(validator(max_length = 2000))]
    cancel_url: String,
    /// The caller's own customer id. Optional.
    #[oai(skip_serializing_if_is_none)]
    customer_id: Option<String>,
}

impl Example for CheckoutBody {
    fn example() -> Self {
        Self {
            plan: "professional".into(),
            interval: Some("month".into()),
            currency: None,
            quantity: None,
            addons: Vec::new(),
            accept_smaller: false,
            promotion_code: None,
            success_url: format!("{EXAMPLE_ORIGIN}/docs"),
            cancel_url: format!("{EXAMPLE_ORIGIN}/docs"),
            customer_id: None,
        }
    }
}

/// An open Checkout session.
#[derive(Object)]
#[oai(example)]
struct CheckoutOpened {
    /// The payment page. Open it in a browser. It is valid for a day; repeating the request returns
    /// the same page.
    checkout_url: String,
}

impl Example for CheckoutOpened {
    fn example() -> Self {
        Self { checkout_url: "https://checkout.stripe.com/c/pay/cs_test_a1b2c3".into() }
    }
}

/// A request for the customer portal.
#[derive(Object)]
#[oai(rename = "Portal", deny_unknown_fields, example)]
struct PortalBody {
    /// The page to return to. Its origin must be allowed. The default is this server.
    #[oai(validator(max_length = 2000), skip_serializing_if_is_none)]
    return_url: Option<String>,
}

impl Example for PortalBody {
    fn example() -> Self {
        Self { return_url: Some(format!("{EXAMPLE_ORIGIN}/docs")) }
    }
}

/// A link to the customer portal.
#[derive(Object)]
#[oai(example)]
struct PortalOpened {
    /// The portal page. Open it in a browser soon: the link expires.
    portal_url: String,
}

impl Example for PortalOpened {
    fn example() -> Self {
        Self { portal_url: "https://billing.stripe.com/p/session/test_a1b2c3".into() }
    }
}

/// A subscription.
#[derive(Object)]
#[oai(rename = "Subscription", example)]
pub struct SubscriptionView {
    /// The plan's id. `null` if no plan has the price of the subscription.
    #[oai(nullable)]
    plan: Option<String>,
    /// The number of units. `null` until the next sync with the payment provider.
    #[oai(nullable)]
    quantity: Option<u32>,
    /// How often the price is charged: `month` or `year`. `null` for a former price.
    #[oai(nullable)]
    interval: Option<String>,
    /// The ids of the add-ons.
    addons: Vec<String>,
    /// The currency (ISO 4217), in lower case. `null` until the next sync with the payment
    /// provider.
    #[oai(nullable)]
    currency: Option<String>,
    /// Whether a change waits for its payment. Until then, the subscription is as before.
    payment_pending: bool,
    /// The status: `trialing`, `active`, `past_due`, `incomplete`, `incomplete_expired`, `unpaid`,
    /// `canceled` or `paused`.
    status: String,
    /// The end of the current period.
    #[oai(nullable)]
    current_period_end: Option<DateTime<Utc>>,
    /// When the subscription ends, if it was canceled.
    #[oai(nullable)]
    cancel_at: Option<DateTime<Utc>>,
    /// The end of a trial at the payment provider.
    #[oai(nullable)]
    trial_end: Option<DateTime<Utc>>,
    /// When the subscription was created.
    created_at: DateTime<Utc>,
    /// When this subscription last changed here.
    updated_at: DateTime<Utc>,
}

impl Example for SubscriptionView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            plan: Some("professional".into()),
            quantity: Some(1),
            interval: Some("month".into()),
            addons: Vec::new(),
            currency: Some("usd".into()),
            payment_pending: false,
            status: "active".into(),
            current_period_end: Some(time(1_797_778_800)),
            cancel_at: None,
            trial_end: None,
            created_at: time(1_795_186_800),
            updated_at: time(1_795_186_800),
        }
    }
}

impl SubscriptionView {
    /// Returns the subscription of a row.
    pub fn new(row: SubscriptionRow, catalog: &Catalog) -> Self {
        let time = |time: Option<Timestamp>| time.map(Timestamp::to_datetime);
        let billed = row.billed(catalog);
        Self {
            plan: row.plan_id(catalog),
            quantity: billed.quantity,
            interval: billed.interval.map(|interval| interval.to_string()),
            addons: billed.addons.texts(),
            currency: row.currency,
            payment_pending: row.pending_until.is_some(),
            status: row.status.to_string(),
            current_period_end: time(row.current_period_end),
            cancel_at: time(row.cancel_at),
            trial_end: time(row.trial_end),
            created_at: row.created_at.to_datetime(),
            updated_at: row.updated_at.to_datetime(),
        }
    }
}

/// Returns the interval of a request.
pub(super) fn interval(text: Option<String>) -> Result<Option<Interval>, Error> {
    text.map(|text| text.parse()).transpose().map_err(|_| Error::UnknownPlan)
}

/// Returns the currency of a request.
fn currency(text: Option<String>) -> Result<Option<Currency>, Error> {
    let currency = text.map(|text| text.parse::<Currency>()).transpose();
    currency.map_err(|problem| Error::InvalidRequest(format!("`currency`: {problem}")))
}

#[OpenApi(prefix_path = "/api/subscriptions", tag = "Tag::Subscriptions")]
impl SubscriptionsApi {
    /// Buy a plan
    ///
    /// Returns the URL of a payment page. After the payment, the customer gets a new license by
    /// mail, and `GET /api/licenses/current` returns it. Repeating the request returns the same
    /// Checkout session; a different request closes it.
    ///
    /// An app without a login session sends its license token instead. Like at `POST
    /// /api/licenses/refresh`, it may have expired.
    #[oai(path = "/checkout", method = "post", operation_id = "openCheckout")]
    async fn checkout(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        buyer: Buyer,
        client: Client,
        Input(request): Input<CheckoutBody>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<CheckoutOpened>, Failure<CheckoutCodes>> {
        let customer_id = buyer.customer(app).await?.customer_id;
        throttle.billing(&customer_id)?;
        let own = customer_id.as_str();
        if request.customer_id.is_some_and(|id| id != own) {
            return Err(Error::NotFound("customer").into());
        }
        let checkout = CheckoutRequest {
            purchase: PurchaseRequest {
                plan: request.plan,
                interval: interval(request.interval)?,
                currency: currency(request.currency)?,
                quantity: request.quantity,
                addons: request.addons,
                accept_smaller: request.accept_smaller,
            },
            promotion_code: client.entered(request.promotion_code),
            success_url: request.success_url,
            cancel_url: request.cancel_url,
        };
        once.begin(app, Some(&customer_id)).await?;
        let checkout_url = checkout::open(app, &customer_id, checkout).await?;
        Ok(Json(CheckoutOpened { checkout_url }))
    }

    /// Get my subscription
    ///
    /// Returns the current subscription, as of the last sync with the payment provider. Whether an
    /// app may run depends on the license, not on this status.
    #[oai(path = "/current", method = "get", operation_id = "getCurrentSubscription")]
    async fn current(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> Result<Json<SubscriptionView>, Failure<CurrentCodes>> {
        let row = subscription::current(app, &caller).await?;
        Ok(Json(SubscriptionView::new(row, &app.plans)))
    }

    /// Open the customer portal
    ///
    /// Returns the URL of a page where the customer can change the plan, cancel, see invoices and
    /// change the payment method. The body is optional. An app without a login session sends its
    /// license token.
    #[oai(path = "/portal", method = "post", operation_id = "openPortal")]
    async fn portal(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        buyer: Buyer,
        OptionalInput(request): OptionalInput<PortalBody>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<PortalOpened>, Failure<PortalCodes>> {
        let customer = buyer.customer(app).await?;
        throttle.billing(&customer.customer_id)?;
        // The flow checks it too; here it is for a kept response.
        password::refuse_if_reset_required(&customer)?;
        once.begin(app, Some(&customer.customer_id)).await?;
        let return_url = request.and_then(|request| request.return_url);
        let portal_url = subscription::portal_for_owner(app, &customer, return_url).await?;
        Ok(Json(PortalOpened { portal_url }))
    }
}
