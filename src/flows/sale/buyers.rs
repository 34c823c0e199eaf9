//! Purchases that did not go through our checkout, by Stripe customers who are unknown here: a payment
//! link, a quote, the dashboard. They are noted until somebody claims them
//! ([`crate::flows::sale::claim`]), or get an account at once if the plans file allows it.

use std::collections::{BTreeMap, HashMap};

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::Actor;
use crate::domain::sale::buyer::{UnknownBuyer, plan_paid};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::subscription::Subscription;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::sale::backfill;
use crate::flows::sale::claim::{self, To};

/// What became of a Stripe customer who was unknown when an event named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::flows) enum Met {
    /// It is linked to this customer now.
    Customer(CustomerId),
    /// Nobody here. A purchase is noted.
    Nobody,
}

/// Whether an event may be about a purchase of a plan: it names a plan's price, or an unknown buyer. So
/// events about what else the vendor sells make no call. The text is searched, because its shape follows
/// the account's API version.
pub(in crate::flows) fn may_be_a_purchase(app: &App, body: &str) -> bool {
    app.plans.price_ids().any(|price| body.contains(price))
}

/// Asks Stripe what an unknown Stripe customer pays for, and notes it: never silent, whatever comes of
/// the rest. With `allow_unknown_buyers`, links them or makes an account.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn meet(app: &App, stripe_id: &StripeCustomerId) -> Result<Met> {
    if let Some(id) = app.store.read().await?.customer_by_stripe_id(stripe_id).await? {
        return Ok(Met::Customer(id));
    }
    let subscriptions = app.stripe()?.subscriptions(stripe_id).await?;
    let plan = plan_paid(&app.plans, &subscriptions).map(|(_, plan)| plan.id.as_str());
    let mut tx = app.store.write().await?;
    match plan {
        Some(plan) => {
            if tx.note_unknown_buyer(stripe_id, plan, app.now()).await? {
                tracing::warn!(
                    %stripe_id,
                    plan,
                    "a Stripe customer who is linked to nobody here pays for a plan; \
                     `licentia stripe claim` links them"
                );
            }
        }
        None => tx.forget_unknown_buyer(stripe_id).await?,
    }
    tx.commit(app.fail_points.at(Place::BuyerNoted)).await?;
    if plan.is_some() && app.plans.allow_unknown_buyers {
        return admit(app, stripe_id).await;
    }
    Ok(Met::Nobody)
}

/// Links an unknown buyer, or makes an account, if it is sure who they are.
async fn admit(app: &App, stripe_id: &StripeCustomerId) -> Result<Met> {
    let claimed = claim::claim(app, stripe_id, &To::NewAccount, Actor::System).await;
    // Another worker may have been faster, with another event about the same purchase.
    if let Some(id) = app.store.read().await?.customer_by_stripe_id(stripe_id).await? {
        return Ok(Met::Customer(id));
    }
    if let Err(left) = claimed? {
        tracing::warn!(%stripe_id, reason = left.reason, "an unknown buyer got no account");
    }
    Ok(Met::Nobody)
}

/// Lists every live subscription of the account, and returns who pays for a plan and is linked to nobody
/// here. Unless it is a dry run, what is noted becomes what was found.
///
/// # Errors
/// [`crate::error::Error::Stripe`] or a failure of the database.
pub(in crate::flows) async fn find(app: &App, mode: Mode) -> Result<Vec<UnknownBuyer>> {
    let began = app.now();
    let paying = paying(app).await?;
    let linked = backfill::ours(app).await?.into_iter().filter_map(|one| one.stripe_customer_id);
    let mut unknown: BTreeMap<StripeCustomerId, String> = paying.into_iter().collect();
    for id in linked {
        unknown.remove(&id);
    }
    if mode == Mode::Apply {
        for (id, plan) in std::mem::take(&mut unknown) {
            if !app.plans.allow_unknown_buyers || !admitted(app, &id).await {
                unknown.insert(id, plan);
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

/// Whether an unknown buyer is a customer now. A failure is left to the next comparison.
async fn admitted(app: &App, id: &StripeCustomerId) -> bool {
    match admit(app, id).await {
        Ok(met) => met != Met::Nobody,
        Err(error) => {
            tracing::warn!(%id, %error, "an unknown buyer got no account");
            false
        }
    }
}

/// Returns who pays for a plan, whether they are known here or not, and for which: the highest.
async fn paying(app: &App) -> Result<HashMap<StripeCustomerId, String>> {
    let mut plans: HashMap<StripeCustomerId, (usize, &str)> = HashMap::new();
    let take = |whose, subscription: Subscription| {
        if let Some((rank, plan)) = plan_paid(&app.plans, &[subscription]) {
            let held = plans.entry(whose).or_default();
            *held = (*held).max((rank, plan.id.as_str()));
        }
    };
    app.stripe()?.every_subscription(take).await?;
    Ok(plans.into_iter().map(|(id, (_, plan))| (id, plan.to_owned())).collect())
}
