//! Previews and changes of the subscription, its cancellation and resumption. Responses have no
//! Stripe ids.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use super::subscriptions::{SubscriptionView, interval};
use crate::app::App;
use crate::domain::sale::change::ChangeRequest;
use crate::domain::sale::preview::{LineKind, PreviewLine};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flows::account::password;
use crate::flows::account::session::SignedIn;
use crate::flows::sale::change::{self, CancelAt};
use crate::flows::sale::preview::{self, Previewed};
use crate::http::Tag;
use crate::http::caller::{Buyer, Caller, Client};
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct ChangesApi;

documented!(PreviewCodes: UnknownPlan, InvalidQuantity, UnknownAddon, CurrencyNotSold,
    InvalidPromotionCode, NoSubscription, ChangeNotPossible, InvalidLicense, KeyRevoked, Revoked,
    TooManyRequests, BillingNotConfigured, BillingRefused, BillingUnavailable);
documented!(ChangeCodes: UnknownPlan, InvalidQuantity, UnknownAddon, CurrencyNotSold,
    InvalidPromotionCode, NoSubscription, ChangeNotPossible, PreviewOutdated, PaymentFailed,
    PaymentActionRequired, ResetRequired, TooManyRequests, BillingNotConfigured, BillingRefused,
    BillingUnavailable);
documented!(CancelCodes: NoSubscription, ChangeNotPossible, ResetRequired, TooManyRequests,
    BillingNotConfigured, BillingRefused, BillingUnavailable);
documented!(ResumeCodes: NoSubscription, ChangeNotPossible, PaymentFailed,
    PaymentActionRequired, ResetRequired, TooManyRequests, BillingNotConfigured, BillingRefused,
    BillingUnavailable);

/// A requested change of the subscription. A missing field keeps the present value.
#[derive(Object)]
#[oai(rename = "SubscriptionPreviewRequest", deny_unknown_fields, example)]
struct PreviewBody {
    /// The plan's id, from `GET /api/plans`.
    #[oai(skip_serializing_if_is_none)]
    plan: Option<String>,
    /// How often the price is charged: `month` or `year`.
    #[oai(skip_serializing_if_is_none)]
    interval: Option<String>,
    /// The number of units, for a plan that is sold by the unit.
    #[oai(
        validator(minimum(value = "1"), maximum(value = "1000000000")),
        skip_serializing_if_is_none
    )]
    quantity: Option<u32>,
    /// The ids of all add-ons. Those that are missing are removed. Each can be listed once.
    #[oai(validator(max_items = 100), skip_serializing_if_is_none)]
    addons: Option<Vec<String>>,
    /// A promotion code. It is refused while the subscription has a discount, or if the
    /// subscription had this code before.
    #[oai(validator(min_length = 1, max_length = 500), skip_serializing_if_is_none)]
    promotion_code: Option<String>,
    /// Whether to make the change although the license will have less than what the customer owns:
    /// 409 `change_not_possible` names what would be lost. Let the customer decide.
    #[oai(default, skip_serializing_if = "std::ops::Not::not")]
    accept_smaller: bool,
}

impl Example for PreviewBody {
    fn example() -> Self {
        Self {
            plan: None,
            interval: None,
            quantity: Some(8),
            addons: None,
            promotion_code: None,
            accept_smaller: false,
        }
    }
}

impl PreviewBody {
    fn into_request(self, client: &Client) -> Result<ChangeRequest, Error> {
        Ok(ChangeRequest {
            plan: self.plan,
            interval: interval(self.interval)?,
            quantity: self.quantity,
            addons: self.addons,
            promotion_code: client.entered(self.promotion_code),
            accept_smaller: self.accept_smaller,
        })
    }
}

/// A change of the subscription, as a preview showed it.
#[derive(Object)]
#[oai(rename = "SubscriptionChange", deny_unknown_fields, example)]
struct ChangeBody {
    /// The same value as in the preview.
    #[oai(skip_serializing_if_is_none)]
    plan: Option<String>,
    /// The same value as in the preview.
    #[oai(skip_serializing_if_is_none)]
    interval: Option<String>,
    /// The same value as in the preview.
    #[oai(
        validator(minimum(value = "1"), maximum(value = "1000000000")),
        skip_serializing_if_is_none
    )]
    quantity: Option<u32>,
    /// The same value as in the preview.
    #[oai(validator(max_items = 100), skip_serializing_if_is_none)]
    addons: Option<Vec<String>>,
    /// The same value as in the preview.
    #[oai(validator(min_length = 1, max_length = 500), skip_serializing_if_is_none)]
    promotion_code: Option<String>,
    /// The same value as in the preview.
    #[oai(default, skip_serializing_if = "std::ops::Not::not")]
    accept_smaller: bool,
    /// The id of the preview. It is valid for half an hour.
    #[oai(validator(max_length = 1000))]
    preview_id: String,
}

