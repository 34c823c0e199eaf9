//! The purchases of a Stripe customer who is not linked, without those that a customer here has.
//! A payment link can create a new Stripe customer for each purchase (customer_creation=always, an
//! invoice, a subscription), and a customer here is linked to one. So a single payment of another
//! one is claimed by its Checkout session, like that of a guest (`single_payments.rs`). What is
//! left is decided in [`crate::domain::sale::unclaimed`].

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::AuditAction;
use crate::domain::sale::matching::{Ambiguity, ClaimAdvice, Claims, Deletion, Tag};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::unclaimed;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::Tx;

/// Returns what a Stripe customer bought, without the single payments that were claimed by their
/// Checkout sessions.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(super) async fn purchases(app: &App, id: &StripeCustomerId) -> Result<StripeState> {
    bought_and_claimed(app, id, None).await.map(|(bought, _)| bought)
}

/// Returns what [`purchases`] returns, without the single payments of an account from before its
/// deletion; and the customer who has the first claimed payment in Stripe's list, newest first,
/// `None` if none was claimed.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn purchases_since_deletion(
    app: &App,
    id: &StripeCustomerId,
) -> Result<(StripeState, Option<CustomerId>)> {
    let (mut bought, claimed) = bought_and_claimed(app, id, None).await?;
    if unclaimed::has_single_payments(&bought)
        && let Some(deleted_at) = deleted_at(app, id).await?
    {
        unclaimed::keep_paid_after(&mut bought, deleted_at);
    }
    Ok((bought, claimed.into_iter().find_map(|(_, owner)| owner)))
}

/// Returns when the account of a Stripe customer was deleted.
async fn deleted_at(app: &App, id: &StripeCustomerId) -> Result<Option<Timestamp>> {
    let recorded = app.store.read().await?.deleted_buyer(id).await?;
    if let Some((_, at)) = recorded {
        return Ok(Some(at));
    }
    let Some(theirs) = app.stripe()?.find_customer(id).await? else { return Ok(None) };
    let mut tx = app.store.read().await?;
    Ok(deletion(&mut tx, id, &theirs.tag).await?.map(|deletion| deletion.at))
}

/// Returns the last deletion of the account of a Stripe customer with this tag. Of one that was not
/// recorded with the Stripe customer, the metadata at Stripe names the account.
///
/// # Errors
/// A failure of the database.
pub(super) async fn deletion(
    tx: &mut Tx,
    id: &StripeCustomerId,
    tag: &Tag,
) -> Result<Option<Deletion>> {
    let named = match tag {
        Tag::Ours(owner) => {
            let at = tx.audited_at(owner, AuditAction::CustomerDeleted).await?;
            at.map(|at| (owner.clone(), at))
        }
        Tag::None | Tag::Foreign => None,
    };
    let is_named = named.is_some();
    let found = tx.deleted_buyer(id).await?.or(named);
    Ok(found.map(|(customer_id, at)| Deletion { customer_id, at, is_named }))
}

/// Returns what a Stripe customer bought, and what [`leave_out_claimed`] removed from it.
async fn bought_and_claimed(
    app: &App,
    stripe_id: &StripeCustomerId,
    id: Option<&CustomerId>,
) -> Result<(StripeState, Claims)> {
    let mut bought = app.stripe()?.bought(stripe_id, app.plans.sells_once()).await?;
    let claimed = leave_out_claimed(app, &mut bought, id).await?;
    Ok((bought, claimed))
}

/// Removes from what a Stripe customer bought the single payments that another customer than `id`
/// claimed, as [`unclaimed::leave_out`] does. Returns the removed ones.
///
/// # Errors
/// A failure of the database.
pub(super) async fn leave_out_claimed(
    app: &App,
    bought: &mut StripeState,
    id: Option<&CustomerId>,
) -> Result<Claims> {
    let mut claims = Vec::new();
    if bought.checkout_sessions.is_empty() {
        return Ok(claims);
    }
    let mut tx = app.store.read().await?;
    for session in &bought.checkout_sessions {
        let claim = tx.claimed_payment(&session.id).await?;
        claims.extend(claim.map(|claim| (claim.session_id, claim.customer_id)));
    }
    drop(tx);
    Ok(unclaimed::leave_out(bought, claims, id))
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
/// add to it, and how its single payments are given to the customer that it matches.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn explained(
    app: &App,
    id: &StripeCustomerId,
    doubt: Ambiguity,
) -> Result<(Ambiguity, ClaimAdvice)> {
    let (bought, claimed) = bought_and_claimed(app, id, None).await?;
    Ok(unclaimed::explain(doubt, &bought, claimed, &app.plans))
}

/// Returns how the single payments of a Stripe customer are given to a customer here.
///
/// # Errors
/// As [`purchases`].
pub(super) async fn claim_advice(app: &App, id: &StripeCustomerId) -> Result<ClaimAdvice> {
    let bought = purchases(app, id).await?;
    Ok(unclaimed::claim_advice(&bought, &app.plans))
}
