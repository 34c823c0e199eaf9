//! Fetches what a customer bought: subscriptions, invoices, payments, credit notes and disputes. A
//! sync fetches all of it, except the invoices that an earlier sync found to be closed. The calls
//! of a sale are in `sale.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::slice::from_ref;

use super::wire::{
    List, PaymentFacts, WireCharge, WireCreditNote, WireDispute, WireInvoice, WireInvoicePayment,
    WireItem, WireLine, WirePaymentIntent, WireSession, WireSubscription,
};
use super::{Answer, Form, Stripe, StripeFailure, field};
use crate::domain::sale::invoice::Invoice;
use crate::domain::sale::settlement::KeptId;
use crate::domain::sale::stripe_ids::{InvoiceId, PaymentIntentId, StripeCustomerId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription};

/// The maximum number of payments that are fetched one by one after a page of the list. For more,
/// the next page is fetched.
const MAX_SINGLE_PAYMENTS: usize = 10;

/// The maximum number of running subscriptions whose invoices are listed separately, one call for
/// each. A customer with more of them has the newest invoices listed instead.
const MAX_SEPARATE_LISTS: usize = 20;

/// The maximum number of kept purchases that are fetched one by one. A customer with more of them
/// has the newest invoices listed instead.
const MAX_KEPT: usize = 50;

/// Determines the objects that a sync fetches besides the newest ones.
#[derive(Clone, Debug, Default)]
pub struct Needs<'a> {
    /// The newest invoice that an earlier sync found to be closed together with every older one.
    /// `None` fetches all.
    pub closed: Option<&'a InvoiceId>,
    /// The purchases that are fetched whatever their age.
    pub kept: &'a [KeptId],
    /// Whether anything is sold by single payments, which may have no invoice.
    pub sells_once: bool,
    /// Whether there are trials at Stripe, for which the cards matter.
    pub has_trials: bool,
}

impl Stripe {
    /// Returns what Stripe says about a customer's purchases: the newest 2,000 subscriptions, all
    /// invoices of those that are running, the newest 2,000 of the others, and the Checkout
    /// sessions of single payments. With [`Needs::closed`], the others end with that invoice and
    /// the rest of its page. The subscriptions are fetched first, then the invoices, then the
    /// payments, so that the invoices are at least as new as the subscriptions.
    pub async fn purchases(&self, id: &StripeCustomerId, needs: &Needs<'_>) -> Answer<StripeState> {
        let (mut state, mut invoices) = self.subscriptions_and_invoices(id, needs).await?;
        if invoices.iter().any(|invoice| is_newer_than_listed(invoice, &state.subscriptions)) {
            // Both are read again, once. Otherwise the payment is reported without a license.
            (state, invoices) = self.subscriptions_and_invoices(id, needs).await?;
        }
        for invoice in &mut invoices {
            self.complete(invoice).await?;
        }
        let sessions = self.completed_sessions(id, needs).await?;
        // The sessions are listed after the invoices, so one may name an invoice that was not
        // listed yet, or is not paid yet. Until then, the session shows the payment.
        let settled: HashSet<String> = invoices
            .iter()
            .filter(|invoice| invoice.is_settled())
            .map(|invoice| invoice.id.clone())
            .collect();
        let (by_session, by_invoice): (Vec<_>, Vec<_>) =
            sessions.into_iter().partition(|session| {
                session.invoice().is_none_or(|invoice| !settled.contains(invoice))
            });
        let credited = self.credited_later(id, &invoices).await?;
        let payments = self.payments(id, &invoices, &by_session).await?;
        let invoices = invoices.into_iter().filter_map(|invoice| {
            let credited_later = credited.get(&invoice.id).copied().unwrap_or(0);
            invoice.into_domain(&payments, credited_later, &state.subscriptions)
        });
        state.invoices = invoices.collect();
        state.end_trial_lines();
        let listed = by_session.iter().chain(&by_invoice);
        state.checkout_sessions = listed.filter_map(|one| one.to_domain(&payments)).collect();
        let paid = by_session.into_iter().filter_map(|session| session.into_paid(&payments));
        state.paid_sessions = paid.collect();
        Ok(state)
    }

