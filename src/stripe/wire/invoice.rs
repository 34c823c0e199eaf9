//! Invoices as Stripe sends them: invoices, lines and credit notes. Their payments are in
//! `payment.rs`, the other objects in [`super`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Link, List, PaymentFacts, time, units};
use crate::domain::sale::invoice::{
    BillingReason, Invoice, InvoiceStatus, Line, MoneyBack, Payment, from_balance,
};
use crate::domain::sale::stripe_ids::PaymentIntentId;
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::time::Timestamp;

#[derive(Debug, Deserialize)]
pub struct WireInvoice {
    pub id: String,
    parent: Option<Parent>,
    billing_reason: Option<String>,
    status: Option<String>,
    status_details: Option<StatusDetails>,
    total: Option<i64>,
    amount_due: Option<i64>,
    amount_paid: Option<i64>,
    amount_overpaid: Option<i64>,
    starting_balance: Option<i64>,
    ending_balance: Option<i64>,
    total_taxes: Option<Vec<WireTax>>,
    total_discount_amounts: Option<Vec<WireDiscountAmount>>,
    pre_payment_credit_notes_amount: Option<i64>,
    post_payment_credit_notes_amount: Option<i64>,
    currency: Option<String>,
    pub created: Option<i64>,
    due_date: Option<i64>,
    status_transitions: Option<Transitions>,
    hosted_invoice_url: Option<String>,
    pub payments: Option<List<WireInvoicePayment>>,
    pub lines: Option<List<WireLine>>,
}

/// The reason why an invoice is uncollectible, since API version 2026-09-30
/// (<https://docs.stripe.com/api/invoices/object>).
#[derive(Debug, Deserialize)]
struct StatusDetails {
    uncollectible: Option<UncollectibleDetails>,
}

#[derive(Debug, Deserialize)]
struct UncollectibleDetails {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Parent {
    subscription_details: Option<SubscriptionDetails>,
}

#[derive(Debug, Deserialize)]
struct SubscriptionDetails {
    subscription: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Transitions {
    paid_at: Option<i64>,
}

/// A part of the tax (<https://docs.stripe.com/api/invoices/object#invoice_object-total_taxes>).
#[derive(Debug, Deserialize)]
pub(super) struct WireTax {
    amount: Option<i64>,
    tax_behavior: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireDiscountAmount {
    pub amount: Option<i64>,
}

impl WireTax {
    /// Returns the amount if it is added to the amounts of the lines.
    pub fn added(&self) -> Option<i64> {
        self.amount.filter(|_| self.tax_behavior.as_deref() == Some("exclusive"))
    }
}

/// One of the payments of an invoice (<https://docs.stripe.com/api/invoice-payment/object>).
#[derive(Debug, Deserialize)]
pub struct WireInvoicePayment {
    #[serde(default)]
    pub id: String,
    status: Option<String>,
    created: Option<i64>,
    is_default: Option<bool>,
    amount_paid: Option<i64>,
    payment: Option<PaymentLink>,
}

impl WireInvoicePayment {
    fn is(&self, status: &str) -> bool {
        self.status.as_deref() == Some(status)
    }

