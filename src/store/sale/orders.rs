//! The table of orders: one for each payment, created with the Checkout session. Orders are kept
//! when their customer is deleted.

use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::page::PageRequest;
use crate::domain::sale::order::{Order, OrderedPlan};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, InvoiceId, PaymentIntentId};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::{Insert, sql};
use crate::store::{Store, Tx};

impl Store {
    /// Returns whether the customer has an order that is pending and was created after `since`.
    pub async fn has_pending_checkout(&self, id: &CustomerId, since: Timestamp) -> Result<bool> {
        let pending = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT amount FROM orders
             WHERE customer_id = $1 AND status = 'pending' AND created_at > $2 LIMIT 1",
            id,
            since,
        )?;
        Ok(pending.is_some())
    }
}

impl Tx {
    /// Inserts or replaces an order.
    pub async fn put_order(&mut self, order: &Order) -> Result<()> {
        self.insert(Insert::new("orders", order).or_replace(&["order_id"])).await?;
        Ok(())
    }

    /// Records at `at` what was returned of an order since the last record. `returned` is the
    /// total.
    pub async fn record_return(
        &mut self,
        id: &OrderId,
        returned: i64,
        at: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO order_returns (order_id, at, amount)
                 SELECT $1, CAST($2 AS BIGINT),
                         CAST(CAST($3 AS BIGINT) - COALESCE(SUM(amount), 0) AS BIGINT)
                     FROM order_returns WHERE order_id = $1
                     HAVING COALESCE(SUM(amount), 0) <> CAST($3 AS BIGINT)
                 ON CONFLICT (order_id, at) DO UPDATE
                     SET amount = order_returns.amount + excluded.amount",
            id,
            at,
            returned,
        )?;
        Ok(())
    }

    /// Deletes an order that another one replaces.
    pub async fn delete_order(&mut self, id: &OrderId) -> Result<()> {
        sql!(self, execute, "DELETE FROM orders WHERE order_id = $1", id)?;
        Ok(())
    }

    /// Deletes the pending order of a Checkout session that can no longer be paid.
    pub async fn delete_pending_order(&mut self, session: &CheckoutSessionId) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM orders WHERE stripe_checkout_session_id = $1 AND status = 'pending'
                 AND stripe_invoice_id IS NULL",
            session,
        )?;
        Ok(())
    }

    /// Returns the order with this id.
    pub async fn order(&mut self, id: &OrderId) -> Result<Option<Order>> {
        sql!(self, fetch_optional: Order, "SELECT {columns} FROM orders WHERE order_id = $1", id)
    }

    /// Returns the customer's orders, newest first, at most `most`.
    pub async fn orders_of(&mut self, id: &CustomerId, most: i64) -> Result<Vec<Order>> {
        sql!(
            self,
            fetch_all: Order,
            "SELECT {columns} FROM orders WHERE customer_id = $1
             ORDER BY created_at DESC, order_id LIMIT $2",
            id,
            most,
        )
    }

    /// Returns the orders of the customers after `from` up to `to`, as far as a comparison of plans
    /// files reads them.
    pub async fn ordered_plans(
        &mut self,
        (from, to): (Option<&CustomerId>, &CustomerId),
    ) -> Result<Vec<OrderedPlan>> {
        sql!(
            self,
            fetch_all: OrderedPlan,
            "SELECT {columns} FROM orders WHERE customer_id > $1 AND customer_id <= $2
             ORDER BY customer_id, created_at, order_id",
            from.map_or("", CustomerId::as_str),
            to,
        )
    }

    /// Returns a page of the customer's orders, newest first.
    pub async fn order_page(
        &mut self,
        id: &CustomerId,
        request: &PageRequest,
    ) -> Result<Vec<Order>> {
        let (at, order_id) = request.before();
        sql!(
            self,
            fetch_all: Order,
            "SELECT {columns} FROM orders
             WHERE customer_id = $1 AND (created_at, order_id) < ($2, $3)
             ORDER BY created_at DESC, order_id DESC LIMIT $4",
            id,
            at,
            order_id,
            request.rows(),
        )
    }

    /// Returns the customer's orders that a sync may change: all except those of checkouts that
    /// failed. Newest first, at most `most`.
    pub async fn orders_to_settle(&mut self, id: &CustomerId, most: i64) -> Result<Vec<Order>> {
        sql!(
            self,
            fetch_all: Order,
            "SELECT {columns} FROM orders WHERE customer_id = $1
                     AND (stripe_invoice_id IS NOT NULL OR status <> 'failed')
                 ORDER BY created_at DESC, order_id LIMIT $2",
            id,
            most,
        )
    }

    /// Returns the order of an invoice, of any customer.
    pub async fn order_of_invoice(&mut self, id: &InvoiceId) -> Result<Option<Order>> {
        sql!(
            self,
            fetch_optional: Order,
            "SELECT {columns} FROM orders WHERE stripe_invoice_id = $1",
            id,
        )
    }

    /// Returns the order of a Checkout session, of any customer.
    pub async fn order_of_session(&mut self, id: &CheckoutSessionId) -> Result<Option<Order>> {
        sql!(
            self,
            fetch_optional: Order,
            "SELECT {columns} FROM orders WHERE stripe_checkout_session_id = $1",
            id,
        )
    }

    /// Returns whether the payment of a completed Checkout session is pending at the bank: its
    /// order is pending, was created after `since`, and has an invoice. A single payment
    /// (`is_once`) has an invoice only after it was paid.
    pub async fn is_being_paid(
        &mut self,
        session: &CheckoutSessionId,
        is_once: bool,
        since: Timestamp,
    ) -> Result<bool> {
        let pending = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT amount FROM orders WHERE stripe_checkout_session_id = $1
                 AND status = 'pending' AND created_at > $2
                 AND (stripe_invoice_id IS NOT NULL OR $3 = 1)",
            session,
            since,
            i64::from(is_once),
        )?;
        Ok(pending.is_some())
    }

    /// Returns the customer that made this payment. A claimed payment may have no order yet.
    pub async fn customer_by_payment(
        &mut self,
        payment: &PaymentIntentId,
    ) -> Result<Option<CustomerId>> {
        let customer = sql!(
            self,
            fetch_optional: (CustomerId,),
            "SELECT customer_id FROM orders
             WHERE stripe_payment_intent_id = $1 AND customer_id IS NOT NULL
             UNION ALL SELECT customer_id FROM guest_purchases
             WHERE stripe_payment_intent_id = $1 AND customer_id IS NOT NULL LIMIT 1",
            payment,
        )?;
        Ok(customer.map(|(id,)| id))
    }
}
