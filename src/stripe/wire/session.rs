//! Checkout sessions as Stripe sends them
//! (<https://docs.stripe.com/api/checkout/sessions/object>).

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::{Identified, Link, List, PaymentFacts, named, units};
use crate::domain::sale::buyer::{BuyerId, PaymentSession};
use crate::domain::sale::invoice::{Line, Payment};
use crate::domain::sale::stripe_ids::PaymentIntentId;
use crate::domain::sale::stripe_state::{
    CheckoutSession, CheckoutStatus, PaidSession, SessionTotal,
};
use crate::domain::time::Timestamp;

/// There is no `Debug`: whoever has the URL can pay, and sees the buyer.
#[derive(Deserialize)]
pub struct WireSession {
    pub id: String,
    customer: Option<Link>,
    customer_details: Option<CustomerDetails>,
    mode: Option<String>,
    url: Option<String>,
    status: Option<String>,
    payment_status: Option<String>,
    payment_intent: Option<Link>,
    invoice: Option<Link>,
    subscription: Option<Link>,
    amount_total: Option<i64>,
    total_details: Option<TotalDetails>,
    currency: Option<String>,
    created: Option<i64>,
    pub line_items: Option<List<WireLineItem>>,
    metadata: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct CustomerDetails {
    email: Option<String>,
}

#[derive(Deserialize)]
struct TotalDetails {
    amount_tax: Option<i64>,
    amount_discount: Option<i64>,
}

#[derive(Deserialize)]
pub struct WireLineItem {
    pub id: String,
    price: Option<Identified>,
    quantity: Option<i64>,
    amount_total: Option<i64>,
}

impl WireSession {
    fn status(&self) -> CheckoutStatus {
        match self.status.as_deref() {
            Some("complete") => CheckoutStatus::Complete,
            Some("expired") => CheckoutStatus::Expired,
            _ => CheckoutStatus::Open,
        }
    }

    /// Returns what it charges. Before it is completed, discounts and taxes depend on the page.
    fn total(&self) -> Option<SessionTotal> {
        let details = self.total_details.as_ref();
        let of = |part: fn(&TotalDetails) -> Option<i64>| details.and_then(part).unwrap_or(0);
        Some(SessionTotal {
            amount: self.amount_total?,
            tax: of(|details| details.amount_tax),
            discount: of(|details| details.amount_discount),
            currency: self.currency.clone()?,
        })
    }

    fn is_unpaid(&self) -> bool {
        self.status() == CheckoutStatus::Complete
            && self.payment_status.as_deref() == Some("unpaid")
    }

    /// Returns its currency.
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// Returns whether it is for a single payment.
    pub fn is_single_payment(&self) -> bool {
        self.mode.as_deref() == Some("payment")
    }

    /// Returns the id of its invoice, if Stripe has created one.
    pub fn invoice(&self) -> Option<&str> {
        self.invoice.as_ref().map(Link::id)
    }

    /// Returns its buyer; `None` for a guest who bought nothing that `is_for_sale` accepts.
    pub fn buyer(&self, is_for_sale: impl Fn(&str) -> bool) -> Option<BuyerId> {
        if let Some(customer) = &self.customer {
            return Some(BuyerId::Customer(customer.id().parse().ok()?));
        }
        let items = self.line_items.as_ref()?;
        let prices = items.data.iter().filter_map(|item| item.price.as_ref());
        let is_ours = items.has_more || prices.into_iter().any(|price| is_for_sale(&price.id));
        is_ours.then(|| self.id.parse().ok().map(BuyerId::Session)).flatten()
    }

    /// Returns whether it is a completed single payment.
    pub fn is_completed_payment(&self) -> bool {
        self.is_single_payment() && self.status() == CheckoutStatus::Complete
    }

    /// Returns its payment, if it is a single payment.
    pub fn payment_intent(&self) -> Option<PaymentIntentId> {
        self.payment_intent.as_ref()?.id().parse().ok()
    }

    /// Returns the session; `None` if one of its ids is invalid. `payments` has the outcomes of the
    /// customer's payments.
    pub fn to_domain(
        &self,
        payments: &BTreeMap<PaymentIntentId, PaymentFacts>,
    ) -> Option<CheckoutSession> {
        let facts = self.payment_intent().and_then(|id| payments.get(&id).cloned());
        Some(CheckoutSession {
            id: self.id.parse().ok()?,
            url: self.url.clone(),
            status: self.status(),
            is_unpaid: self.is_unpaid(),
            payment: facts.map_or(Payment::Unremarkable, |facts| facts.attempt),
            subscription: self
                .subscription
                .as_ref()
                .map(|link| link.id().parse())
                .transpose()
                .ok()?,
            invoice: self.invoice.as_ref().map(|link| link.id().parse()).transpose().ok()?,
            attempt_id: named(&self.metadata, "attempt_id").map(str::to_owned),
            total: self.total().filter(|_| self.status() == CheckoutStatus::Complete),
        })
    }

    /// Returns the session with its payment; `None` if one of its ids is invalid.
    pub fn into_payment_session(
        self,
        payments: &BTreeMap<PaymentIntentId, PaymentFacts>,
    ) -> Option<PaymentSession> {
        let email = self.customer_details.as_ref().and_then(|details| details.email.as_deref());
        Some(PaymentSession {
            id: self.id.parse().ok()?,
            stripe_customer_id: self
                .customer
                .as_ref()
                .map(|link| link.id().parse())
                .transpose()
                .ok()?,
            email: email.and_then(|email| email.parse().ok()),
            payment_intent: self.payment_intent(),
            paid: self.into_paid(payments),
        })
    }

    /// Returns the paid single payment; `None` if it is something else, or is not paid.
    pub fn into_paid(
        self,
        payments: &BTreeMap<PaymentIntentId, PaymentFacts>,
    ) -> Option<PaidSession> {
        let is_complete = self.status() == CheckoutStatus::Complete;
        if !self.is_single_payment() || !is_complete || self.is_unpaid() {
            return None;
        }
        let payment_intent = self.payment_intent();
        let total = self.total().unwrap_or_default();
        let amount = total.amount;
        let facts = payment_intent.as_ref().and_then(|id| payments.get(id)).cloned();
        let facts = facts.unwrap_or_default();
        let payment = facts.back.outcome(amount, 0);
        let lines = self.line_items.iter().flat_map(|items| &items.data);
        Some(PaidSession {
            id: self.id.parse().ok()?,
            created: Timestamp::saturating(self.created.unwrap_or(0)),
            total,
            lines: lines.map(WireLineItem::to_domain).collect(),
            payment_intent,
            payment,
            returned: facts.back.returned(amount, 0, payment),
            charged_at: facts.charged_at,
            receipt_url: facts.receipt_url,
        })
    }
}

impl WireLineItem {
    /// Returns the id of its price.
    pub fn into_price(self) -> Option<String> {
        self.price.map(|price| price.id)
    }

    fn to_domain(&self) -> Line {
        Line {
            id: self.id.clone(),
            price: self.price.as_ref().map(|price| price.id.clone()),
            amount: self.amount_total.unwrap_or(0),
            quantity: units(self.quantity),
            ..Line::default()
        }
    }
}