    fn intent(&self) -> Option<PaymentIntentId> {
        self.payment.as_ref()?.payment_intent.as_ref()?.id().parse().ok()
    }
}

#[derive(Debug, Deserialize)]
struct PaymentLink {
    payment_intent: Option<Link>,
}

#[derive(Debug, Deserialize)]
pub struct WireLine {
    pub id: String,
    amount: Option<i64>,
    quantity: Option<i64>,
    period: Option<Period>,
    pricing: Option<Pricing>,
    parent: Option<LineParent>,
}

#[derive(Debug, Deserialize)]
struct LineParent {
    subscription_item_details: Option<ItemDetails>,
    invoice_item_details: Option<ItemDetails>,
}

#[derive(Debug, Deserialize)]
struct ItemDetails {
    proration_details: Option<ProrationDetails>,
}

#[derive(Debug, Deserialize)]
struct ProrationDetails {
    credited_items: Option<CreditedItems>,
}

#[derive(Debug, Deserialize)]
struct CreditedItems {
    invoice_line_items: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Period {
    start: Option<i64>,
    end: Option<i64>,
}

impl Period {
    /// Returns the start and the end of the period that a line covers. A one-off line has none: its
    /// period has no length.
    pub fn bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (start, end) = (time(self.start), time(self.end));
        match (start, end) {
            (Some(from), Some(to)) if from >= to => (None, None),
            bounds => bounds,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Pricing {
    price_details: Option<PriceDetails>,
}

impl Pricing {
    /// Returns the id of the price.
    pub fn price(self) -> Option<String> {
        Some(self.price_details?.price?.id().to_owned())
    }
}

#[derive(Debug, Deserialize)]
struct PriceDetails {
    price: Option<Link>,
}

impl WireInvoice {
    /// Returns the invoice; `None` if its id is invalid. `payments` has the outcomes of the
    /// customer's payments, and `subscriptions` the customer's subscriptions. `credited_later` is
    /// the amount that was credited after the payment and not refunded.
    pub fn into_domain(
        self,
        payments: &BTreeMap<PaymentIntentId, PaymentFacts>,
        credited_later: i64,
        subscriptions: &[Subscription],
    ) -> Option<Invoice> {
        let is_written_off_by_hand = self.is_written_off_by_hand(subscriptions);
        let (amount, credited) = (self.amount(), self.credited_before());
        let (intent, (payment, back)) =
            (self.payment_intent(), self.payment(payments, credited_later));
        let charge = intent.as_ref().and_then(|id| payments.get(id));
        let (tax, added_tax, discount) = self.taxes_and_discount();
        let (balance_before, balance_after) = self.balances();
        let subscription = self.subscription().and_then(|id| id.parse().ok());
        let lines = self.lines.into_iter().flat_map(|lines| lines.data);
        Some(Invoice {
            id: self.id.parse().ok()?,
            subscription,
            reason: match self.billing_reason.as_deref() {
                Some("manual") => BillingReason::Manual,
                Some("subscription_cycle") => BillingReason::Renewal,
                Some("subscription_update") => BillingReason::Change,
                _ => BillingReason::Other,
            },
            status: InvoiceStatus::from_name(self.status.as_deref().unwrap_or_default()),
            is_written_off_by_hand,
            amount,
            credited,
            balance_before,
            balance_after,
            tax,
            added_tax,
            discount,
            currency: self.currency.unwrap_or_default(),
            created: Timestamp::saturating(self.created.unwrap_or(0)),
            due: time(self.due_date),
            paid_at: time(self.status_transitions.and_then(|transitions| transitions.paid_at)),
            charged_at: charge.and_then(|charge| charge.charged_at),
            url: self.hosted_invoice_url.and_then(|url| url.parse().ok()),
            receipt_url: charge.and_then(|charge| charge.receipt_url.clone()),
            payment,
            returned: back.returned(amount, from_balance(balance_before, balance_after), payment),
            payment_intent: intent,
            lines: lines.map(WireLine::into_domain).collect(),
        })
    }

    /// Returns the tax, the part of it that was added to the lines, and the discount.
    fn taxes_and_discount(&self) -> (i64, i64, i64) {
        let taxes = || self.total_taxes.iter().flatten();
        let discounts = self.total_discount_amounts.iter().flatten();
        let sum = |amounts: &mut dyn Iterator<Item = Option<i64>>| {
            amounts.flatten().fold(0, i64::saturating_add)
        };
        (
            sum(&mut taxes().map(|tax| tax.amount)),
            sum(&mut taxes().map(WireTax::added)),
            sum(&mut discounts.map(|discount| discount.amount)),
        )
    }

    /// Returns the id of the subscription that it bills.
    pub fn subscription(&self) -> Option<&str> {
        let details = self.parent.as_ref()?.subscription_details.as_ref()?;
        details.subscription.as_ref().map(Link::id)
    }

    /// Returns the amount that was credited before it was paid.
    fn credited_before(&self) -> i64 {
        self.pre_payment_credit_notes_amount.unwrap_or(0)
    }

    /// Returns the amount due, less what was credited before it was paid.
    fn amount(&self) -> i64 {
        // Credits reduce `amount_due`, but never `total`.
        let uncredited = self.total.map(|total| total.saturating_sub(self.credited_before()));
        // The total is negative if a plan change credits more than it bills.
        uncredited.or(self.amount_due.max(self.amount_paid)).unwrap_or(0).max(0)
    }

    /// Returns whether an amount was credited after the invoice was paid.
    pub fn has_later_credit(&self) -> bool {
        self.post_payment_credit_notes_amount.unwrap_or(0) > 0
    }

    /// Returns whether it was written off by the vendor or during a pause of collection, not by
    /// dunning. If Stripe reports no reason, the status of the subscription decides: after dunning
    /// has given up, the subscription is not active.
    fn is_written_off_by_hand(&self, subscriptions: &[Subscription]) -> bool {
        if self.status.as_deref() != Some("uncollectible") {
            return false;
        }
        let details =
            self.status_details.as_ref().and_then(|details| details.uncollectible.as_ref());
        match details.and_then(|details| details.reason.as_deref()) {
            Some(reason) => matches!(reason, "user_forgiven" | "subscription_paused"),
            None => self.subscription().is_some_and(|id| {
                let own = subscriptions.iter().find(|subscription| subscription.id.as_str() == id);
                own.is_some_and(|subscription| subscription.status == Status::Active)
            }),
        }
    }

    /// Returns whether its status at Stripe is `paid`, also if it was paid outside of Stripe.
    pub fn is_paid(&self) -> bool {
        self.status.as_deref() == Some("paid")
    }

    /// Returns whether it is decided if it is paid: it is neither a draft nor open.
    pub fn is_settled(&self) -> bool {
        !matches!(self.status.as_deref(), None | Some("draft" | "open"))
    }

    /// Returns the payments for the invoice.
    pub fn payment_intents(&self) -> impl Iterator<Item = PaymentIntentId> {
        let payments = self.payments.iter().flat_map(|payments| &payments.data);
        payments.filter_map(WireInvoicePayment::intent)
    }

    /// Returns the payment that paid most of it. While it is unpaid, returns the default payment,
    /// which Stripe collects: no event announces an attempt with another one. A payment outside of
    /// Stripe has no payment intent and is left out. Stripe lists the payments in no fixed order,
    /// so the id decides between equals.
    fn payment_intent(&self) -> Option<PaymentIntentId> {
        let payments = || {
            let payments = self.payments.iter().flat_map(|payments| &payments.data);
            payments.filter_map(|payment| Some((payment, payment.intent()?)))
        };
        let paid = payments().filter(|(payment, _)| payment.is("paid"));
        let largest = paid.max_by_key(|(payment, id)| (payment.amount_paid, id.clone()));
        let default = payments().find(|(payment, _)| payment.is_default == Some(true));
        let is_paid = self.status.as_deref() == Some("paid");
        let first = if is_paid { largest.or(default) } else { default.or(largest) };
        let newest = || payments().max_by_key(|(payment, id)| (payment.created, id.clone()));
        first.or_else(newest).map(|(_, id)| id)
    }

    /// Returns the outcome of all its payments together, and the money that was returned. Their
    /// order does not matter.
    fn payment(
        &self,
        payments: &BTreeMap<PaymentIntentId, PaymentFacts>,
        credited_later: i64,
    ) -> (Payment, MoneyBack) {
        if self.status.as_deref() != Some("paid") {
            let latest = self.payment_intent().and_then(|id| payments.get(&id));
            let attempt = latest.map(|facts| facts.attempt).unwrap_or_default();
            return (attempt, MoneyBack::default());
        }
        let mut back = MoneyBack { credited: credited_later, ..MoneyBack::default() };
        let mut received: i64 = 0;
        let all = self.payments.iter().flat_map(|payments| &payments.data);
        // A payment that failed or was canceled took no money.
        let paid = all.filter(|payment| payment.is("paid") || payment.status.is_none());
        for facts in paid.filter_map(|payment| payments.get(&payment.intent()?)) {
            back += facts.back;
            received = received.saturating_add(facts.amount);
        }
        // An earlier debt that is on the customer's balance is collected with the invoice and is no
        // part of it.
        let paid = match self.amount() {
            0 => received.max(self.amount_paid.unwrap_or(0)),
            amount => amount.saturating_add(self.amount_overpaid.unwrap_or(0)),
        };
        let (before, after) = self.balances();
        (back.outcome(paid, from_balance(before, after)), back)
    }

    /// Returns the customer's balance before and after the invoice was finalized.
    fn balances(&self) -> (i64, i64) {
        let before = self.starting_balance.unwrap_or(0);
        (before, self.ending_balance.unwrap_or(before))
    }
}

/// A credit note (<https://docs.stripe.com/api/credit_notes/object>).
#[derive(Debug, Deserialize)]
pub struct WireCreditNote {
    pub id: String,
    invoice: Option<Link>,
    status: Option<String>,
    post_payment_amount: Option<i64>,
    refunds: Option<Vec<WireCreditRefund>>,
}

#[derive(Debug, Deserialize)]
struct WireCreditRefund {
    amount_refunded: Option<i64>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl WireCreditNote {
    /// Returns the id of its invoice.
    pub fn invoice(&self) -> Option<&str> {
        self.invoice.as_ref().map(Link::id)
    }

    /// Returns the amount that it credited after the payment, to the balance or out of band. Its
    /// refunds are not included, because the charges have them.
    pub fn credited_later(&self) -> i64 {
        if self.status.as_deref() == Some("void") {
            return 0;
        }
        // A refund of a payment outside of Stripe has no charge, so it is included.
        let of_charges = self.refunds.iter().flatten();
        let of_charges =
            of_charges.filter(|refund| refund.kind.as_deref() != Some("payment_record_refund"));
        let refunds = of_charges.filter_map(|refund| refund.amount_refunded);
        let refunded = refunds.fold(0, i64::saturating_add);
        self.post_payment_amount.unwrap_or(0).saturating_sub(refunded).max(0)
    }
}

impl WireLine {
    fn into_domain(self) -> Line {
        let (period_start, period_end) = self.period.map_or((None, None), |period| period.bounds());
        let of_item = |parent: LineParent| {
            parent.subscription_item_details.or(parent.invoice_item_details)?.proration_details
        };
        let credited = self.parent.and_then(of_item).and_then(|details| details.credited_items);
        Line {
            id: self.id,
            price: self.pricing.and_then(Pricing::price),
            period_start,
            period_end,
            amount: self.amount.unwrap_or(0),
            quantity: units(self.quantity),
            credits: credited.and_then(|items| items.invoice_line_items).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_of_an_invoice_is_read_if_it_is_https() {
        let page = "https://invoice.stripe.com/i/acct_1/test_1?s=ap";
        for (sent, expected) in [
            (json!(page), Some(page)),
            (json!("http://127.0.0.1:4242/invoice/in_1"), None),
            (json!("javascript:alert(1)"), None),
            (json!(null), None),
        ] {
            let sent = json!({ "id": "in_1", "hosted_invoice_url": sent });
            let wire: WireInvoice = serde_json::from_value(sent.clone()).unwrap();
            let invoice = wire.into_domain(&BTreeMap::new(), 0, &[]).unwrap();
            assert_eq!(invoice.url.as_ref().map(|url| url.as_str()), expected, "{sent}");
        }
    }
}