impl Example for ChangeBody {
    fn example() -> Self {
        Self {
            plan: None,
            interval: None,
            quantity: Some(8),
            addons: None,
            promotion_code: None,
            accept_smaller: false,
            preview_id: EXAMPLE_PREVIEW.into(),
        }
    }
}

/// The id of a preview in examples.
const EXAMPLE_PREVIEW: &str = "prev_eyJyZXF1ZXN0Ijoi.b3JpZ2luYWw";

/// The part of an invoice that a line shows.
#[derive(Enum)]
#[oai(rename = "PreviewLineKind", rename_all = "snake_case")]
enum LineKindView {
    /// A line of the invoice.
    Item,
    /// The discounts.
    Discount,
    /// The tax that is added.
    Tax,
    /// The lines that are not listed.
    Other,
    /// The part that the customer's balance pays, or that is credited to it.
    Balance,
}

impl From<LineKind> for LineKindView {
    fn from(kind: LineKind) -> Self {
        match kind {
            LineKind::Item => Self::Item,
            LineKind::Discount => Self::Discount,
            LineKind::Tax => Self::Tax,
            LineKind::Other => Self::Other,
            LineKind::Balance => Self::Balance,
        }
    }
}

/// One line of a preview.
#[derive(Object)]
#[oai(rename = "PreviewLine", example)]
struct LineView {
    /// The kind of the line.
    kind: LineKindView,
    /// The description: that of the payment provider for an `item`, and an English one otherwise.
    text: String,
    /// The amount in the smallest unit of the currency, for example cents. Negative for a credit.
    amount: i64,
}

impl Example for LineView {
    fn example() -> Self {
        let text = "Remaining time on 8 × Team after 29 Nov 2026".into();
        Self { kind: LineKindView::Item, text, amount: 4000 }
    }
}

/// The cost of a change of the subscription.
#[derive(Object)]
#[oai(rename = "Preview", example)]
struct PreviewView {
    /// The currency (ISO 4217), in lower case.
    currency: String,
    /// The amount due at once, with tax, in the smallest unit of the currency.
    due_now: i64,
    /// The lines, which add up to `due_now`.
    lines: Vec<LineView>,
    /// The amount of the next invoice, with tax and without the discounts that end before it.
    /// `null` if none follows, or if the amount depends on a discount that ends before and cannot
    /// be previewed.
    #[oai(nullable)]
    next_amount: Option<i64>,
    /// The time of the next invoice. `null` if none follows.
    #[oai(nullable)]
    next_date: Option<DateTime<Utc>>,
    /// The id that `POST /api/subscriptions/change` takes. It is valid for half an hour.
    preview_id: String,
}

impl Example for PreviewView {
    fn example() -> Self {
        let unused = "Unused time on 5 × Team after 29 Nov 2026";
        Self {
            currency: "usd".into(),
            due_now: 1500,
            lines: vec![
                LineView { kind: LineKindView::Item, text: unused.into(), amount: -2500 },
                LineView::example(),
            ],
            next_amount: Some(8000),
            next_date: Some(Timestamp::saturating(1_797_778_800).to_datetime()),
            preview_id: EXAMPLE_PREVIEW.into(),
        }
    }
}

impl From<PreviewLine> for LineView {
    fn from(PreviewLine { kind, text, amount }: PreviewLine) -> Self {
        Self { kind: kind.into(), text, amount }
    }
}

impl From<Previewed> for PreviewView {
    fn from(Previewed { preview, currency, preview_id }: Previewed) -> Self {
        let lines = preview.lines.into_iter();
        Self {
            currency,
            due_now: preview.due_now,
            lines: lines.map(LineView::from).collect(),
            next_amount: preview.next_amount,
            next_date: preview.next_date.map(Timestamp::to_datetime),
            preview_id,
        }
    }
}

