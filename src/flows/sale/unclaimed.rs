//! The purchases of a Stripe customer who is not linked, without those that a customer here has.
//! A payment link can create a new Stripe customer for each purchase (customer_creation=always, an
//! invoice, a subscription), and a customer here is linked to one. So a single payment of another
//! one is claimed by its Checkout session, like that of a guest (`guests.rs`).

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::AuditAction;
use crate::domain::sale::buyer::{Purchase, purchase_paid};
use crate::domain::sale::entitlement::{fallback_subscriptions, is_bought_once};
use crate::domain::sale::matching::{Ambiguity, Tag};
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::sale::stripe_state::{CheckoutSession, CheckoutStatus, StripeState};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// Returns what a Stripe customer bought, without the single payments that were claimed by their
/// Checkout sessions.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(super) async fn purchases(app: &App, id: &StripeCustomerId) -> Result<StripeState> {
    purchases_and_owner(app, id).await.map(|(bought, _)| bought)
}

/// Returns the same, and the customer who has the first claimed payment in Stripe's list, newest
/// first; `None` if none was claimed.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn purchases_and_owner(
    app: &App,
    id: &StripeCustomerId,
) -> Result<(StripeState, Option<CustomerId>)> {
    let (bought, claimed) = bought_and_claimed(app, id, None).await?;
    Ok((bought, claimed.into_iter().find_map(|(_, owner)| owner)))
}

/// Returns what a Stripe customer bought, and what [`leave_out_claimed`] removed from it.
async fn bought_and_claimed(
    app: &App,
    stripe_id: &StripeCustomerId,
    id: Option<&CustomerId>,
) -> Result<(StripeState, Claimed)> {
    let mut bought = app.stripe()?.bought(stripe_id, app.plans.sells_once()).await?;
    let claimed = leave_out_claimed(app, &mut bought, id).await?;
    Ok((bought, claimed))
}

/// Returns the same without the single payments of an account before it was deleted: they need
/// nothing, like those of a guest whose account was deleted.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn ownerless(app: &App, id: &StripeCustomerId) -> Result<StripeState> {
    let mut bought = purchases(app, id).await?;
    let is_subscribed = bought.invoices.iter().all(|invoice| invoice.subscription.is_some());
    if is_subscribed && bought.paid_sessions.is_empty() {
        return Ok(bought);
    }
    let tag = app.stripe()?.find_customer(id).await?.map(|customer| customer.tag);
    let Some(Tag::Ours(owner)) = tag else { return Ok(bought) };
    let mut tx = app.store.read().await?;
    let deleted_at = tx.audited_at(&owner, AuditAction::CustomerDeleted).await?;
    drop(tx);
    let Some(deleted_at) = deleted_at else { return Ok(bought) };
    let is_later = |charged: Option<Timestamp>, created| charged.unwrap_or(created) > deleted_at;
    bought.invoices.retain(|invoice| {
        let charged = invoice.charged_at.or(invoice.paid_at);
        invoice.subscription.is_some() || is_later(charged, invoice.created)
    });
    bought.paid_sessions.retain(|session| is_later(session.charged_at, session.created));
    Ok(bought)
}

/// The Checkout sessions that were claimed, each with its customer; `None` for a deleted one.
type Claimed = Vec<(CheckoutSessionId, Option<CustomerId>)>;

/// Removes from what a Stripe customer bought the single payments that another customer than `id`
/// claimed by their Checkout sessions: a payment grants one customer something. Without an `id`,
/// removes all that were claimed. Returns the removed sessions.
///
/// # Errors
/// A failure of the database.
pub(super) async fn leave_out_claimed(
    app: &App,
    bought: &mut StripeState,
    id: Option<&CustomerId>,
) -> Result<Claimed> {
    let mut removed = Vec::new();
    if bought.checkout_sessions.is_empty() {
        return Ok(removed);
    }
    let mut tx = app.store.read().await?;
    for session in std::mem::take(&mut bought.checkout_sessions) {
        let claimed = tx.guest_purchase(&session.id).await?;
        let owner = claimed.as_ref().and_then(|purchase| purchase.customer_id.clone());
        let is_left_out = match id {
            Some(id) => owner.as_ref().is_some_and(|owner| owner != id),
            None => claimed.is_some(),
        };
        if !is_left_out {
            bought.checkout_sessions.push(session);
            continue;
        }
        bought.paid_sessions.retain(|paid| paid.id != session.id);
        bought.invoices.retain(|invoice| Some(&invoice.id) != session.invoice.as_ref());
        removed.push((session.id, owner));
    }
    Ok(removed)
}

