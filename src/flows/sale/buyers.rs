//! Unknown buyers: Stripe customers and guests who pay for a plan and are not linked to a customer
//! here. They bought by a payment link, a quote or the dashboard. They are recorded until an
//! operator claims them, or get an account at once with `allow_unknown_buyers` in the plans file.
//! `waiting_purchases.rs` gives them the account, or lets the purchase wait until its owner is
//! proven. `buyer_claim.rs` links one of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::sale::buyer::{
    BuyerId, MAX_UNKNOWN_BUYERS, Purchase, UnknownBuyer, purchase_paid, purchase_subscribed,
};
use crate::domain::sale::stripe_ids::{PaymentIntentId, StripeCustomerId};
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::sale::backfill;
use crate::flows::sale::buyer_claim::{BuyerLink, link_of, purchase_of};
use crate::flows::sale::unclaimed;
use crate::flows::sale::waiting_purchases::link_or_wait;

/// How far back a reconciliation lists Checkout sessions: as far as Stripe lists the events, whose
/// loss it makes up for (<https://docs.stripe.com/api/events>).
const SESSIONS_LISTED_FOR: TimeDelta = TimeDelta::days(30);

/// The events about a single payment. Their bodies name no price.
const SINGLE_PAYMENTS: [&str; 3] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "payment_intent.succeeded",
];

/// Returns whether an event may be about a purchase of a plan: its body contains a plan's price id,
/// or plans are sold by single payments and it is about one. Other events about other products of
/// the vendor then cost no call to Stripe. The body is searched as text, because its structure
/// depends on the account's API version.
pub(in crate::flows) fn may_be_a_purchase(app: &App, kind: &str, body: &str) -> bool {
    (app.plans.sells_once() && SINGLE_PAYMENTS.contains(&kind))
        || app.plans.price_ids().any(|price| body.contains(price))
}

/// Returns the recorded unknown buyers, oldest first, at most [`MAX_UNKNOWN_BUYERS`].
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App) -> Result<Vec<UnknownBuyer>> {
    app.store.read().await?.unknown_buyers(MAX_UNKNOWN_BUYERS).await
}

/// Fetches the purchases of an unlinked Stripe customer, and records it as an unknown buyer if it
/// pays for a plan. With `allow_unknown_buyers`, also links it, to an existing or a new account.
///
/// # Errors
/// [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn check_buyer(
    app: &App,
    stripe_id: &StripeCustomerId,
) -> Result<BuyerLink> {
    let buyer = BuyerId::from(stripe_id.clone());
    let mut tx = app.store.read().await?;
    if let Some(link) = link_of(&mut tx, &buyer).await? {
        return Ok(link);
    }
    let seen_at = tx.unknown_buyer_seen_at(&buyer).await?;
    drop(tx);
    let (bought, owner) = unclaimed::purchases_since_deletion(app, stripe_id).await?;
    let link = record(app, &buyer, purchase_paid(&app.plans, &bought), seen_at).await?;
    // The event may be about a payment that was claimed: its invoice follows a second later.
    Ok(match (link, owner) {
        (BuyerLink::Unlinked, Some(owner)) => BuyerLink::Linked(owner),
        (link, _) => link,
    })
}

/// Does the same for the payment of a guest, if it has a Checkout session.
///
/// # Errors
/// [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn check_guest(
    app: &App,
    payment: &PaymentIntentId,
) -> Result<BuyerLink> {
    let session = app.stripe()?.session_of_payment(payment).await?;
    let Some(session) = session else { return Ok(BuyerLink::Unlinked) };
    let buyer = BuyerId::Session(session.id.clone());
    if let Some(purchase) = session.purchase(&app.plans) {
        return record(app, &buyer, Some(purchase), None).await;
    }
    let seen_at = app.store.read().await?.unknown_buyer_seen_at(&buyer).await?;
    // The buyer is known only now, so Stripe is asked again before a record is removed.
    let purchase = match seen_at {
        Some(_) => purchase_of(app, &buyer).await?,
        None => None,
    };
    record(app, &buyer, purchase, seen_at).await
}

/// Records an unknown buyer who pays for a plan, or removes one who pays for none, and links the
/// buyer if that is allowed. `seen_at` is when the buyer had last been recorded before Stripe was
/// asked: another check, whose answer is newer, may have recorded the buyer since.
async fn record(
    app: &App,
    buyer: &BuyerId,
    purchase: Option<Purchase<'_>>,
    seen_at: Option<Timestamp>,
) -> Result<BuyerLink> {
    let mut tx = app.store.write().await?;
    if let Some(link) = link_of(&mut tx, buyer).await? {
        // It was linked while Stripe responded.
        return Ok(link);
    }
    let plan = purchase.map(|purchase| purchase.id().as_str());
    let is_new = match plan {
        Some(plan) => tx.note_unknown_buyer(buyer, plan, app.now()).await?,
        None => {
            if let Some(seen_at) = seen_at {
                tx.forget_unknown_buyer_seen_at(buyer, seen_at).await?;
            }
            false
        }
    };
    tx.commit(app.fail_points.at(Place::BuyerRecorded)).await?;
    if purchase.is_some() && app.plans.checkout.allow_unknown_buyers {
        // It warns about a buyer who stays unlinked.
        return link_or_wait(app, buyer).await;
    }
    if is_new {
        tracing::warn!(
            %buyer,
            plan,
            "a buyer without an account here pays for a plan; `licentia stripe claim` links it"
        );
    }
    Ok(BuyerLink::Unlinked)
}

