//! Payments as Stripe sends them: payment intents, charges and disputes. Invoices are in
//! `invoice.rs`.

use serde::Deserialize;
use serde_json::Value;

use super::{Link, time};
use crate::domain::sale::invoice::{MoneyBack, Payment};
use crate::domain::sale::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::sale::stripe_page::StripePage;
use crate::domain::time::Timestamp;

/// The outcome of one payment.
#[derive(Clone, Debug, Default)]
pub struct PaymentFacts {
    /// The time of the charge.
    pub charged_at: Option<Timestamp>,
    /// Stripe's page of the receipt.
    pub receipt_url: Option<StripePage>,
    /// The paid amount, in the currency's smallest unit.
    pub amount: i64,
    /// The returned and disputed amounts.
    pub back: MoneyBack,
    /// The status of the payment itself, without refunds and disputes.
    pub attempt: Payment,
    /// Whether there are disputes about it. They must be fetched separately.
    pub is_disputed: bool,
}

#[derive(Debug, Deserialize)]
pub struct WirePaymentIntent {
    pub id: String,
    customer: Option<Link>,
    status: Option<String>,
    amount: Option<i64>,
    last_payment_error: Option<Value>,
    pub latest_charge: Option<WireCharge>,
}

/// A charge: its id, or the object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum WireCharge {
    Id(String),
    Object {
        created: Option<i64>,
        receipt_url: Option<String>,
        amount: Option<i64>,
        amount_refunded: Option<i64>,
        paid: Option<bool>,
        refunded: Option<bool>,
        disputed: Option<bool>,
    },
}

impl WirePaymentIntent {
    /// Returns the Stripe customer that made it, if there is one.
    pub fn customer(&self) -> Option<StripeCustomerId> {
        self.customer.as_ref()?.id().parse().ok()
    }

    /// Returns the payment and its outcome, without its disputes; `None` if its id is invalid.
    pub fn into_domain(self) -> Option<(PaymentIntentId, PaymentFacts)> {
        let failed = self.last_payment_error.is_some();
        let attempt = match self.status.as_deref() {
            Some("processing") => Payment::Processing,
            Some("canceled") => Payment::Failed,
            Some("requires_payment_method") if failed => Payment::Failed,
            _ => Payment::Unremarkable,
        };
        let mut facts = PaymentFacts { attempt, ..PaymentFacts::default() };
        if let Some(WireCharge::Object {
            created,
            receipt_url,
            amount,
            amount_refunded,
            paid,
            refunded,
            disputed,
        }) = self.latest_charge
            && paid != Some(false)
        {
            facts.charged_at = time(created);
            facts.receipt_url = receipt_url.and_then(|url| url.parse().ok());
            // Without an amount, 1 stands for the whole, so that a full refund is still recognized.
            facts.amount = amount.or(self.amount).unwrap_or(1);
            facts.back.refunded = match (refunded, amount_refunded) {
                (Some(true), _) => facts.amount,
                (_, part) => part.unwrap_or(0),
            };
            facts.is_disputed = disputed == Some(true);
        }
        Some((self.id.parse().ok()?, facts))
    }
}

#[derive(Debug, Deserialize)]
pub struct WireDispute {
    pub id: String,
    status: Option<String>,
    amount: Option<i64>,
}

impl WireDispute {
    /// Adds the amount that this dispute has taken, or may take, from a payment
    /// (<https://docs.stripe.com/api/disputes/object#dispute_object-status>).
    pub fn add_to(&self, facts: &mut PaymentFacts) {
        let amount = self.amount.unwrap_or(facts.amount);
        facts.back += match self.status.as_deref() {
            Some("lost") => MoneyBack { dispute_lost: amount, ..MoneyBack::default() },
            Some("won" | "prevented") => MoneyBack::default(),
            // An inquiry takes no money.
            Some(status) if status.starts_with("warning_") => MoneyBack::default(),
            _ => MoneyBack { disputed: amount, ..MoneyBack::default() },
        };
    }

    /// Adds a dispute about all of a payment, for one that Stripe reports but does not list.
    pub fn add_unlisted(facts: &mut PaymentFacts) {
        facts.back.disputed = facts.amount;
    }
}
