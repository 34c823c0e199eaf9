//! Orders: one for each payment. A checkout begins one, an invoice of Stripe's says what became of it,
//! and each renewal is one more.

use crate::app::App;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::invoice::{Invoice, InvoiceStatus, OrderStatus};
use crate::domain::order::Order;
use crate::domain::plan::Catalog;
use crate::domain::stripe_ids::InvoiceId;
use crate::domain::subscription::{Seen, Status};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::session::SignedIn;
use crate::flows::sync::{Found, MAX_ORDERS};
use crate::store::Tx;
use crate::stripe::SessionStatus;

/// The caller's orders, the newest first, `most` at the most.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &SignedIn, most: i64) -> Result<Vec<Order>> {
    app.store.read().await?.orders_of(&caller.customer.customer_id, most).await
}

/// Brings a customer's orders in line with what was found. Answers what changed, in words.
pub(super) async fn write(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    found: &Found,
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut changes = Vec::new();
    let mut orders = tx.orders_to_settle(id, MAX_ORDERS).await?;
    for session in &found.sessions {
        let of_session =
            |order: &Order| order.stripe_checkout_session_id.as_ref() == Some(&session.id);
        let Some(place) = orders.iter().position(of_session) else { continue };
        if let Some(invoice) = session.first_invoice(&found.seen) {
            adopt(tx, &mut orders, place, invoice).await?;
        }
        if session.status == SessionStatus::Expired {
            let was = Some(orders[place].status);
            let order = Order { status: OrderStatus::Failed, ..orders[place].clone() };
            changes.extend(put(tx, &mut orders[place], was, order, now).await?);
        }
    }
    for invoice in &found.seen.invoices {
        let Some(status) = invoice.order_status() else { continue };
        let known = orders.iter_mut().find(|o| o.stripe_invoice_id.as_ref() == Some(&invoice.id));
        let (before, was) = match known {
            Some(order) => {
                let was = Some(order.status);
                (order, was)
            }
            None => {
                let (order, was) = match tx.order_of_invoice(&invoice.id).await? {
                    // Too long ago to be among those looked at.
                    Some(order) if order.customer_id.as_ref() == Some(id) => {
                        let was = Some(order.status);
                        (order, was)
                    }
                    // Of an account that was deleted, whose counterpart this one has now.
                    Some(order) if order.customer_id.is_none() => {
                        (Order { customer_id: Some(id.clone()), ..order }, None)
                    }
                    Some(_) => continue,
                    None => match plan_of(invoice, &found.seen, &app.plans) {
                        Some(plan) => (new(app, id, invoice, plan, now), None),
                        None => continue,
                    },
                };
                orders.push(order);
                let Some(order) = orders.last_mut() else { continue };
                (order, was)
            }
        };
        let after = Order {
            amount: invoice.amount,
            currency: invoice.currency.clone(),
            status: unless_it_failed(status, invoice, &found.seen),
            stripe_payment_intent_id: invoice.payment_intent.clone(),
            // A checkout may be written down after it was paid, or by a clock that is ahead.
            created_at: before.created_at.min(invoice.created),
            purchased_at: invoice.paid_at.or(before.purchased_at),
            ..before.clone()
        };
        changes.extend(put(tx, before, was, after, now).await?);
    }
    Ok(changes)
}

/// Writes an order if it changed. `was` is where it stood; none for a new one. Answers the change, in words.
async fn put(
    tx: &mut Tx,
    before: &mut Order,
    was: Option<OrderStatus>,
    after: Order,
    now: Timestamp,
) -> Result<Option<String>> {
    if was.is_some() && *before == after {
        return Ok(None);
    }
    let change = if was == Some(after.status) {
        format!("order {}: its details", before.order_id)
    } else {
        let was = was.map_or("none", OrderStatus::as_str);
        format!("order {}: {was} -> {}", before.order_id, after.status)
    };
    *before = Order { updated_at: now, ..after };
    tx.put_order(before).await?;
    Ok(Some(change))
}

/// Gives the order of a checkout its invoice. If an earlier look made an order of that invoice, the
/// two become one.
async fn adopt(tx: &mut Tx, orders: &mut [Order], place: usize, invoice: &InvoiceId) -> Result<()> {
    let other = orders.iter().position(|o| o.stripe_invoice_id.as_ref() == Some(invoice));
    if let Some(other) = other.filter(|other| *other != place) {
        tx.delete_order(&orders[other].order_id).await?;
        orders[other].stripe_invoice_id = None;
    }
    orders[place].stripe_invoice_id = Some(invoice.clone());
    tx.put_order(&orders[place]).await
}

fn new(app: &App, id: &CustomerId, invoice: &Invoice, plan: &str, now: Timestamp) -> Order {
    Order {
        order_id: OrderId::from_random(app.random.bits()),
        customer_id: Some(id.clone()),
        plan: plan.to_owned(),
        amount: invoice.amount,
        currency: invoice.currency.clone(),
        status: OrderStatus::Pending,
        stripe_checkout_session_id: None,
        stripe_invoice_id: Some(invoice.id.clone()),
        stripe_payment_intent_id: invoice.payment_intent.clone(),
        created_at: invoice.created,
        purchased_at: None,
        updated_at: now,
    }
}

/// The plan that an invoice is for: that of its dearest line, or else of its subscription. `None`
/// when it is no order of ours: it asks for nothing, sells something else, or belongs to a checkout
/// that is still open.
fn plan_of<'c>(invoice: &Invoice, seen: &Seen, catalog: &'c Catalog) -> Option<&'c str> {
    if invoice.amount == 0 {
        return None;
    }
    let subscription = seen.subscriptions.iter().find(|s| invoice.is_of(&s.id));
    let begun = subscription.is_none_or(|subscription| {
        !matches!(subscription.status, Status::Incomplete | Status::IncompleteExpired)
    });
    if !begun && invoice.status != InvoiceStatus::Paid {
        return None;
    }
    let priced = invoice.lines.iter().filter_map(|line| {
        let (_, plan) = catalog.by_price(line.price.as_deref()?)?;
        Some((line.amount, plan))
    });
    let dearest = priced.max_by_key(|(amount, _)| *amount).map(|(_, plan)| plan);
    let of_subscription = || subscription.and_then(|s| s.plan(catalog)).map(|(plan, _)| plan);
    dearest.or_else(of_subscription).map(|plan| plan.id.as_str())
}

/// An invoice that is still open, of a subscription that waits for nobody any more, was not paid.
fn unless_it_failed(status: OrderStatus, invoice: &Invoice, seen: &Seen) -> OrderStatus {
    let subscription = seen.subscriptions.iter().find(|s| invoice.is_of(&s.id));
    let behind = subscription.is_some_and(|subscription| {
        use Status::{Canceled, IncompleteExpired, PastDue, Unpaid};
        matches!(subscription.status, PastDue | Unpaid | Canceled | IncompleteExpired)
    });
    if status == OrderStatus::Pending && behind { OrderStatus::Failed } else { status }
}
