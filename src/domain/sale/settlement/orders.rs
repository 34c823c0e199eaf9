//! Decides how a customer's orders change. There is one order for each payment. A checkout creates
//! an order, which then follows its first invoice, or its session while there is no invoice. Each
//! renewal's invoice creates another one. What an order was for is in `billed.rs`.

use super::billed::OrderContents;
use super::{Change, Record};
use crate::domain::ids::OrderId;
use crate::domain::sale::invoice::{Invoice, OrderStatus, Payment};
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, InvoiceId};
use crate::domain::sale::stripe_state::{CheckoutStatus, PaidSession, SessionTotal, StripeState};
use crate::domain::sale::subscription::Status;
use crate::domain::time::Timestamp;

/// An order while it is being settled.
struct Draft {
    /// The stored order; `None` if it is new to this customer.
    before: Option<Order>,
    /// The order to store.
    order: Order,
}

/// The customer's orders while they are being settled.
struct Drafts<'r> {
    record: &'r Record,
    all: Vec<Draft>,
    deleted: Vec<OrderId>,
}

/// Returns the changes to the orders. `plan` is the plan that the customer may use.
pub(super) fn decide<'a>(
    record: &Record,
    state: &StripeState,
    (catalog, plan): (&Catalog, Option<&Plan>),
    now: Timestamp,
    mut random: impl FnMut() -> u128,
) -> Vec<Change<'a>> {
    let owner = &record.customer.customer_id;
    let mut drafts = Drafts::new(record);
    for session in &state.checkout_sessions {
        let Some(place) = drafts.place_of(&session.id) else { continue };
        let has_failed = session.payment == Payment::Failed && session.is_unpaid;
        let order = &mut drafts.all[place].order;
        if session.status == CheckoutStatus::Expired || has_failed {
            order.status = OrderStatus::Failed;
        }
        // A bank debit is collected for days, and has no invoice until then.
        let total = session.total.as_ref().filter(|_| session.is_unpaid);
        if let Some(total) = total.filter(|_| order.stripe_invoice_id.is_none()) {
            order.follow_total(total);
        }
    }
    drafts.assign_invoices(state);
    for session in &state.paid_sessions {
        let contents = OrderContents::of_session(session, catalog, plan);
        let new = || {
            Some(Order::pending(
                OrderId::from_random(random()),
                owner,
                contents.as_ref()?.plan,
                now,
            ))
        };
        if let Some(order) = drafts.of_session(session, new) {
            order.follow_session(session, contents.as_ref());
        }
    }
    // Of another Stripe customer, only the session is read: it names the invoice of a new order.
    drafts.assign_invoices(state);
    for invoice in &state.invoices {
        let Some(status) = invoice.order_status() else { continue };
        let contents = OrderContents::of_invoice(invoice, state, catalog, plan);
        let new = || {
            let contents = contents.as_ref().filter(|contents| contents.needs_order)?;
            Some(Order::pending(OrderId::from_random(random()), owner, contents.plan, now))
        };
        if let Some(order) = drafts.of_invoice(invoice, new) {
            let status = failed_if_abandoned(status, invoice, state);
            order.follow_invoice(invoice, status, contents.as_ref());
        }
    }
    drafts.into_changes(state, now)
}

impl<'r> Drafts<'r> {
    fn new(record: &'r Record) -> Self {
        let own = record.orders.iter();
        let own = own.filter(|o| o.customer_id.as_ref() == Some(&record.customer.customer_id));
        let all = own.map(|order| Draft { before: Some(order.clone()), order: order.clone() });
        Self { record, all: all.collect(), deleted: Vec::new() }
    }

    /// Returns the place of a checkout's order.
    fn place_of(&self, session: &CheckoutSessionId) -> Option<usize> {
        let is_of =
            |draft: &Draft| draft.order.stripe_checkout_session_id.as_ref() == Some(session);
        self.all.iter().position(is_of)
    }

