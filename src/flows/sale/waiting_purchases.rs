//! Gives an unknown buyer an account without an operator (`allow_unknown_buyers` in the plans
//! file). If an account has the buyer's address and nobody has proven whose it is, the purchase
//! waits until a mailed link has set the password. `buyers.rs` records the buyers.

use crate::app::App;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::message::Kind;
use crate::domain::operator::audit::Actor;
use crate::domain::outbox::To;
use crate::domain::sale::buyer::{BuyerId, WaitingPurchase};
use crate::domain::sale::matching::Ambiguity;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::unclaimed::claimable_sessions;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::mail;
use crate::flows::sale::buyer_claim::{self, BuyerLink, forget_if_nothing_left, link_of};
use crate::flows::sale::claim::{self, ClaimTarget};
use crate::flows::sale::single_payments;
use crate::flows::sale::unclaimed;

/// The most mails with a link to a buyer whose purchase waits: the first one, and another one each
/// time the link has expired.
const MAX_WAITING_MAILS: i64 = 4;

/// Links an unknown buyer to an existing or a new account, unless an operator must decide. If the
/// account with the buyer's address has not verified it, the purchase waits for the link that is
/// mailed to the address. Verifying the address alone does not link them: the person who signed up
/// would keep the password. Until that link sets one, later purchases wait too.
pub(super) async fn link_or_wait(app: &App, buyer: &BuyerId) -> Result<BuyerLink> {
    // Bound first, so that the transaction that reads it has ended before the next one begins.
    let waiting = app.store.read().await?.waiting_purchase(buyer).await?;
    if let Some(waiting) = waiting {
        mail_again(app, &waiting).await?;
        return Ok(BuyerLink::Unlinked);
    }
    let to = ClaimTarget::NewAccount;
    let (email, claimed) = match buyer {
        BuyerId::Customer(id) => {
            let theirs = claim::fetch(app, id).await?;
            let claimed = claim::claim(app, &theirs, &to, Actor::System).await;
            (theirs.email, claimed)
        }
        BuyerId::Session(id) => {
            let session = single_payments::fetch(app, id).await?;
            let claimed = single_payments::claim(app, &session, &to, Actor::System).await;
            (session.email, claimed)
        }
    };
    // Another worker may have linked it, for another event about the same purchase.
    if let Some(link) = link_of(&mut app.store.read().await?, buyer).await? {
        return Ok(link);
    }
    let claimed = match claimed {
        Err(Error::StripeLinkRefused(problem)) => {
            tracing::warn!(%buyer, problem, "an unknown buyer got no account");
            return Ok(BuyerLink::Unlinked);
        }
        claimed => claimed?,
    };
    if let Err(doubt) = claimed {
        if let (BuyerId::Customer(id), Ambiguity::Taken(owner, _)) = (buyer, &doubt)
            && join_payments(app, id, owner).await?
        {
            return Ok(BuyerLink::Linked(owner.clone()));
        }
        tracing::warn!(%buyer, reason = doubt.as_str(), "an unknown buyer got no account");
        if let Ambiguity::Unverified(id) = doubt {
            let_wait(app, buyer, email.as_ref(), id).await?;
        }
    }
    Ok(BuyerLink::Unlinked)
}

/// Gives the single payments of a second Stripe customer to a customer who is linked to another
/// one, by their Checkout sessions, like those of guests: if the buyer entered the customer's
/// address, and only its owner can use the account. Returns whether nothing else is to be linked.
async fn join_payments(app: &App, id: &StripeCustomerId, owner: &CustomerId) -> Result<bool> {
    let bought = unclaimed::purchases(app, id).await?;
    for session_id in claimable_sessions(&bought, &app.plans) {
        let session = single_payments::fetch(app, session_id).await?;
        let Some(email) = &session.email else { continue };
        let entered = app.store.read().await?.customer_by_email(email).await?;
        if entered.is_none_or(|customer| customer.customer_id != *owner) {
            continue;
        }
        let claimed =
            single_payments::claim(app, &session, &ClaimTarget::Recognized, Actor::System).await;
        // Another worker may have claimed it, for another event about the same purchase.
        let buyer = BuyerId::Session(session_id.clone());
        if link_of(&mut app.store.read().await?, &buyer).await?.is_some() {
            continue;
        }
        match claimed {
            Ok(Ok(_)) => {}
            Ok(Err(doubt)) => {
                tracing::warn!(session = %session_id, reason = doubt.as_str(), "a payment was not claimed");
            }
            Err(Error::StripeLinkRefused(problem)) => {
                tracing::warn!(session = %session_id, problem, "a payment was not claimed");
            }
            Err(error) => return Err(error),
        }
    }
    forget_if_nothing_left(app, Some(id)).await
}

/// Lets a purchase wait until the customer sets a password by a mailed link, and mails that link.
///
/// # Errors
/// [`Error::Busy`] when the account changed in the meantime, or a failure of the database.
async fn let_wait(app: &App, buyer: &BuyerId, email: Option<&Email>, id: CustomerId) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(&id).await?.ok_or(Error::Busy)?;
    let has_waiting = !tx.waiting_purchases(&id).await?.is_empty();
    if (customer.is_email_verified() && !has_waiting) || email != Some(&customer.email) {
        return Err(Error::Busy);
    }
    let waiting = WaitingPurchase {
        buyer_id: buyer.clone(),
        customer_id: id.clone(),
        created_at: now,
        mailed_at: now,
        mails: 1,
    };
    if tx.insert_waiting_purchase(&waiting).await? {
        mail::enqueue(app, &mut tx, Kind::PurchaseWaiting, To::Customer(&id), now).await?;
    }
    tx.commit(app.fail_points.at(Place::PurchaseWaits)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Mails another link to a buyer whose purchase waits, once the last link has expired, and at most
/// [`MAX_WAITING_MAILS`] in all.
async fn mail_again(app: &App, waiting: &WaitingPurchase) -> Result<()> {
    let now = app.now();
    let has_expired = waiting.mailed_at + LinkKind::Reset.lifetime() <= now;
    if !has_expired || waiting.mails >= MAX_WAITING_MAILS {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    if tx.mailed_again(waiting, now).await? {
        let to = To::Customer(&waiting.customer_id);
        mail::enqueue(app, &mut tx, Kind::PurchaseWaiting, to, now).await?;
    }
    tx.commit(app.fail_points.at(Place::PurchaseWaitsOn)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Claims the purchases that wait for a customer, who has proven to own the address. One that is
/// uncertain for another reason stays listed, and waits no longer.
///
/// # Errors
/// [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn claim_waiting(app: &App, id: &CustomerId) -> Result<()> {
    let waiting = app.store.read().await?.waiting_purchases(id).await?;
    let mut is_any_uncertain = false;
    for WaitingPurchase { buyer_id, .. } in waiting {
        let to = ClaimTarget::Proven(id.clone());
        if let Err(doubt) = buyer_claim::claim(app, &buyer_id, &to, Actor::System).await? {
            let reason = doubt.reason;
            tracing::warn!(%buyer_id, reason, "a waiting purchase was not claimed");
            is_any_uncertain = true;
        }
    }
    if is_any_uncertain {
        let mut tx = app.store.write().await?;
        tx.delete_waiting_purchases(id).await?;
        tx.commit(app.fail_points.at(Place::PurchaseWaits)).await?;
    }
    Ok(())
}
