//! Guests: they pay once by a payment link, and Stripe makes no customer for them. The service
//! gives each purchase to the account with the guest's address. Later refunds and disputes
//! are decided here, too.

use std::collections::BTreeSet;

use licentia::domain::sale::policy::Consequence;
use licentia::error::Result;
use licentia::flows::sale::buyers;
use serde_json::Value;

use crate::database;
use crate::history::History;
use crate::people::id_of;
use crate::perpetual::STUDIO;

/// How far back a reconciliation finds the payment of a guest of whom no event arrived.
const FOUND_FOR: i64 = 30 * 86_400;

/// The state of the payment of a session without an invoice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It counts.
    Kept,
    /// All of it was refunded, and by the policy it does not count.
    Gone,
    /// Something else happened to it.
    Doubtful,
}

impl History {
    /// Returns the completed sessions of guests.
    pub fn guest_sessions(&self) -> Vec<Value> {
        let mut sessions = self.list("/v1/checkout/sessions", "status=complete");
        sessions.retain(|session| session["mode"] == "payment" && session["customer"].is_null());
        sessions
    }

    /// Notes who got which purchase.
    pub async fn note_claimed(&mut self) -> Result<()> {
        self.claimed = database::claimed_payments(&self.ground.store).await?;
        Ok(())
    }

    /// Returns the sessions of guests, and of other Stripe customers, whose purchases were given to
    /// the customer who has a Stripe customer.
    pub fn claimed_by(&self, stripe_id: &str) -> Vec<Value> {
        let mut sessions = self.list("/v1/checkout/sessions", "status=complete");
        let is_given = |session: &Value| {
            let owner = self.claimed.get(&id_of(session));
            let owner = owner.and_then(|owner| owner.stripe_customer_id.as_deref());
            session["mode"] == "payment"
                && session["customer"] != stripe_id
                && owner == Some(stripe_id)
        };
        sessions.retain(is_given);
        sessions
    }

    /// Returns whether a payment of a Stripe customer was given to a customer who has another one.
    pub fn is_given_away(&self, stripe_id: &str) -> bool {
        let of = format!("customer={stripe_id}&status=complete");
        let sessions = self.list("/v1/checkout/sessions", &of);
        sessions.iter().any(|session| self.claimed.contains_key(&id_of(session)))
    }

    /// Returns what became of the payment of a session.
    pub fn fate(&self, session: &Value) -> Fate {
        let intent = session["payment_intent"].as_str().unwrap_or_default();
        let charge = self.world.stripe.look(intent, |one| one["latest_charge"].clone());
        let charge = charge.as_str().unwrap_or_default();
        let number = |field: &str| {
            self.world.stripe.look(charge, |one| one[field].as_i64().unwrap_or_default())
        };
        let disputes = self.list("/v1/disputes", "");
        let is_disputed = disputes.iter().any(|dispute| dispute["payment_intent"] == intent);
        match (number("amount_refunded"), number("amount"), is_disputed) {
            (0, _, false) => Fate::Kept,
            (refunded, all, false) if refunded == all => match self.ground.plans.policy.refund {
                Consequence::Keep => Fate::Kept,
                Consequence::Revoke => Fate::Gone,
            },
            _ => Fate::Doubtful,
        }
    }

    /// A guest gets the money back, or a part of it, from the vendor or the bank. Returns whether
    /// there was anything to give back.
    pub fn pay_back_a_guest(&mut self) -> bool {
        let dice = self.world.dice.clone();
        let sessions = self.guest_sessions();
        let Some(session) = dice.pick(&sessions) else { return false };
        let intent = session["payment_intent"].as_str().unwrap_or_default();
        let stripe = &self.world.stripe;
        let amount = stripe.look(intent, |one| one["amount"].as_i64().unwrap_or_default());
        let done = match dice.below(5) {
            0..=2 => format!("is refunded {intent}: {:?}", stripe.refund(intent, None)),
            3 => {
                let part = (amount / 2).max(1);
                format!("is refunded {part} of {intent}: {:?}", stripe.refund(intent, Some(part)))
            }
            _ => format!("disputes {intent}: {:?}", stripe.open_dispute_about(intent, amount)),
        };
        self.tell(|| format!("a guest {done}"));
        true
    }

    /// Checks that each purchase of a guest belongs to the account with the address, or is recorded
    /// for the operator (A).
    pub async fn no_guest_is_missed(&mut self) -> Result<()> {
        let recorded = buyers::list(&self.servers[0].app).await?;
        let recorded: BTreeSet<String> =
            recorded.iter().map(|buyer| buyer.buyer_id.to_string()).collect();
        let allowed = self.ground.plans.checkout.allow_unknown_buyers;
        for session in self.guest_sessions() {
            let (id, fate) = (id_of(&session), self.fate(&session));
            let email = session["customer_details"]["email"].as_str().unwrap_or_default();
            let known = self.people.iter().find(|person| person.mailboxes.contains(email));
            if let Some(owner) = self.claimed.get(&id) {
                let is_right = known.and_then(|person| person.customer_id.as_ref());
                if is_right.is_none_or(|right| right.as_str() != owner.customer_id) {
                    let owner = &owner.customer_id;
                    self.violation(format!("A: {id} of the guest {email} went to {owner}"));
                }
                continue;
            }
            let is_paid = session["payment_status"] == "paid" && fate == Fate::Kept;
            if !is_paid || !self.is_findable(&session) {
                continue;
            }
            // Updates alone are of no use to somebody who has no license.
            let lines = self.list(&format!("/v1/checkout/sessions/{id}/line_items"), "");
            let is_plan = lines.iter().any(|line| line["price"]["id"] == STUDIO);
            let is_clear = allowed && is_plan && known.is_none();
            if is_clear || !recorded.contains(&id) {
                let is_recorded = recorded.contains(&id);
                self.violation(format!(
                    "A: {id} of the guest {email} is paid, recorded: {is_recorded}, no account"
                ));
            }
        }
        Ok(())
    }

    /// Whether a single payment is recent enough for a reconciliation, or a server acknowledged an
    /// event about it.
    pub fn is_findable(&self, session: &Value) -> bool {
        let is_fresh = session["created"].as_i64() > Some(self.world.now() - FOUND_FOR);
        let is_about = |event: &Value| {
            let object = &event["data"]["object"]["id"];
            *object == session["id"] || *object == session["payment_intent"]
        };
        is_fresh || self.acknowledged.iter().any(|id| self.world.stripe.look(id, is_about))
    }
}