/// Lists every live subscription of the Stripe account, and if plans are sold by single payments,
/// the recent Checkout sessions. Returns the buyers who pay for a plan and are not linked. Unless
/// this is a dry run, replaces the recorded unknown buyers with them.
///
/// # Errors
/// [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn find(app: &App, mode: Mode) -> Result<Vec<UnknownBuyer>> {
    let began = app.now();
    let mut unknown = unlinked(app).await?;
    if mode == Mode::DryRun {
        let unknown = unknown.into_iter().map(|(buyer_id, plan)| UnknownBuyer {
            buyer_id,
            plan,
            first_seen_at: began,
        });
        return Ok(unknown.collect());
    }
    if app.plans.checkout.allow_unknown_buyers {
        // One after the other, so that the calls to Stripe leave room for sales.
        for buyer in unknown.keys().cloned().collect::<Vec<_>>() {
            if is_linked_now(app, &buyer).await {
                unknown.remove(&buyer);
            }
        }
    }
    let mut tx = app.store.write().await?;
    for (buyer, plan) in &unknown {
        tx.note_unknown_buyer(buyer, plan, app.now()).await?;
    }
    tx.forget_unknown_buyers_before(began).await?;
    let noted = tx.unknown_buyers(MAX_UNKNOWN_BUYERS).await?;
    tx.commit(app.fail_points.at(Place::BuyersFound)).await?;
    Ok(noted)
}

/// Returns the buyers who pay for a plan and are not linked, each with the plan's id.
async fn unlinked(app: &App) -> Result<BTreeMap<BuyerId, String>> {
    let paying = paying(app).await?;
    let linked = backfill::ours(app).await?.into_iter().filter_map(|one| one.stripe_customer_id);
    let linked: HashSet<BuyerId> = linked.map(BuyerId::from).collect();
    let mut unknown: BTreeMap<BuyerId, String> =
        paying.into_iter().map(|(id, plan)| (id.into(), plan)).collect();
    for buyer in single_buyers(app).await? {
        let is_known = linked.contains(&buyer)
            || unknown.contains_key(&buyer)
            || link_of(&mut app.store.read().await?, &buyer).await?.is_some();
        if !is_known {
            let purchase = purchase_of(app, &buyer).await?;
            unknown.extend(purchase.map(|purchase| (buyer, purchase.id().to_string())));
        }
    }
    unknown.retain(|buyer, _| !linked.contains(buyer));
    Ok(unknown)
}

/// Returns whether an unknown buyer is a customer now. The next reconciliation retries a failure.
async fn is_linked_now(app: &App, buyer: &BuyerId) -> bool {
    match link_or_wait(app, buyer).await {
        Ok(link) => link != BuyerLink::Unlinked,
        Err(error) => {
            tracing::warn!(%buyer, %error, "an unknown buyer got no account");
            false
        }
    }
}

/// Returns the buyers who may have bought a plan by a single payment: those of the recent Checkout
/// sessions, and those that are recorded.
async fn single_buyers(app: &App) -> Result<BTreeSet<BuyerId>> {
    if !app.plans.sells_once() {
        return Ok(BTreeSet::new());
    }
    let since = app.now() - SESSIONS_LISTED_FOR;
    let is_for_sale = |price: &str| app.plans.sold(price).is_some();
    let mut buyers = app.stripe()?.session_buyers(since, is_for_sale).await?;
    let recorded = app.store.read().await?.unknown_buyers(MAX_UNKNOWN_BUYERS).await?;
    buyers.extend(recorded.into_iter().map(|buyer| buyer.buyer_id));
    Ok(buyers)
}

/// Returns every Stripe customer who subscribes to something of the catalog, linked or not, with
/// the id of the best of it.
async fn paying(app: &App) -> Result<HashMap<StripeCustomerId, String>> {
    let mut best: HashMap<StripeCustomerId, Purchase<'_>> = HashMap::new();
    let take = |whose, subscription: Subscription| {
        if let Some(one) = purchase_subscribed(&app.plans, &[subscription]) {
            let held = best.entry(whose).or_insert(one);
            *held = if one.worth() > held.worth() { one } else { *held };
        }
    };
    app.stripe()?.every_subscription(take).await?;
    Ok(best.into_iter().map(|(id, purchase)| (id, purchase.id().to_string())).collect())
}
