//! Everything that Stripe says about one customer, read at one time. [`crate::flows::sale::sync`]
//! fetches it; [`crate::domain::sale::settlement`] decides what changes because of it.

use crate::domain::sale::invoice::{
    BillingReason, Invoice, InvoiceStatus, Line, OrderStatus, Payment,
};
use crate::domain::sale::plan::Currency;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::selection::CustomerCurrency;
use crate::domain::sale::stripe_ids::{
    CheckoutSessionId, InvoiceId, PaymentIntentId, StripeSubscriptionId,
};
use crate::domain::sale::stripe_page::StripePage;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::{SKEW, Timestamp};

/// Everything that Stripe says about one customer and that may have changed since the last sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StripeState {
    /// Whether the Stripe customer was deleted. Then nothing counts but the claimed payments, in
    /// `paid_sessions`.
    pub is_deleted: bool,
    /// Every subscription, ended ones too.
    pub subscriptions: Vec<Subscription>,
    /// The invoices that the sync fetched, the oldest first: closed ones may be missing. This order
    /// is the only way to tell which of two invoices of the same second is older.
    pub invoices: Vec<Invoice>,
    /// The Checkout sessions of orders that are still pending here, and those of single payments.
    pub checkout_sessions: Vec<CheckoutSession>,
    /// The single payments by Checkout that have no invoice, or none yet that is settled.
    pub paid_sessions: Vec<PaidSession>,
    /// The payment method that pays invoices.
    pub default_payment_method: Option<String>,
    /// The currency of earlier purchases.
    pub usual_currency: Option<Currency>,
}

impl StripeState {
    /// Returns the customer's currency. A subscription that has not ended pins it.
    #[must_use]
    pub fn currency(&self) -> CustomerCurrency {
        let running = self.subscriptions.iter().filter(|one| !one.status.has_ended());
        let mut pins = running.filter_map(|one| one.currency.as_deref()?.parse().ok());
        CustomerCurrency { usual: self.usual_currency.clone(), pinned: pins.next() }
    }

    /// Returns the present time. If the server's `clock` is behind Stripe's by no more than
    /// [`SKEW`], it is the time of the newest invoice or payment: the period that this invoice ends
    /// is over, although it is not by the clock. A time further ahead is of a wrong clock, or of
    /// one of Stripe's test clocks (<https://docs.stripe.com/billing/testing/test-clocks>).
    #[must_use]
    pub fn present(&self, clock: Timestamp) -> Timestamp {
        let invoices = self.invoices.iter();
        let times = invoices.flat_map(|invoice| [Some(invoice.created), invoice.paid_at]);
        let newest = times.flatten().filter(|time| *time <= clock + SKEW).max();
        newest.map_or(clock, |newest| newest.max(clock))
    }

    /// Returns whether a subscription has or had a trial at Stripe.
    #[must_use]
    pub fn has_trial(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.trial_end.is_some())
    }

    /// Returns whether the customer has bought anything, or owes for it: an unpaid invoice counts
    /// too for Stripe's codes for a first purchase
    /// (<https://github.com/stripe/stripe-node/issues/2349>).
    #[must_use]
    pub fn has_bought(&self) -> bool {
        let is_none =
            |status: InvoiceStatus| matches!(status, InvoiceStatus::Draft | InvoiceStatus::Void);
        !self.paid_sessions.is_empty()
            || self.invoices.iter().any(|invoice| !is_none(invoice.status))
    }

    /// Ends the lines of trials with their trials. The invoice of a trial that the vendor ended
    /// early still names the former end, and its units would count beside those that are paid
    /// since.
    pub fn end_trial_lines(&mut self) {
        let ends = self.subscriptions.iter().filter_map(|one| Some((&one.id, one.trial_end?)));
        for (id, end) in ends {
            for invoice in self.invoices.iter_mut().filter(|invoice| invoice.is_of(id)) {
                // What starts with the end follows the trial. A trial that was ended in its first
                // second is the exception: its own lines are on the first invoice.
                let is_first = invoice.reason == BillingReason::Other;
                let is_of_trial = |line: &&mut Line| {
                    let is_within =
                        line.period_start < Some(end) || is_first && line.period_start == Some(end);
                    line.amount == 0 && is_within
                };
                for line in invoice.lines.iter_mut().filter(is_of_trial) {
                    line.period_end = line.period_end.map(|former| former.min(end));
                }
            }
        }
    }

    /// Returns the ids of the running subscriptions: those that have not ended, and may still be
    /// paid for.
    pub fn running_subscriptions(&self) -> impl Iterator<Item = &StripeSubscriptionId> {
        let running = self.subscriptions.iter().filter(|one| !one.status.has_ended());
        running.map(|subscription| &subscription.id)
    }
}

/// The status of a Checkout session
/// (<https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-status>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutStatus {
    /// It can be paid.
    Open,
    /// The customer completed it. The payment may still be processing.
    Complete,
    /// It can no longer be paid.
    Expired,
}

/// A Checkout session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckoutSession {
    /// The id.
    pub id: CheckoutSessionId,
    /// The URL of the page, while it is open.
    pub url: Option<String>,
    /// The status.
    pub status: CheckoutStatus,
    /// Whether it is complete and its `payment_status` is `unpaid`
    /// (<https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status>).
    pub is_unpaid: bool,
    /// The outcome of its payment, of a single payment.
    pub payment: Payment,
    /// The subscription that it created.
    pub subscription: Option<StripeSubscriptionId>,
    /// The first invoice of that subscription.
    pub invoice: Option<InvoiceId>,
    /// The attempt that opened it, from its metadata.
    pub attempt_id: Option<String>,
    /// The amounts; `None` until it is completed, because discounts and taxes depend on the page.
    pub total: Option<SessionTotal>,
}

