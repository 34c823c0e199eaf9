//! Links one buyer to a customer: a Stripe customer (`claim.rs`), or a single payment by its
//! Checkout session (`single_payments.rs`).

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::Actor;
use crate::domain::sale::buyer::{BuyerId, Purchase, purchase_paid};
use crate::domain::sale::matching::ClaimAdvice;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::sale::backfill::{self, Done, Undecided};
use crate::flows::sale::claim::{self, ClaimTarget};
use crate::flows::sale::single_payments;
use crate::flows::sale::unclaimed;
use crate::store::Tx;

/// The customer of a buyer who was not linked when an event named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flows) enum BuyerLink {
    /// The buyer is now linked to this customer, or a payment of the buyer belongs to the customer.
    Linked(CustomerId),
    /// The buyer belongs to nobody here.
    Unlinked,
}

/// Links a buyer to a customer, and syncs the customer. If it is interrupted, another call finishes
/// it. Returns what was done, or the reason why an operator must decide.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when the request cannot be fulfilled. [`Error::Stripe`] or a
/// failure of the database.
pub async fn claim(
    app: &App,
    buyer: &BuyerId,
    to: &ClaimTarget,
    by: Actor<'static>,
) -> Result<std::result::Result<Done, Undecided>> {
    match buyer {
        BuyerId::Customer(id) => {
            let theirs = claim::fetch(app, id).await?;
            let doubt = match claim::claim(app, &theirs, to, by).await? {
                Ok(done) => return Ok(Ok(done)),
                Err(doubt) => doubt,
            };
            let (doubt, advice) = unclaimed::explained(app, id, doubt).await?;
            Ok(Err(backfill::undecided(&theirs, &doubt, &advice)))
        }
        BuyerId::Session(id) => {
            let session = single_payments::fetch(app, id).await?;
            let claimed = single_payments::claim(app, &session, to, by).await?;
            forget_if_nothing_left(app, session.stripe_customer_id.as_ref()).await?;
            Ok(claimed.map_err(|doubt| Undecided {
                customer_id: doubt.customer_id().map(CustomerId::to_string),
                email: session.email.clone(),
                plan: session.purchase(&app.plans).map(|purchase| purchase.id().to_string()),
                reason: doubt.as_str(),
                message: doubt.advice(buyer, &ClaimAdvice::Nothing),
                buyer: buyer.clone(),
            }))
        }
    }
}

/// Removes a Stripe customer from the unknown buyers if nothing of what it bought is left to
/// claim. Returns true then, and for `None`, as for the payment of a guest.
pub(super) async fn forget_if_nothing_left(
    app: &App,
    stripe_id: Option<&StripeCustomerId>,
) -> Result<bool> {
    let Some(stripe_id) = stripe_id else { return Ok(true) };
    let buyer = BuyerId::from(stripe_id.clone());
    let seen_at = app.store.read().await?.unknown_buyer_seen_at(&buyer).await?;
    if purchase_of(app, &buyer).await?.is_some() {
        return Ok(false);
    }
    if let Some(seen_at) = seen_at {
        let mut tx = app.store.write().await?;
        tx.forget_unknown_buyer_seen_at(&buyer, seen_at).await?;
        tx.commit(app.fail_points.at(Place::BuyerRecorded)).await?;
    }
    Ok(true)
}

/// Links a buyer to the customer that support names, and syncs the customer.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when Stripe has no such buyer, when it is linked to another
/// customer, or when a license depends on the present Stripe customer. [`Error::NotFound`] when
/// there is no such customer. [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn link_to_customer(
    app: &App,
    buyer: &BuyerId,
    id: &CustomerId,
    by: Actor<'_>,
) -> Result<()> {
    match buyer {
        BuyerId::Customer(stripe_id) => {
            let theirs = claim::fetch(app, stripe_id).await?;
            claim::link_to(app, &theirs, id, by).await.map(drop)
        }
        BuyerId::Session(session) => {
            let session = single_payments::fetch(app, session).await?;
            let to = ClaimTarget::Customer(id.clone());
            single_payments::claim(app, &session, &to, by).await.map(drop)?;
            forget_if_nothing_left(app, session.stripe_customer_id.as_ref()).await.map(drop)
        }
    }
}

/// Returns the best thing that a buyer pays for.
pub(super) async fn purchase_of<'a>(app: &'a App, buyer: &BuyerId) -> Result<Option<Purchase<'a>>> {
    Ok(match buyer {
        BuyerId::Customer(id) => {
            let (bought, _) = unclaimed::purchases_since_deletion(app, id).await?;
            purchase_paid(&app.plans, &bought)
        }
        BuyerId::Session(id) => app
            .stripe()?
            .payment_session(id)
            .await?
            .and_then(|session| session.purchase(&app.plans)),
    })
}

/// Returns who has a buyer: the linked customer, or the one with the claimed payment,
/// [`BuyerLink::Unlinked`] if that one was deleted. `None` if nobody was ever linked.
pub(super) async fn link_of(tx: &mut Tx, buyer: &BuyerId) -> Result<Option<BuyerLink>> {
    Ok(match buyer {
        BuyerId::Customer(id) => tx.customer_by_stripe_id(id).await?.map(BuyerLink::Linked),
        BuyerId::Session(id) => {
            let payment = tx.claimed_payment(id).await?;
            payment
                .map(|payment| payment.customer_id.map_or(BuyerLink::Unlinked, BuyerLink::Linked))
        }
    })
}