/// The time at which a subscription is to end.
#[derive(Enum)]
#[oai(rename = "CancelAt", rename_all = "snake_case")]
enum CancelAtView {
    /// At the end of the paid period.
    PeriodEnd,
    /// At once, without a refund.
    Now,
}

/// A cancellation.
#[derive(Object)]
#[oai(rename = "Cancellation", deny_unknown_fields, example)]
struct CancelBody {
    /// When the subscription ends: `period_end`, or `now` without a refund.
    at: CancelAtView,
}

impl Example for CancelBody {
    fn example() -> Self {
        Self { at: CancelAtView::PeriodEnd }
    }
}

/// Limits and refuses a caller who may not change the subscription.
fn check(throttle: &Throttle, caller: &SignedIn) -> Result<(), Error> {
    throttle.billing(&caller.customer.customer_id)?;
    password::refuse_if_reset_required(&caller.customer)
}

#[OpenApi(prefix_path = "/api/subscriptions", tag = "Tag::Subscriptions")]
impl ChangesApi {
    /// Preview a change
    ///
    /// Returns what another plan, interval, number of units or set of add-ons costs, to the cent,
    /// or what a promotion code saves. Nothing is changed. An app without a login session sends its
    /// license token.
    #[oai(path = "/preview", method = "post", operation_id = "previewChange")]
    async fn preview(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        buyer: Buyer,
        client: Client,
        Input(body): Input<PreviewBody>,
    ) -> Result<Json<PreviewView>, Failure<PreviewCodes>> {
        let customer = buyer.customer(app).await?;
        throttle.billing(&customer.customer_id)?;
        let request = body.into_request(&client)?;
        Ok(Json(preview::preview(app, &customer, &request).await?.into()))
    }

    /// Change my subscription
    ///
    /// Makes the change of a preview, and charges the previewed amount. Send the same request with
    /// the `preview_id`. More is licensed only once it is paid: if the payment fails, or the
    /// customer must confirm it, the response is a 402 with `payment_url`, and the change takes
    /// effect when the customer has paid there. If the response was lost, send the same request
    /// again.
    #[oai(path = "/change", method = "post", operation_id = "changeSubscription")]
    async fn change(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        Caller(caller): Caller,
        client: Client,
        Input(body): Input<ChangeBody>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<SubscriptionView>, Failure<ChangeCodes>> {
        check(throttle, &caller)?;
        let customer_id = &caller.customer.customer_id;
        let ChangeBody {
            plan,
            interval,
            quantity,
            addons,
            promotion_code,
            accept_smaller,
            preview_id,
        } = body;
        let body = PreviewBody { plan, interval, quantity, addons, promotion_code, accept_smaller };
        let request = body.into_request(&client)?;
        once.begin(app, Some(customer_id)).await?;
        let row = change::change(app, customer_id, request, &preview_id).await?;
        Ok(Json(SubscriptionView::new(row, &app.plans)))
    }

    /// Cancel my subscription
    ///
    /// Lets the subscription end with the paid period, or at once and without a refund. One that
    /// was paused at the end of its trial ends at once: nothing is paid. `POST
    /// /api/subscriptions/resume` undoes a scheduled end.
    #[oai(path = "/cancel", method = "post", operation_id = "cancelSubscription")]
    async fn cancel(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        Caller(caller): Caller,
        Input(request): Input<CancelBody>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<SubscriptionView>, Failure<CancelCodes>> {
        check(throttle, &caller)?;
        let customer_id = &caller.customer.customer_id;
        once.begin(app, Some(customer_id)).await?;
        let at = match request.at {
            CancelAtView::PeriodEnd => CancelAt::PeriodEnd,
            CancelAtView::Now => CancelAt::Now,
        };
        let row = change::cancel(app, customer_id, at).await?;
        Ok(Json(SubscriptionView::new(row, &app.plans)))
    }

    /// Resume my subscription
    ///
    /// Undoes a scheduled end, or resumes a paused subscription. That is charged: if the payment
    /// fails, or there is no payment method, the response is a 402 with `payment_url`.
    #[oai(path = "/resume", method = "post", operation_id = "resumeSubscription")]
    async fn resume(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        Caller(caller): Caller,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<SubscriptionView>, Failure<ResumeCodes>> {
        check(throttle, &caller)?;
        let customer_id = &caller.customer.customer_id;
        once.begin(app, Some(customer_id)).await?;
        let row = change::resume(app, customer_id).await?;
        Ok(Json(SubscriptionView::new(row, &app.plans)))
    }
}
