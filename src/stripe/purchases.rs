//! What a customer bought: subscriptions, invoices, payments, credit notes and disputes. A sync
//! fetches all of it, except the invoices that an earlier sync found to be closed. The calls of a
//! sale are in `sale.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::wire::{
    List, PaymentFacts, WireCharge, WireCreditNote, WireDispute, WireInvoice, WireInvoicePayment,
    WireItem, WireLine, WirePaymentIntent, WireSubscription,
};
use super::{Answer, Stripe, StripeFailure, field};
use crate::domain::sale::stripe_ids::{InvoiceId, PaymentIntentId, StripeCustomerId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;

/// The maximum number of payments that are fetched one by one after a page of the list. For more,
/// the next page is fetched.
const MAX_SINGLE_PAYMENTS: usize = 10;

/// The maximum number of running subscriptions whose invoices are listed separately, one call for
/// each. A customer with more of them has the newest invoices listed instead.
const MAX_SEPARATE_LISTS: usize = 20;

impl Stripe {
    /// Returns what Stripe says about a customer's purchases: the newest 2,000 subscriptions, all
    /// invoices of those that are running, and the newest 2,000 of the others. With `closed`, the
    /// others end with that invoice and the rest of its page. The subscriptions are fetched first,
    /// then the invoices, then the payments, so that the invoices are at least as new as the
    /// subscriptions.
    pub async fn purchases(
        &self,
        id: &StripeCustomerId,
        closed: Option<&InvoiceId>,
    ) -> Answer<StripeState> {
        let mut state =
            StripeState { subscriptions: self.subscriptions(id).await?, ..StripeState::default() };
        let mut invoices = self.invoices(id, &state, closed).await?;
        for invoice in &mut invoices {
            self.complete(invoice).await?;
        }
        let credited = self.credited_later(id, &invoices).await?;
        let payments = self.payments(id, &invoices).await?;
        let invoices = invoices.into_iter().filter_map(|invoice| {
            let credited_later = credited.get(&invoice.id).copied().unwrap_or(0);
            invoice.into_domain(&payments, credited_later, &state.subscriptions)
        });
        state.invoices = invoices.collect();
        Ok(state)
    }

    /// Returns the invoices of [`Self::purchases`], the oldest first.
    async fn invoices(
        &self,
        id: &StripeCustomerId,
        state: &StripeState,
        closed: Option<&InvoiceId>,
    ) -> Answer<Vec<WireInvoice>> {
        let running: BTreeSet<&str> = state.running_subscriptions().map(|id| id.as_str()).collect();
        let is_listed_separately = running.len() <= MAX_SEPARATE_LISTS;
        let closed = closed.filter(|_| is_listed_separately);
        let of_customer = field("customer", id.as_str());
        let (mut invoices, is_complete) = self.list_invoices(of_customer, closed).await?;
        if !is_complete && is_listed_separately {
            let is_of_running =
                |one: &WireInvoice| one.subscription().is_some_and(|id| running.contains(id));
            invoices.retain(|invoice| !is_of_running(invoice));
            for subscription in &running {
                let of_subscription = field("subscription", *subscription);
                invoices.extend(self.list_invoices(of_subscription, None).await?.0);
            }
        }
        // Stripe lists the newest first. Sorting keeps the order of those of the same second.
        invoices.reverse();
        invoices.sort_by_key(|invoice| invoice.created);
        Ok(invoices)
    }

    /// Lists invoices, the newest first, up to the page that has `closed`. Returns them, and
    /// whether there are no others.
    async fn list_invoices(
        &self,
        of: (String, String),
        closed: Option<&InvoiceId>,
    ) -> Answer<(Vec<WireInvoice>, bool)> {
        let is_closed = |invoice: &WireInvoice| closed.is_some_and(|id| id.as_str() == invoice.id);
        self.newest(
            "/invoices",
            vec![of, field("expand[]", "data.payments")],
            |invoice: &WireInvoice| invoice.id.as_str(),
            |page| page.iter().any(is_closed),
        )
        .await
    }

    /// Fetches the lines and payments that Stripe left out of the list of invoices.
    async fn complete(&self, invoice: &mut WireInvoice) -> Answer<()> {
        if invoice.lines.as_ref().is_some_and(|lines| lines.has_more) {
            let path = format!("/invoices/{}/lines", invoice.id);
            let data = self.all(&path, Vec::new(), |line: &WireLine| line.id.as_str()).await?;
            invoice.lines = Some(List { data, has_more: false });
        }
        if invoice.payments.as_ref().is_some_and(|payments| payments.has_more) {
            let query = vec![field("invoice", &invoice.id)];
            let data = self
                .all("/invoice_payments", query, |payment: &WireInvoicePayment| payment.id.as_str())
                .await?;
            invoice.payments = Some(List { data, has_more: false });
        }
        Ok(())
    }

    /// Returns the amount that was credited after the payment of each invoice, by the invoice's id.
    /// Refunds are not included.
    async fn credited_later(
        &self,
        id: &StripeCustomerId,
        invoices: &[WireInvoice],
    ) -> Answer<HashMap<String, i64>> {
        let mut credited: HashMap<String, i64> = HashMap::new();
        if !invoices.iter().any(WireInvoice::has_later_credit) {
            return Ok(credited);
        }
        let query = vec![field("customer", id.as_str())];
        let (notes, _) = self
            .newest("/credit_notes", query, |note: &WireCreditNote| note.id.as_str(), |_| false)
            .await?;
        for note in notes {
            let sum = credited.entry(note.invoice().unwrap_or_default().to_owned()).or_default();
            *sum = sum.saturating_add(note.credited_later());
        }
        Ok(credited)
    }

    /// Returns the newest 2,000 subscriptions of a customer, including ended ones.
    pub async fn subscriptions(&self, id: &StripeCustomerId) -> Answer<Vec<Subscription>> {
        let query = vec![field("customer", id.as_str()), field("status", "all")];
        let (mut subscriptions, _) = self
            .newest("/subscriptions", query, |one: &WireSubscription| one.id.as_str(), |_| false)
            .await?;
        for subscription in &mut subscriptions {
            if subscription.items.as_ref().is_some_and(|items| items.has_more) {
                let query = vec![field("subscription", &subscription.id)];
                let data = self
                    .all("/subscription_items", query, |item: &WireItem| item.id.as_str())
                    .await?;
                subscription.items = Some(List { data, has_more: false });
            }
        }
        Ok(subscriptions.into_iter().filter_map(WireSubscription::into_domain).collect())
    }

    /// Returns the outcomes of the payments of these invoices. The newest are listed; the few that
    /// are older are fetched by their ids.
    async fn payments(
        &self,
        id: &StripeCustomerId,
        invoices: &[WireInvoice],
    ) -> Answer<BTreeMap<PaymentIntentId, PaymentFacts>> {
        let mut missing: BTreeSet<PaymentIntentId> =
            invoices.iter().flat_map(WireInvoice::payment_intents).collect();
        if missing.is_empty() {
            return Ok(BTreeMap::new());
        }
        let query = vec![field("customer", id.as_str()), field("expand[]", "data.latest_charge")];
        let newest = self.newest(
            "/payment_intents",
            query,
            |intent: &WirePaymentIntent| intent.id.as_str(),
            |page| {
                missing.retain(|id| !page.iter().any(|intent| intent.id == id.as_str()));
                missing.len() <= MAX_SINGLE_PAYMENTS
            },
        );
        let mut intents = match newest.await {
            // The payments are optional: the invoices have the essential facts.
            Err(StripeFailure::Refused { status: 404, .. }) => Vec::new(),
            listed => listed?.0,
        };
        for intent in missing {
            let query = vec![field("expand[]", "latest_charge")];
            intents.extend(self.known(&format!("/payment_intents/{intent}"), query).await?);
        }
        for intent in &mut intents {
            if let Some(WireCharge::Id(id)) = &intent.latest_charge {
                intent.latest_charge = self.known(&format!("/charges/{id}"), Vec::new()).await?;
            }
        }
        // Sorted by id, so that the calls below are always made in the same order.
        let mut payments: BTreeMap<_, _> =
            intents.into_iter().filter_map(WirePaymentIntent::into_domain).collect();
        for (intent, facts) in payments.iter_mut().filter(|(_, facts)| facts.is_disputed) {
            let query = vec![field("payment_intent", intent.as_str())];
            let disputes =
                self.all("/disputes", query, |dispute: &WireDispute| dispute.id.as_str()).await?;
            disputes.iter().for_each(|dispute| dispute.add_to(facts));
            if disputes.is_empty() {
                WireDispute::add_unlisted(facts);
            }
        }
        Ok(payments)
    }
}