/// Refuses to link a Stripe customer to another customer than the one who claimed a session of it;
/// `id` is `None` for a new account.
///
/// # Errors
/// [`Error::StripeLinkRefused`], with the way out. As [`purchases`].
pub(super) async fn refuse_of_another(
    app: &App,
    stripe_id: &StripeCustomerId,
    id: Option<&CustomerId>,
) -> Result<()> {
    let (_, claimed) = bought_and_claimed(app, stripe_id, id).await?;
    let owned = claimed.into_iter().find_map(|(session, owner)| Some((session, owner?)));
    match owned {
        None => Ok(()),
        Some((session, owner)) => Err(Error::StripeLinkRefused(format!(
            "{stripe_id} paid for {session}, which belongs to {owner}, so it is linked to no other \
             customer. Run `licentia stripe claim {stripe_id} --to {owner}`, which links it or \
             tells what to do first"
        ))),
    }
}

/// Returns the reason why an operator must decide about a Stripe customer, with what its purchases
/// add to it, and the commands that give its single payments to the customer that it matches.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn explained(
    app: &App,
    id: &StripeCustomerId,
    doubt: Ambiguity,
) -> Result<(Ambiguity, Option<String>)> {
    let (bought, claimed) = bought_and_claimed(app, id, None).await?;
    let purchase = purchase_paid(&app.plans, &bought);
    let is_empty = purchase.is_none() && fallback_subscriptions(&bought, &app.plans).is_empty();
    let doubt = match doubt {
        Ambiguity::Contradiction(..) => doubt,
        Ambiguity::Deleted(owner, _) => {
            let is_subscribed = bought.subscriptions.iter().any(|one| one.status.is_live());
            Ambiguity::Deleted(owner, is_subscribed)
        }
        _ if is_empty && !claimed.is_empty() => Ambiguity::AllClaimed(claimed),
        Ambiguity::NoAccount if purchase.and_then(Purchase::plan).is_none() => {
            Ambiguity::NoPlan(purchase.map(|purchase| purchase.id().clone()))
        }
        doubt => doubt,
    };
    let commands = match &doubt {
        Ambiguity::Taken(owner, _) => commands_for(&single_payments(app, &bought), owner),
        _ => None,
    };
    Ok((doubt, commands))
}

/// Returns the commands that give the single payments of a Stripe customer to a customer here; none
/// if there are no such payments.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn commands(
    app: &App,
    id: &StripeCustomerId,
    owner: &CustomerId,
) -> Result<Option<String>> {
    let bought = purchases(app, id).await?;
    Ok(commands_for(&single_payments(app, &bought), owner))
}

fn commands_for(sessions: &[&CheckoutSessionId], owner: &CustomerId) -> Option<String> {
    let command = |id: &&CheckoutSessionId| format!("`licentia stripe claim {id} --to {owner}`");
    let commands: Vec<_> = sessions.iter().map(command).collect();
    (!commands.is_empty()).then(|| format!("run {}", commands.join(" and ")))
}

/// Returns the Checkout sessions of paid single payments for something of the catalog.
pub(super) fn single_payments<'b>(
    app: &App,
    bought: &'b StripeState,
) -> Vec<&'b CheckoutSessionId> {
    let is_single = |session: &&CheckoutSession| {
        let of_session = bought.paid_sessions.iter().filter(|paid| paid.id == session.id);
        let of_session = of_session.flat_map(|paid| &paid.lines);
        let invoice = |id| bought.invoices.iter().find(|invoice| Some(&invoice.id) == id);
        let of_invoice = invoice(session.invoice.as_ref()).into_iter();
        let mut lines = of_session.chain(of_invoice.flat_map(|invoice| &invoice.lines));
        session.status == CheckoutStatus::Complete
            && !session.is_unpaid
            && lines.any(|line| is_bought_once(line, &app.plans))
    };
    bought.checkout_sessions.iter().filter(is_single).map(|session| &session.id).collect()
}
