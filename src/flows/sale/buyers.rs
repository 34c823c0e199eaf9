//! Unknown buyers: Stripe customers who pay for a plan and are not linked to a customer here. They
//! bought by a payment link, a quote or the dashboard. They are recorded until an operator claims
//! them ([`crate::flows::sale::claim`]), or get an account at once with `allow_unknown_buyers` in
//! the plans file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::message::Kind;
use crate::domain::operator::audit::Actor;
use crate::domain::outbox::To;
use crate::domain::sale::buyer::{UnknownBuyer, WaitingPurchase, plan_paid, plan_subscribed};
use crate::domain::sale::matching::{Ambiguity, StripeCandidate};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::subscription::Subscription;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::sale::backfill;
use crate::flows::sale::claim::{self, ClaimTarget};
use crate::flows::{Mode, mail};

/// The customer of a Stripe customer that was not linked when an event named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flows) enum Met {
    /// It is now linked to this customer.
    Customer(CustomerId),
    /// It is not linked. A purchase of a plan was recorded.
    Nobody,
}

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

/// Fetches the purchases of an unlinked Stripe customer, and records it as an unknown buyer if it
/// pays for a plan. With `allow_unknown_buyers`, also links it, to an existing or a new account.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn meet(app: &App, stripe_id: &StripeCustomerId) -> Result<Met> {
    if let Some(id) = app.store.read().await?.customer_by_stripe_id(stripe_id).await? {
        return Ok(Met::Customer(id));
    }
    let bought = app.stripe()?.bought(stripe_id, app.plans.sells_once()).await?;
    let plan = plan_paid(&app.plans, &bought).map(|(_, plan)| plan.id.as_str());
    let mut tx = app.store.write().await?;
    if let Some(id) = tx.customer_by_stripe_id(stripe_id).await? {
        // It was linked while Stripe responded.
        return Ok(Met::Customer(id));
    }
    match plan {
        Some(plan) => {
            if tx.note_unknown_buyer(stripe_id, plan, app.now()).await? {
                tracing::warn!(
                    %stripe_id,
                    plan,
                    "a Stripe customer without an account here pays for a plan; \
                     `licentia stripe claim` links it"
                );
            }
        }
        None => tx.forget_unknown_buyer(stripe_id).await?,
    }
    tx.commit(app.fail_points.at(Place::BuyerRecorded)).await?;
    if plan.is_some() && app.plans.checkout.allow_unknown_buyers {
        return admit(app, stripe_id).await;
    }
    Ok(Met::Nobody)
}

/// Links an unknown buyer to an existing or a new account, unless an operator must decide. If the
/// account with the buyer's address has not verified it, the purchase waits for the link that is
/// mailed to the address. Verifying the address alone does not link them: the person who signed up
/// would keep the password.
async fn admit(app: &App, stripe_id: &StripeCustomerId) -> Result<Met> {
    if app.store.read().await?.purchase_waits_for(stripe_id).await?.is_some() {
        return Ok(Met::Nobody);
    }
    let theirs = claim::fetch(app, stripe_id).await?;
    let claimed = claim::claim_fetched(app, &theirs, &ClaimTarget::NewAccount, Actor::System).await;
    // Another worker may have linked it, for another event about the same purchase.
    if let Some(id) = app.store.read().await?.customer_by_stripe_id(stripe_id).await? {
        return Ok(Met::Customer(id));
    }
    if let Err(doubt) = claimed? {
        tracing::warn!(%stripe_id, reason = doubt.as_str(), "an unknown buyer got no account");
        if let Ambiguity::Unverified(id) = doubt {
            let_wait(app, &theirs, id).await?;
        }
    }
    Ok(Met::Nobody)
}

/// Lets a purchase wait until the customer sets a password by a mailed link, and mails that link.
///
/// # Errors
/// [`Error::Busy`] when the account changed in the meantime, or a failure of the database.
async fn let_wait(app: &App, theirs: &StripeCandidate, id: CustomerId) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(&id).await?.ok_or(Error::Busy)?;
    if customer.is_email_verified() || theirs.email.as_ref() != Some(&customer.email) {
        return Err(Error::Busy);
    }
    let stripe_customer_id = theirs.id.clone();
    let waiting = WaitingPurchase { stripe_customer_id, customer_id: id.clone(), created_at: now };
    if tx.insert_waiting_purchase(&waiting).await? {
        mail::enqueue(app, &mut tx, Kind::PurchaseWaiting, To::Customer(&id), now).await?;
    }
    tx.commit(app.fail_points.at(Place::PurchaseWaits)).await?;
    app.mail_due.notify_one();
    Ok(())
}