    /// Assigns the orders of checkouts the invoices that their sessions name.
    fn assign_invoices(&mut self, state: &StripeState) {
        for session in &state.checkout_sessions {
            if let Some(invoice) = session.first_invoice(state)
                && let Some(place) = self.place_of(&session.id)
            {
                self.assign_invoice(place, invoice);
            }
        }
    }

    /// Assigns a checkout's order its invoice. If an earlier sync recorded another order for that
    /// invoice, that one is deleted.
    fn assign_invoice(&mut self, place: usize, invoice: &InvoiceId) {
        self.all[place].order.stripe_invoice_id = Some(invoice.clone());
        let checkout = self.all[place].order.order_id.clone();
        let deleted = &mut self.deleted;
        self.all.retain(|draft| {
            let is_duplicate = draft.order.stripe_invoice_id.as_ref() == Some(invoice)
                && draft.order.order_id != checkout;
            if is_duplicate {
                deleted.push(draft.order.order_id.clone());
            }
            !is_duplicate
        });
    }

    /// Returns the order of a paid session: the customer's own, or a new one. `None` if it has
    /// none.
    fn of_session(
        &mut self,
        session: &PaidSession,
        new: impl FnOnce() -> Option<Order>,
    ) -> Option<&mut Order> {
        self.find_or_add(|order| is_of_session(order, session), new)
    }

    /// Returns the order of an invoice: the customer's own, that of a deleted account, or a new
    /// one. An order that followed a session without an invoice has the same payment. `None` if the
    /// invoice has no order of this customer.
    fn of_invoice(
        &mut self,
        invoice: &Invoice,
        new: impl FnOnce() -> Option<Order>,
    ) -> Option<&mut Order> {
        let payment = invoice.payment_intent.as_ref();
        let is_of = |order: &Order| {
            let has_same_payment = payment.is_some()
                && order.stripe_payment_intent_id.as_ref() == payment
                && order.stripe_invoice_id.is_none();
            order.stripe_invoice_id.as_ref() == Some(&invoice.id) || has_same_payment
        };
        self.find_or_add(is_of, new)
    }

    fn find_or_add(
        &mut self,
        is_of: impl Fn(&Order) -> bool,
        new: impl FnOnce() -> Option<Order>,
    ) -> Option<&mut Order> {
        let place = match self.all.iter().position(|draft| is_of(&draft.order)) {
            Some(place) => place,
            None => {
                let deleted = &self.deleted;
                let stored = self.record.orders.iter();
                let mut others = stored.filter(|o| is_of(o) && !deleted.contains(&o.order_id));
                let order = match others.next() {
                    Some(order) if order.customer_id.is_none() => {
                        let owner = Some(self.record.customer.customer_id.clone());
                        Order { customer_id: owner, ..order.clone() }
                    }
                    Some(_) => return None,
                    None => new()?,
                };
                self.all.push(Draft { before: None, order });
                self.all.len() - 1
            }
        };
        self.all.get_mut(place).map(|draft| &mut draft.order)
    }

    /// Returns the changes. Deletions come first: no two orders may have the same invoice.
    ///
    /// The pages of the invoice and the receipt are stored only with another change: their URLs
    /// expire, so Stripe returns new ones for the same objects.
    fn into_changes<'a>(self, state: &StripeState, now: Timestamp) -> Vec<Change<'a>> {
        let deleted = self.deleted.into_iter().map(Change::DeleteOrder);
        let changed =
            self.all.into_iter().filter(|draft| draft.before.as_ref() != Some(&draft.order));
        let changed = changed.map(|Draft { before, order }| {
            let id = order.stripe_invoice_id.as_ref();
            let invoice = state.invoices.iter().find(|invoice| Some(&invoice.id) == id);
            let url = invoice.and_then(|invoice| invoice.url.clone());
            let invoice_url = url.or_else(|| order.invoice_url.clone());
            let session = state.paid_sessions.iter().find(|one| is_of_session(&order, one));
            let receipt = invoice.and_then(|invoice| invoice.receipt_url.clone());
            let receipt = receipt.or_else(|| session?.receipt_url.clone());
            let receipt_url = receipt.or_else(|| order.receipt_url.clone());
            let after = Order { invoice_url, receipt_url, updated_at: now, ..order };
            Change::Order { before, after: Box::new(after) }
        });
        deleted.chain(changed).collect()
    }
}

