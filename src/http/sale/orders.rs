//! The customer's orders. Responses have no Stripe ids.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use crate::app::App;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::time::Timestamp;
use crate::flows::sale::order;
use crate::http::Tag;
use crate::http::caller::Caller;
use crate::http::problem::{Failure, NothingMore};

pub struct OrdersApi;

/// The maximum number of orders in one response: monthly payments of more than twenty years.
const MAX_ORDERS: i64 = 300;

/// The status of an order.
#[derive(Enum)]
#[oai(rename = "OrderStatus", rename_all = "snake_case")]
pub enum OrderStatusView {
    /// Not paid yet.
    Pending,
    /// Paid.
    Succeeded,
    /// The payment failed, or the Checkout session expired.
    Failed,
    /// Paid and fully refunded.
    Refunded,
    /// Paid, and then disputed by the customer's bank.
    Disputed,
}

impl From<OrderStatus> for OrderStatusView {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Succeeded => Self::Succeeded,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::Refunded => Self::Refunded,
            OrderStatus::Disputed => Self::Disputed,
        }
    }
}

/// An order. There is one for each payment. A checkout creates it before the payment; for
/// renewals, changes and payment links, it appears with the invoice.
#[derive(Object)]
#[oai(rename = "Order", example)]
pub struct OrderView {
    /// The id of the order.
    order_id: String,
    /// The plan's id.
    plan: String,
    /// How often the price is charged: `month`, `year`, `once` or `updates`. `null` if it is not
    /// known.
    #[oai(nullable)]
    interval: Option<String>,
    /// The number of units of the plan. `null` if it is not known, or if the order is only for
    /// add-ons.
    #[oai(nullable)]
    quantity: Option<u32>,
    /// The ids of the add-ons.
    addons: Vec<String>,
    /// The amount with taxes, in the smallest unit of the currency, for example cents.
    amount: i64,
    /// The part of the amount that is tax. `null` if it is not known.
    #[oai(nullable)]
    tax: Option<i64>,
    /// The sum of the discounts. `null` if it is not known.
    #[oai(nullable)]
    discount: Option<i64>,
    /// The part of the amount that was returned: refunded, credited, or taken by a dispute.
    refunded_amount: i64,
    /// The currency (ISO 4217), in lower case.
    currency: String,
    /// The status.
    status: OrderStatusView,
    /// The payment provider's page of the invoice, where it can be paid and downloaded. It
    /// expires after 30 days or more.
    #[oai(nullable)]
    invoice_url: Option<String>,
    /// The payment provider's page of the receipt. It expires after 30 days.
    #[oai(nullable)]
    receipt_url: Option<String>,
    /// When the order was created.
    created_at: DateTime<Utc>,
    /// When the order was paid.
    #[oai(nullable)]
    purchased_at: Option<DateTime<Utc>>,
}

impl Example for OrderView {
    fn example() -> Self {
        let time = Timestamp::saturating(1_795_186_800).to_datetime();
        Self {
            order_id: "ord_0123456789abcdef0123456789abcdef".into(),
            plan: "professional".into(),
            interval: Some("month".into()),
            quantity: Some(1),
            addons: Vec::new(),
            amount: 4900,
            tax: Some(0),
            discount: Some(0),
            refunded_amount: 0,
            currency: "usd".into(),
            status: OrderStatusView::Succeeded,
            invoice_url: Some("https://invoice.stripe.com/i/acct_1/test_1?s=ap".into()),
            receipt_url: Some("https://pay.stripe.com/receipts/payment/test_1".into()),
            created_at: time,
            purchased_at: Some(time),
        }
    }
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            order_id: order.order_id.to_string(),
            plan: order.plan,
            interval: order.billing_interval.map(|interval| interval.to_string()),
            quantity: order.quantity,
            addons: order.addons.map(|addons| addons.texts()).unwrap_or_default(),
            amount: order.amount,
            tax: order.tax,
            discount: order.discount,
            refunded_amount: order.returned,
            currency: order.currency,
            status: order.status.into(),
            invoice_url: order.invoice_url.map(|url| url.to_string()),
            receipt_url: order.receipt_url.map(|url| url.to_string()),
            created_at: order.created_at.to_datetime(),
            purchased_at: order.purchased_at.map(Timestamp::to_datetime),
        }
    }
}

/// A customer's orders.
#[derive(Object)]
struct Orders {
    /// The orders, newest first.
    orders: Vec<OrderView>,
}

#[OpenApi(prefix_path = "/api/orders", tag = "Tag::Subscriptions")]
impl OrdersApi {
    /// List my orders
    ///
    /// Returns the caller's orders, newest first. There is one for each payment.
    #[oai(path = "/", method = "get", operation_id = "listOrders")]
    async fn list(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
        /// The maximum number of orders to return.
        #[oai(
            default = "max_orders",
            example = "max_orders",
            validator(minimum(value = "1"), maximum(value = "300"))
        )]
        limit: Query<i64>,
    ) -> Result<Json<Orders>, Failure<NothingMore>> {
        let orders = order::list(app, &caller, limit.0).await?;
        Ok(Json(Orders { orders: orders.into_iter().map(OrderView::from).collect() }))
    }
}

fn max_orders() -> i64 {
    MAX_ORDERS
}