/// Claims the purchases that wait for a customer, who has proven to own the address. One that is
/// uncertain for another reason stays listed.
///
/// # Errors
/// [`Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn claim_waiting(app: &App, id: &CustomerId) -> Result<()> {
    let waiting = app.store.read().await?.waiting_purchases(id).await?;
    for WaitingPurchase { stripe_customer_id, .. } in waiting {
        let to = ClaimTarget::Recognised;
        if let Err(doubt) = claim::claim(app, &stripe_customer_id, &to, Actor::System).await? {
            let reason = doubt.reason;
            tracing::warn!(%stripe_customer_id, reason, "a waiting purchase was not claimed");
        }
    }
    Ok(())
}

/// Lists every live subscription of the Stripe account, and if plans are sold by single payments,
/// the recent Checkout sessions. Returns the Stripe customers who pay for a plan and are not
/// linked. Unless this is a dry run, replaces the recorded unknown buyers with them.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn find(app: &App, mode: Mode) -> Result<Vec<UnknownBuyer>> {
    let began = app.now();
    let paying = paying(app).await?;
    let linked = backfill::ours(app).await?.into_iter().filter_map(|one| one.stripe_customer_id);
    let linked: HashSet<StripeCustomerId> = linked.collect();
    let mut unknown: BTreeMap<StripeCustomerId, String> = paying.into_iter().collect();
    for id in single_buyers(app).await? {
        if !linked.contains(&id) && !unknown.contains_key(&id) {
            let bought = app.stripe()?.bought(&id, app.plans.sells_once()).await?;
            let plan = plan_paid(&app.plans, &bought);
            unknown.extend(plan.map(|(_, plan)| (id, plan.id.to_string())));
        }
    }
    unknown.retain(|id, _| !linked.contains(id));
    if mode == Mode::Apply {
        if app.plans.checkout.allow_unknown_buyers {
            // One after the other, so that the calls to Stripe leave room for sales.
            for id in unknown.keys().cloned().collect::<Vec<_>>() {
                if admitted(app, &id).await {
                    unknown.remove(&id);
                }
            }
        }
        let mut tx = app.store.write().await?;
        for (id, plan) in &unknown {
            tx.note_unknown_buyer(id, plan, app.now()).await?;
        }
        tx.forget_unknown_buyers_before(began).await?;
        let noted = tx.unknown_buyers(claim::MAX_LISTED).await?;
        tx.commit(app.fail_points.at(Place::BuyersFound)).await?;
        return Ok(noted);
    }
    let unknown = unknown.into_iter().map(|(stripe_customer_id, plan)| UnknownBuyer {
        stripe_customer_id,
        plan,
        first_seen_at: began,
    });
    Ok(unknown.collect())
}

/// Returns whether an unknown buyer is a customer now. The next reconciliation retries a failure.
async fn admitted(app: &App, id: &StripeCustomerId) -> bool {
    match admit(app, id).await {
        Ok(buyer) => buyer != Met::Nobody,
        Err(error) => {
            tracing::warn!(%id, %error, "an unknown buyer got no account");
            false
        }
    }
}

/// Returns the Stripe customers who may have bought a plan by a single payment: those of the recent
/// Checkout sessions, and those that are recorded.
async fn single_buyers(app: &App) -> Result<BTreeSet<StripeCustomerId>> {
    if !app.plans.sells_once() {
        return Ok(BTreeSet::new());
    }
    let since = app.now() - SESSIONS_LISTED_FOR;
    let mut buyers = app.stripe()?.session_customers(since).await?;
    let recorded = app.store.read().await?.unknown_buyers(claim::MAX_LISTED).await?;
    buyers.extend(recorded.into_iter().map(|buyer| buyer.stripe_customer_id));
    Ok(buyers)
}

/// Returns every Stripe customer who subscribes to a plan, linked or not, with the highest plan.
async fn paying(app: &App) -> Result<HashMap<StripeCustomerId, String>> {
    let mut plans: HashMap<StripeCustomerId, (usize, &str)> = HashMap::new();
    let take = |whose, subscription: Subscription| {
        if let Some((rank, plan)) = plan_subscribed(&app.plans, &[subscription]) {
            let held = plans.entry(whose).or_default();
            *held = (*held).max((rank, plan.id.as_str()));
        }
    };
    app.stripe()?.every_subscription(take).await?;
    Ok(plans.into_iter().map(|(id, (_, plan))| (id, plan.to_owned())).collect())
}
