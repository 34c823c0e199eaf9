//! Decides how a customer's orders change. There is one order for each payment. A checkout creates
//! an order, which then follows its first invoice. Each renewal's invoice creates another one.

use super::{Change, Record};
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::sale::invoice::{Invoice, InvoiceStatus, OrderStatus};
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_ids::InvoiceId;
use crate::domain::sale::stripe_state::{CheckoutStatus, StripeState};
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

/// Returns the changes to the orders.
pub(super) fn decide<'a>(
    record: &Record,
    state: &StripeState,
    catalog: &Catalog,
    now: Timestamp,
    mut random: impl FnMut() -> u128,
) -> Vec<Change<'a>> {
    let mut drafts = Drafts::new(record);
    for session in &state.checkout_sessions {
        let of_session =
            |draft: &Draft| draft.order.stripe_checkout_session_id.as_ref() == Some(&session.id);
        let Some(place) = drafts.all.iter().position(of_session) else { continue };
        if session.status == CheckoutStatus::Expired {
            drafts.all[place].order.status = OrderStatus::Failed;
        }
        if let Some(invoice) = session.first_invoice(state) {
            drafts.assign_invoice(place, invoice);
        }
    }
    for invoice in &state.invoices {
        let Some(status) = invoice.order_status() else { continue };
        let new = || {
            let plan = plan_of(invoice, state, catalog)?;
            let id = OrderId::from_random(random());
            Some(new_order(id, &record.customer.customer_id, invoice, plan, now))
        };
        if let Some(order) = drafts.of_invoice(&invoice.id, new) {
            order.amount = invoice.amount_billed();
            order.currency.clone_from(&invoice.currency);
            order.returned = invoice.returned;
            order.status = failed_if_abandoned(status, invoice, state);
            order.stripe_payment_intent_id.clone_from(&invoice.payment_intent);
            // An order may be recorded after its payment, or by a clock that was ahead.
            order.created_at = order.created_at.min(invoice.created);
            order.purchased_at = invoice.paid_at.or(order.purchased_at);
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

    /// Returns the order of an invoice: the customer's own, that of a deleted account, or a new
    /// one. `None` if the invoice has no order of this customer.
    fn of_invoice(
        &mut self,
        invoice: &InvoiceId,
        new: impl FnOnce() -> Option<Order>,
    ) -> Option<&mut Order> {
        let is_of = |order: &Order| order.stripe_invoice_id.as_ref() == Some(invoice);
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
    /// The page of the invoice is stored only with another change: its URLs expire, so Stripe
    /// returns new ones for the same invoice.
    fn into_changes<'a>(self, state: &StripeState, now: Timestamp) -> Vec<Change<'a>> {
        let deleted = self.deleted.into_iter().map(Change::DeleteOrder);
        let changed =
            self.all.into_iter().filter(|draft| draft.before.as_ref() != Some(&draft.order));
        let changed = changed.map(|Draft { before, order }| {
            let id = order.stripe_invoice_id.as_ref();
            let invoice = state.invoices.iter().find(|invoice| Some(&invoice.id) == id);
            let url = invoice.and_then(|invoice| invoice.url.clone());
            let invoice_url = url.or_else(|| order.invoice_url.clone());
            Change::Order { before, after: Order { invoice_url, updated_at: now, ..order } }
        });
        deleted.chain(changed).collect()
    }
}

fn new_order(
    order_id: OrderId,
    customer_id: &CustomerId,
    invoice: &Invoice,
    plan: &str,
    now: Timestamp,
) -> Order {
    Order {
        order_id,
        customer_id: Some(customer_id.clone()),
        plan: plan.to_owned(),
        amount: invoice.amount_billed(),
        currency: invoice.currency.clone(),
        returned: invoice.returned,
        status: OrderStatus::Pending,
        stripe_checkout_session_id: None,
        stripe_invoice_id: Some(invoice.id.clone()),
        stripe_payment_intent_id: invoice.payment_intent.clone(),
        invoice_url: None,
        created_at: invoice.created,
        purchased_at: None,
        updated_at: now,
    }
}

/// Returns the plan that an invoice is for: that of its most expensive line, or else of its
/// subscription. `None` if it needs no order: no amount is due, it is for no plan, or its
/// subscription has not begun.
fn plan_of<'c>(invoice: &Invoice, state: &StripeState, catalog: &'c Catalog) -> Option<&'c str> {
    if invoice.amount_billed() == 0 {
        return None;
    }
    let subscription = state.subscriptions.iter().find(|s| invoice.is_of(&s.id));
    let has_begun = subscription.is_none_or(|subscription| {
        !matches!(subscription.status, Status::Incomplete | Status::IncompleteExpired)
    });
    if !has_begun && invoice.status != InvoiceStatus::Paid {
        return None;
    }
    let priced = invoice.lines.iter().filter_map(|line| {
        let (_, plan) = catalog.by_price(line.price.as_deref()?)?;
        Some((line.amount, plan))
    });
    let most_expensive = priced.max_by_key(|(amount, _)| *amount).map(|(_, plan)| plan);
    let of_subscription = || subscription.and_then(|s| s.plan(catalog)).map(|(plan, _)| plan);
    most_expensive.or_else(of_subscription).map(|plan| plan.id.as_str())
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