/// What a completed Checkout session charges, in the currency's smallest unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTotal {
    /// The amount, with tax.
    pub amount: i64,
    /// The part of the amount that is tax.
    pub tax: i64,
    /// The sum of the discounts.
    pub discount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
}

/// A single payment by a Checkout session without an invoice: of an older integration, of a payment
/// link, without cost, or in the seconds before Stripe creates and settles the invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidSession {
    /// The id.
    pub id: CheckoutSessionId,
    /// The time of creation.
    pub created: Timestamp,
    /// What it charged.
    pub total: SessionTotal,
    /// The lines.
    pub lines: Vec<Line>,
    /// The payment; `None` if nothing was due.
    pub payment_intent: Option<PaymentIntentId>,
    /// The outcome of the payment.
    pub payment: Payment,
    /// The part of the amount that was returned.
    pub returned: i64,
    /// The time of the charge.
    pub charged_at: Option<Timestamp>,
    /// Stripe's page of the receipt.
    pub receipt_url: Option<StripePage>,
}

impl PaidSession {
    /// Returns whether it counts as paid under a policy.
    #[must_use]
    pub fn is_paid(&self, policy: &Policy) -> bool {
        !self.payment.is_revoked(policy)
    }

    /// Returns the status of its order.
    #[must_use]
    pub fn order_status(&self) -> OrderStatus {
        match self.payment {
            Payment::Refunded => OrderStatus::Refunded,
            Payment::Disputed | Payment::DisputeLost => OrderStatus::Disputed,
            _ => OrderStatus::Succeeded,
        }
    }
}

impl CheckoutSession {
    /// Returns an expired session, for one that Stripe no longer has.
    #[must_use]
    pub fn unknown_to_stripe(id: &CheckoutSessionId) -> Self {
        Self {
            id: id.clone(),
            url: None,
            status: CheckoutStatus::Expired,
            is_unpaid: false,
            payment: Payment::Unremarkable,
            subscription: None,
            invoice: None,
            attempt_id: None,
            total: None,
        }
    }

    /// Returns the first invoice of the purchase: the one that the session names, or else the
    /// oldest of its subscription.
    #[must_use]
    pub fn first_invoice<'a>(&'a self, state: &'a StripeState) -> Option<&'a InvoiceId> {
        let created =
            self.subscription.as_ref().filter(|_| self.status == CheckoutStatus::Complete);
        let oldest = || {
            let invoice =
                state.invoices.iter().find(|invoice| created.is_some_and(|id| invoice.is_of(id)));
            invoice.map(|invoice| &invoice.id)
        };
        self.invoice.as_ref().or_else(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::entitlement::assess;
    use crate::domain::sale::entitlement::tests::{
        DAY, MONTH, NOW, at, invoice, selling, subscription,
    };

    #[test]
    fn a_trial_that_ended_early_counts_its_units_once() {
        let catalog = selling();
        let mut team = subscription("sub_1", "active", &["price_team_month"]);
        (team.created, team.trial_end) = (at(NOW - DAY), Some(at(NOW)));
        team.items[0].quantity = Some(8);
        (team.items[0].period_start, team.items[0].period_end) =
            (Some(at(NOW)), Some(at(NOW + MONTH)));
        let mut trial = invoice("in_1", &team, InvoiceStatus::Paid, NOW + MONTH);
        let mut first = invoice("in_2", &team, InvoiceStatus::Paid, NOW + MONTH);
        let billed =
            [(&mut trial, 0, NOW - DAY, NOW + 13 * DAY), (&mut first, 8000, NOW, NOW + MONTH)];
        for (invoice, amount, start, end) in billed {
            (invoice.amount, invoice.created) = (amount, at(start));
            let line = &mut invoice.lines[0];
            (line.price, line.quantity) = (Some("price_team_month".to_owned()), Some(8));
            (line.amount, line.period_start, line.period_end) =
                (amount, Some(at(start)), Some(at(end)));
        }
        let mut state = StripeState {
            subscriptions: vec![team],
            invoices: vec![trial, first],
            ..StripeState::default()
        };
        state.end_trial_lines();
        let assessment = assess(&state, None, &catalog, at(NOW + DAY));
        assert_eq!(assessment.entitlement.map(|granted| granted.quantity), Some(8));
    }

    #[test]
    fn what_is_free_from_the_end_of_the_trial_on_counts() {
        let mut team = subscription("sub_1", "active", &["price_team_month"]);
        (team.created, team.trial_end) = (at(NOW), Some(at(NOW)));
        let mut trial = invoice("in_1", &team, InvoiceStatus::Paid, NOW + 14 * DAY);
        let mut change = invoice("in_2", &team, InvoiceStatus::Paid, NOW + MONTH);
        (trial.reason, change.reason) = (BillingReason::Other, BillingReason::Change);
        for invoice in [&mut trial, &mut change] {
            (invoice.lines[0].amount, invoice.lines[0].period_start) = (0, Some(at(NOW)));
        }
        let invoices = vec![trial, change];
        let mut state =
            StripeState { subscriptions: vec![team], invoices, ..StripeState::default() };
        state.end_trial_lines();
        let ends = state.invoices.iter().map(|invoice| invoice.lines[0].period_end);
        assert_eq!(ends.collect::<Vec<_>>(), [Some(at(NOW)), Some(at(NOW + MONTH))]);
    }
}
