//! Decides which purchases of a Stripe customer who is not linked are left: those that nobody has
//! claimed, and that are younger than the deletion of their account. Pure;
//! [`crate::flows::sale::unclaimed`] fetches them.

use crate::domain::ids::CustomerId;
use crate::domain::sale::buyer::{Purchase, purchase_paid};
use crate::domain::sale::entitlement::{fallback_subscriptions, is_bought_once};
use crate::domain::sale::matching::{Ambiguity, ClaimAdvice, Claims};
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_ids::CheckoutSessionId;
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus, StripeState};
use crate::domain::time::Timestamp;

/// Removes from what a Stripe customer bought the single payments that another customer than `id`
/// claimed by their Checkout sessions: a payment grants one customer something. Without an `id`,
/// removes all that were claimed, also by a customer who was deleted. Returns the removed ones.
pub fn leave_out(bought: &mut StripeState, claims: Claims, id: Option<&CustomerId>) -> Claims {
    let is_removed = |owner: Option<&CustomerId>| match id {
        Some(id) => owner.is_some_and(|owner| owner != id),
        None => true,
    };
    let mut removed = claims;
    removed.retain(|(_, owner)| is_removed(owner.as_ref()));
    for (id, _) in &removed {
        let session = bought.checkout_sessions.iter().find(|session| session.id == *id);
        let invoice = session.and_then(|session| session.invoice.clone());
        bought.checkout_sessions.retain(|session| session.id != *id);
        bought.paid_sessions.retain(|paid| paid.id != *id);
        bought.invoices.retain(|one| Some(&one.id) != invoice.as_ref());
    }
    removed
}

/// Returns whether there is anything for [`keep_paid_after`] to remove: a single payment.
#[must_use]
pub fn has_single_payments(bought: &StripeState) -> bool {
    !bought.paid_sessions.is_empty()
        || bought.invoices.iter().any(|invoice| invoice.subscription.is_none())
}

/// Removes the single payments that were charged until the deletion of the account. They need
/// nothing, like those of a guest whose account was deleted. Subscriptions stay: they continue.
pub fn keep_paid_after(bought: &mut StripeState, deleted_at: Timestamp) {
    let is_later = |charged: Option<Timestamp>, created| charged.unwrap_or(created) > deleted_at;
    bought.invoices.retain(|invoice| {
        let charged = invoice.charged_at.or(invoice.paid_at);
        invoice.subscription.is_some() || is_later(charged, invoice.created)
    });
    bought.paid_sessions.retain(|session| is_later(session.charged_at, session.created));
}

/// Returns whether a Stripe customer bought a plan after the deletion of its account.
#[must_use]
pub fn has_bought_plan_after(
    bought: &StripeState,
    catalog: &Catalog,
    deleted_at: Timestamp,
) -> bool {
    let mut later = bought.clone();
    keep_paid_after(&mut later, deleted_at);
    later.subscriptions.retain(|subscription| subscription.created > deleted_at);
    purchase_paid(catalog, &later).and_then(Purchase::plan).is_some()
}

/// Returns the Checkout sessions of paid single payments for something of the catalog.
#[must_use]
pub fn claimable_sessions<'b>(
    bought: &'b StripeState,
    catalog: &Catalog,
) -> Vec<&'b CheckoutSessionId> {
    let is_single = |session: &&CheckoutSession| {
        let of_session = bought.paid_sessions.iter().filter(|paid| paid.id == session.id);
        let of_session = of_session.flat_map(|paid| &paid.lines);
        let invoice = |id| bought.invoices.iter().find(|invoice| Some(&invoice.id) == id);
        let of_invoice = invoice(session.invoice.as_ref()).into_iter();
        let mut lines = of_session.chain(of_invoice.flat_map(|invoice| &invoice.lines));
        session.status == CheckoutStatus::Complete
            && !session.is_unpaid
            && lines.any(|line| is_bought_once(line, catalog))
    };
    bought.checkout_sessions.iter().filter(is_single).map(|session| &session.id).collect()
}

/// Returns the reason why no account is created for a purchase: it gives a new account no license.
/// `None` if it does.
#[must_use]
pub fn without_plan(purchase: Option<Purchase<'_>>) -> Option<Ambiguity> {
    match purchase.and_then(Purchase::plan) {
        Some(_) => None,
        None => Some(Ambiguity::NoPlan(purchase.map(|purchase| purchase.id().clone()))),
    }
}

/// Returns the reason why an operator must decide about a Stripe customer, with what its purchases
/// add to it, and how its single payments are given to the customer that it matches. `bought` is
/// what is left of them without those that were `claimed`.
#[must_use]
pub fn explain(
    doubt: Ambiguity,
    bought: &StripeState,
    claimed: Claims,
    catalog: &Catalog,
) -> (Ambiguity, ClaimAdvice) {
    let purchase = purchase_paid(catalog, bought);
    let is_empty = purchase.is_none() && fallback_subscriptions(bought, catalog).is_empty();
    let doubt = match doubt {
        Ambiguity::Contradiction(..) | Ambiguity::Deleted { .. } => doubt,
        _ if is_empty && !claimed.is_empty() => Ambiguity::AllClaimed(claimed),
        Ambiguity::NoAccount => without_plan(purchase).unwrap_or(Ambiguity::NoAccount),
        doubt => doubt,
    };
    let advice = match &doubt {
        Ambiguity::Taken(..) => claim_advice(bought, catalog),
        _ => ClaimAdvice::Nothing,
    };
    (doubt, advice)
}

/// Returns how the single payments of a Stripe customer are given to a customer here.
#[must_use]
pub fn claim_advice(bought: &StripeState, catalog: &Catalog) -> ClaimAdvice {
    match claimable_sessions(bought, catalog) {
        none if none.is_empty() => ClaimAdvice::Nothing,
        sessions => ClaimAdvice::Sessions(sessions.into_iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests;
