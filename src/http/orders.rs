//! What a customer paid for. Stripe's ids stay inside.

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use super::Tag;
use super::caller::Caller;
use super::problem::{Failure, NothingMore};
use crate::app::App;
use crate::domain::invoice::OrderStatus;
use crate::domain::order::Order;
use crate::domain::time::Timestamp;
use crate::flows::order;

pub struct OrdersApi;

/// The most orders in one answer: more than twenty years of months.
const MAX_ORDERS: i64 = 300;

/// Where an order stands.
#[derive(Enum)]
#[oai(rename = "OrderStatus", rename_all = "snake_case")]
enum OrderStatusView {
    /// Not paid yet.
    Pending,
    /// Paid.
    Succeeded,
    /// Not paid: the payment failed, or the checkout was left.
    Failed,
    /// Paid, and all of it given back.
    Refunded,
    /// Paid, and disputed by the customer's bank.
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

/// An order: one for each payment, from the checkout that asks for it on.
#[derive(Object)]
#[oai(rename = "Order", example)]
struct OrderView {
    /// Its id.
    order_id: String,
    /// The plan's id.
    plan: String,
    /// In the currency's smallest unit, for example cents.
    amount: i64,
    /// ISO 4217, lower case.
    currency: String,
    /// Where it stands.
    status: OrderStatusView,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was paid.
    #[oai(nullable)]
    purchased_at: Option<DateTime<Utc>>,
}

impl Example for OrderView {
    fn example() -> Self {
        let time = Timestamp::saturating(1_795_186_800).to_datetime();
        Self {
            order_id: "ord_0123456789abcdef0123456789abcdef".into(),
            plan: "professional".into(),
            amount: 4900,
            currency: "usd".into(),
            status: OrderStatusView::Succeeded,
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
            amount: order.amount,
            currency: order.currency,
            status: order.status.into(),
            created_at: order.created_at.to_datetime(),
            purchased_at: order.purchased_at.map(Timestamp::to_datetime),
        }
    }
}

/// A customer's orders.
#[derive(Object)]
struct Orders {
    /// The newest first.
    orders: Vec<OrderView>,
}

#[OpenApi(prefix_path = "/api/orders", tag = "Tag::Subscriptions")]
impl OrdersApi {
    /// List the own orders
    ///
    /// One for each payment, the newest first.
    #[oai(path = "/", method = "get", operation_id = "listOrders")]
    async fn list(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
        /// How many to answer at the most.
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