fn is_of_session(order: &Order, session: &PaidSession) -> bool {
    let payment = session.payment_intent.as_ref();
    let has_same_payment = payment.is_some() && order.stripe_payment_intent_id.as_ref() == payment;
    order.stripe_checkout_session_id.as_ref() == Some(&session.id) || has_same_payment
}

impl Order {
    /// Changes what an order says to what its invoice says. `contents` is what the invoice was for.
    fn follow_invoice(
        &mut self,
        invoice: &Invoice,
        status: OrderStatus,
        contents: Option<&OrderContents<'_>>,
    ) {
        self.stripe_invoice_id = Some(invoice.id.clone());
        self.amount = invoice.amount_billed();
        self.tax = Some(invoice.tax);
        self.discount = Some(invoice.discount);
        self.currency.clone_from(&invoice.currency);
        self.returned = invoice.returned;
        self.status = status;
        self.stripe_payment_intent_id.clone_from(&invoice.payment_intent);
        // An order may be recorded after its payment, or by a clock that was ahead.
        self.created_at = self.created_at.min(invoice.created);
        // A single payment is dated by its charge, like the license. If its price was removed
        // since, the date stays.
        let charged = match contents {
            Some(contents) if contents.is_once => invoice.charged_at,
            Some(contents) if !contents.is_partial => None,
            _ => self.purchased_at,
        };
        self.purchased_at =
            invoice.paid_at.map(|paid| charged.unwrap_or(paid)).or(self.purchased_at);
        self.follow(contents);
    }

    /// Changes the amounts of an order to those of its session.
    fn follow_total(&mut self, total: &SessionTotal) {
        self.amount = total.amount;
        self.tax = Some(total.tax);
        self.discount = Some(total.discount);
        self.currency.clone_from(&total.currency);
    }

    /// Changes what an order says to what its session says.
    fn follow_session(&mut self, session: &PaidSession, contents: Option<&OrderContents<'_>>) {
        self.follow_total(&session.total);
        self.returned = session.returned;
        self.status = session.order_status();
        self.stripe_checkout_session_id.get_or_insert_with(|| session.id.clone());
        self.stripe_payment_intent_id.clone_from(&session.payment_intent);
        self.created_at = self.created_at.min(session.created);
        self.purchased_at = Some(session.charged_at.unwrap_or(session.created));
        self.follow(contents);
    }

    fn follow(&mut self, contents: Option<&OrderContents<'_>>) {
        let Some(contents) = contents else { return };
        self.billing_interval = contents.interval.or(self.billing_interval);
        self.quantity = contents.quantity.or(self.quantity);
        let mut addons = contents.addons.clone();
        // The order keeps the add-ons whose price was removed since.
        let former = self.addons.take().filter(|_| contents.is_partial);
        addons.0.extend(former.into_iter().flat_map(|former| former.0));
        self.addons = Some(addons);
    }
}

/// Returns `status`, but `Failed` instead of `Pending` if the subscription no longer waits for the
/// payment of this open invoice.
fn failed_if_abandoned(status: OrderStatus, invoice: &Invoice, state: &StripeState) -> OrderStatus {
    let subscription = state.subscriptions.iter().find(|s| invoice.is_of(&s.id));
    let is_abandoned = subscription.is_some_and(|subscription| {
        use Status::{Canceled, IncompleteExpired, PastDue, Unpaid};
        matches!(subscription.status, PastDue | Unpaid | Canceled | IncompleteExpired)
    });
    if status == OrderStatus::Pending && is_abandoned { OrderStatus::Failed } else { status }
}