    /// Returns the subscriptions as a state without anything else, and then the invoices.
    async fn subscriptions_and_invoices(
        &self,
        id: &StripeCustomerId,
        needs: &Needs<'_>,
    ) -> Answer<(StripeState, Vec<WireInvoice>)> {
        let subscriptions = self.paid_by(id, needs).await?;
        let state = StripeState { subscriptions, ..StripeState::default() };
        let invoices = self.invoices(id, &state, needs).await?;
        Ok((state, invoices))
    }

    /// Returns what a Stripe customer bought who may not be linked: all subscriptions, and if
    /// anything is sold by single payments, those too, with the invoices that show them.
    pub async fn bought(&self, id: &StripeCustomerId, sells_once: bool) -> Answer<StripeState> {
        if sells_once {
            return self.purchases(id, &Needs { sells_once, ..Needs::default() }).await;
        }
        let subscriptions = self.subscriptions(id).await?;
        Ok(StripeState { subscriptions, ..StripeState::default() })
    }

    /// Returns the completed Checkout sessions of single payments: the newest, or with
    /// [`Needs::closed`] one page of them, and the kept ones. If nothing is sold so any more, only
    /// the kept ones.
    async fn completed_sessions(
        &self,
        id: &StripeCustomerId,
        needs: &Needs<'_>,
    ) -> Answer<Vec<WireSession>> {
        let mut sessions: Vec<WireSession> = Vec::new();
        if needs.sells_once {
            let query = vec![
                field("customer", id.as_str()),
                field("status", "complete"),
                field("expand[]", "data.line_items"),
            ];
            let is_enough = |_: &[WireSession]| needs.closed.is_some();
            let listed = self.newest(
                "/checkout/sessions",
                query,
                |one: &WireSession| one.id.as_str(),
                is_enough,
            );
            sessions = listed.await?.0;
        }
        for kept in needs.kept {
            let KeptId::Session(id) = kept else { continue };
            if !sessions.iter().any(|session| session.id == id.as_str()) {
                let query = vec![field("expand[]", "line_items")];
                sessions.extend(self.known(&format!("/checkout/sessions/{id}"), query).await?);
            }
        }
        sessions.retain(|session| session.is_single_payment());
        for session in &mut sessions {
            self.complete_lines(session).await?;
        }
        Ok(sessions)
    }

    /// Returns the invoices of [`Self::purchases`], the oldest first.
    async fn invoices(
        &self,
        id: &StripeCustomerId,
        state: &StripeState,
        needs: &Needs<'_>,
    ) -> Answer<Vec<WireInvoice>> {
        let mut separate: BTreeSet<&str> =
            state.running_subscriptions().map(|id| id.as_str()).collect();
        separate.extend(needs.kept.iter().filter_map(|kept| match kept {
            KeptId::Subscription(id) => Some(id.as_str()),
            _ => None,
        }));
        let is_listed_separately =
            separate.len() <= MAX_SEPARATE_LISTS && needs.kept.len() <= MAX_KEPT;
        let closed = needs.closed.filter(|_| is_listed_separately);
        let of_customer = field("customer", id.as_str());
        let (mut invoices, is_complete) = self.list_invoices(of_customer, closed).await?;
        if !is_complete && is_listed_separately {
            let is_of_separate =
                |one: &WireInvoice| one.subscription().is_some_and(|id| separate.contains(id));
            invoices.retain(|invoice| !is_of_separate(invoice));
            for subscription in &separate {
                let of_subscription = field("subscription", *subscription);
                invoices.extend(self.list_invoices(of_subscription, None).await?.0);
            }
        }
        if !is_complete {
            self.add_kept_invoices(&mut invoices, needs.kept).await?;
        }
        // Stripe lists the newest first. Sorting keeps the order of those of the same second.
        invoices.reverse();
        invoices.sort_by_key(|invoice| invoice.created);
        Ok(invoices)
    }

