//! Orders: one for each payment, from the checkout that asks for it on. They outlive their customer.

use super::{Store, Tx, row, sql};
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::invoice::OrderStatus;
use crate::domain::stripe_ids::{CheckoutSessionId, InvoiceId, PaymentIntentId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The columns of [`Order`], by name: a server that runs on while a newer one adds a column must not
/// meet it.
macro_rules! order_columns {
    () => {
        "order_id, customer_id, plan, amount, currency, status, stripe_checkout_session_id, \
         stripe_invoice_id, stripe_payment_intent_id, created_at, purchased_at, updated_at"
    };
}

row! {
    /// An order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Order {
        /// Its id.
        pub order_id: OrderId,
        /// Whose it is; none once they were deleted.
        pub customer_id: Option<CustomerId>,
        /// The plan's id.
        pub plan: String,
        /// In the currency's smallest unit.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: String,
        /// Where it stands.
        pub status: OrderStatus,
        /// The checkout that it came from; none for a renewal.
        pub stripe_checkout_session_id: Option<CheckoutSessionId>,
        /// The invoice; none while the checkout is not completed.
        pub stripe_invoice_id: Option<InvoiceId>,
        /// The payment.
        pub stripe_payment_intent_id: Option<PaymentIntentId>,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it was paid.
        pub purchased_at: Option<Timestamp>,
        /// When this record changed last.
        pub updated_at: Timestamp,
    }
}

impl Store {
    /// Whether a customer has a checkout that was opened after `since` and is not settled.
    pub async fn has_pending_checkout(&self, id: &CustomerId, since: Timestamp) -> Result<bool> {
        let pending = sql!(
            self,
            alone,
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
    /// Writes an order, new or changed.
    pub async fn put_order(&mut self, order: &Order) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO orders
                 (order_id, customer_id, plan, amount, currency, status,
                  stripe_checkout_session_id, stripe_invoice_id, stripe_payment_intent_id,
                  created_at, purchased_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (order_id) DO UPDATE SET
                 customer_id = $2, plan = $3, amount = $4, currency = $5, status = $6,
                 stripe_checkout_session_id = $7, stripe_invoice_id = $8,
                 stripe_payment_intent_id = $9, created_at = $10, purchased_at = $11,
                 updated_at = $12",
            &order.order_id,
            &order.customer_id,
            &order.plan,
            order.amount,
            &order.currency,
            order.status,
            &order.stripe_checkout_session_id,
            &order.stripe_invoice_id,
            &order.stripe_payment_intent_id,
            order.created_at,
            order.purchased_at,
            order.updated_at,
        )?;
        Ok(())
    }

    /// Deletes an order that is told by another one.
    pub async fn delete_order(&mut self, id: &OrderId) -> Result<()> {
        sql!(self, execute, "DELETE FROM orders WHERE order_id = $1", id)?;
        Ok(())
    }

    /// Deletes the order of a checkout that nobody can pay any more.
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

    /// The customer's orders, the newest first, `most` at the most.
    pub async fn orders_of(&mut self, id: &CustomerId, most: i64) -> Result<Vec<Order>> {
        sql!(
            self,
            fetch_all: Order,
            concat!(
                "SELECT ",
                order_columns!(),
                " FROM orders WHERE customer_id = $1 ORDER BY created_at DESC, order_id LIMIT $2"
            ),
            id,
            most,
        )
    }

    /// The customer's orders that Stripe may still say something about: those that have an invoice, and
    /// those that wait for one. The newest first, `most` at the most.
    pub async fn orders_to_settle(&mut self, id: &CustomerId, most: i64) -> Result<Vec<Order>> {
        sql!(
            self,
            fetch_all: Order,
            concat!(
                "SELECT ",
                order_columns!(),
                " FROM orders WHERE customer_id = $1
                     AND (stripe_invoice_id IS NOT NULL OR status = 'pending')
                 ORDER BY created_at DESC, order_id LIMIT $2"
            ),
            id,
            most,
        )
    }

    /// The order of an invoice, whoever's it is.
    pub async fn order_of_invoice(&mut self, id: &InvoiceId) -> Result<Option<Order>> {
        sql!(
            self,
            fetch_optional: Order,
            concat!("SELECT ", order_columns!(), " FROM orders WHERE stripe_invoice_id = $1"),
            id,
        )
    }

    /// Whether the payment for a checkout that was opened after `since` is under way: somebody completed
    /// it, and their bank decides.
    pub async fn is_being_paid(
        &mut self,
        session: &CheckoutSessionId,
        since: Timestamp,
    ) -> Result<bool> {
        let pending = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT amount FROM orders WHERE stripe_checkout_session_id = $1
                 AND status = 'pending' AND stripe_invoice_id IS NOT NULL AND created_at > $2",
            session,
            since,
        )?;
        Ok(pending.is_some())
    }

    /// The customer who made this payment.
    pub async fn customer_by_payment(
        &mut self,
        payment: &PaymentIntentId,
    ) -> Result<Option<CustomerId>> {
        let found = sql!(
            self,
            fetch_optional: (CustomerId,),
            "SELECT customer_id FROM orders
             WHERE stripe_payment_intent_id = $1 AND customer_id IS NOT NULL LIMIT 1",
            payment,
        )?;
        Ok(found.map(|(id,)| id))
    }
}
