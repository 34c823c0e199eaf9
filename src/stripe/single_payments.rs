//! Single payments that are read by their Checkout sessions: those of guests, who have no Stripe
//! customer (<https://docs.stripe.com/payments/checkout/guest-customers>), and those of Stripe
//! customers who are not linked.

use super::wire::{List, WireLineItem, WirePaymentIntent, WireSession};
use super::{Answer, Stripe, field};
use crate::domain::sale::buyer::PaymentSession;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, PaymentIntentId};
use crate::domain::sale::stripe_state::PaidSession;

impl Stripe {
    /// Returns the completed Checkout session with this id; `None` if it is not that of a single
    /// payment.
    pub async fn payment_session(&self, id: &CheckoutSessionId) -> Answer<Option<PaymentSession>> {
        let query = vec![field("expand[]", "line_items")];
        let session = self.known(&format!("/checkout/sessions/{id}"), query).await?;
        self.read_payment(session).await
    }

    /// Returns these single payments, without those that are not paid.
    pub async fn paid_sessions(&self, ids: &[CheckoutSessionId]) -> Answer<Vec<PaidSession>> {
        let mut paid = Vec::new();
        for id in ids {
            paid.extend(self.payment_session(id).await?.and_then(|found| found.paid));
        }
        Ok(paid)
    }

    /// Returns the completed Checkout session with this payment, if there is one.
    pub async fn session_of_payment(
        &self,
        payment: &PaymentIntentId,
    ) -> Answer<Option<PaymentSession>> {
        let query = vec![
            field("payment_intent", payment.as_str()),
            field("limit", "1"),
            field("expand[]", "data.line_items"),
        ];
        let listed: Option<List<WireSession>> = self.known("/checkout/sessions", query).await?;
        self.read_payment(listed.and_then(|listed| listed.data.into_iter().next())).await
    }

    async fn read_payment(&self, session: Option<WireSession>) -> Answer<Option<PaymentSession>> {
        let completed = session.filter(WireSession::is_completed_payment);
        let Some(mut session) = completed else { return Ok(None) };
        self.complete_lines(&mut session).await?;
        let intent = session.payment_intent();
        let facts = self.facts(self.payment_intents(intent).await?).await?;
        Ok(session.into_payment_session(&facts))
    }

    /// Fetches the lines that Stripe left out of a session.
    pub(super) async fn complete_lines(&self, session: &mut WireSession) -> Answer<()> {
        if session.line_items.as_ref().is_some_and(|items| items.has_more) {
            let path = format!("/checkout/sessions/{}/line_items", session.id);
            let data = self.all(&path, Vec::new(), |one: &WireLineItem| one.id.as_str()).await?;
            session.line_items = Some(List { data, has_more: false });
        }
        Ok(())
    }

    /// Fetches payments one by one.
    pub(super) async fn payment_intents(
        &self,
        ids: impl IntoIterator<Item = PaymentIntentId>,
    ) -> Answer<Vec<WirePaymentIntent>> {
        let mut intents = Vec::new();
        for id in ids {
            let query = vec![field("expand[]", "latest_charge")];
            intents.extend(self.known(&format!("/payment_intents/{id}"), query).await?);
        }
        Ok(intents)
    }
}