    /// Fetches the kept invoices that are not on the pages of the list, at most [`MAX_KEPT`].
    async fn add_kept_invoices(
        &self,
        invoices: &mut Vec<WireInvoice>,
        kept: &[KeptId],
    ) -> Answer<()> {
        for kept in kept.iter().take(MAX_KEPT) {
            let KeptId::Invoice(id) = kept else { continue };
            if !invoices.iter().any(|invoice| invoice.id == id.as_str()) {
                let query = vec![field("expand[]", "payments")];
                invoices.extend(self.known(&format!("/invoices/{id}"), query).await?);
            }
        }
        Ok(())
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

    /// Returns the open invoices of a subscription, the oldest first, without their payments.
    pub async fn open_invoices(&self, of: &Subscription) -> Answer<Vec<Invoice>> {
        let query = vec![field("subscription", of.id.as_str()), field("status", "open")];
        let (mut open, _) = self
            .newest("/invoices", query, |invoice: &WireInvoice| invoice.id.as_str(), |_| false)
            .await?;
        open.reverse();
        let none = BTreeMap::new();
        let open = open.into_iter().filter_map(|one| one.into_domain(&none, 0, from_ref(of)));
        Ok(open.collect())
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

    /// Returns the subscriptions of a customer with their cards, if there are trials. A restricted
    /// key may not read payment methods; then trials are not compared.
    async fn paid_by(&self, id: &StripeCustomerId, needs: &Needs<'_>) -> Answer<Vec<Subscription>> {
        if !needs.has_trials {
            return self.subscriptions(id).await;
        }
        let expanded = vec![field("expand[]", "data.default_payment_method")];
        match self.list_subscriptions(id, expanded).await {
            Err(error @ StripeFailure::Refused { status: 403, .. }) => {
                tracing::warn!(
                    %error,
                    "the key cannot read payment methods, so a card can have several trials"
                );
                self.subscriptions(id).await
            }
            listed => listed,
        }
    }

    /// Returns the newest 2,000 subscriptions of a customer, including ended ones.
    pub async fn subscriptions(&self, id: &StripeCustomerId) -> Answer<Vec<Subscription>> {
        self.list_subscriptions(id, Vec::new()).await
    }

    async fn list_subscriptions(
        &self,
        id: &StripeCustomerId,
        expanded: Form,
    ) -> Answer<Vec<Subscription>> {
        let mut query = vec![field("customer", id.as_str()), field("status", "all")];
        query.extend(expanded);
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

    /// Returns the outcomes of the payments of these invoices and sessions. The newest are listed;
    /// the few that are older are fetched by their ids.
    async fn payments(
        &self,
        id: &StripeCustomerId,
        invoices: &[WireInvoice],
        sessions: &[WireSession],
    ) -> Answer<BTreeMap<PaymentIntentId, PaymentFacts>> {
        let mut missing: BTreeSet<PaymentIntentId> =
            invoices.iter().flat_map(WireInvoice::payment_intents).collect();
        missing.extend(sessions.iter().filter_map(WireSession::payment_intent));
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
        intents.extend(self.payment_intents(missing).await?);
        self.facts(intents).await
    }

    /// Returns the outcomes of these payments, with their disputes.
    pub(super) async fn facts(
        &self,
        mut intents: Vec<WirePaymentIntent>,
    ) -> Answer<BTreeMap<PaymentIntentId, PaymentFacts>> {
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

/// Returns whether a paid invoice is for a subscription that was not listed, or was incomplete: it
/// was paid since.
fn is_newer_than_listed(invoice: &WireInvoice, listed: &[Subscription]) -> bool {
    let Some(id) = invoice.subscription().filter(|_| invoice.is_paid()) else { return false };
    let subscription = listed.iter().find(|one| one.id.as_str() == id);
    subscription.is_none_or(|one| one.status == Status::Incomplete)
}
