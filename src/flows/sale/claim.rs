//! Links one Stripe customer to a customer here: a match by the rules of the backfill, a new
//! account, or the customer that the operator names. If the match is uncertain, it links nothing
//! and returns the reason with the way out. The backfill links all Stripe customers
//! (`backfill.rs`).

use serde_json::json;

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::attempt::CreatedObject;
use crate::domain::sale::buyer::{BuyerId, Purchase, purchase_paid};
use crate::domain::sale::entitlement::fallback_subscriptions;
use crate::domain::sale::matching::{
    Ambiguity, LinkDecision, StripeCandidate, Tag, decide, keeping_both,
};
use crate::domain::sale::settlement::SyncReport;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::unclaimed::{has_bought_plan_after, keep_paid_after};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::audit;
use crate::flows::sale::backfill::{self, Done, Newcomers, Step};
use crate::flows::sale::inbox;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::link::{LinkReason, link};
use crate::flows::sale::stripe_customer;
use crate::flows::sale::sync;
use crate::flows::sale::unclaimed;
use crate::stripe::Needs;

/// The customer to link a buyer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimTarget {
    /// The customer that certainly matches, if there is one.
    Recognized,
    /// The customer that certainly matches. This one has just proven to own the address.
    Proven(CustomerId),
    /// The customer that certainly matches, or else a new account with the email address at Stripe.
    NewAccount,
    /// The customer that the operator names.
    Customer(CustomerId),
}

/// Links a Stripe customer that was fetched, and syncs the customer here. If it is interrupted,
/// another call finishes it. Returns what was done, or the reason why an operator must decide.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when the request cannot be fulfilled. [`Error::Stripe`] or a
/// failure of the database.
pub(super) async fn claim(
    app: &App,
    theirs: &StripeCandidate,
    to: &ClaimTarget,
    by: Actor<'static>,
) -> Result<std::result::Result<Done, Ambiguity>> {
    let step = match to {
        ClaimTarget::Customer(id) => {
            return link_to(app, theirs, id, by).await.map(Ok);
        }
        ClaimTarget::Recognized | ClaimTarget::Proven(_) => {
            backfill::step(app, theirs, decision(app, theirs, to).await?, Newcomers::ReportOnly)
        }
        ClaimTarget::NewAccount => {
            backfill::step(app, theirs, decision(app, theirs, to).await?, Newcomers::Create)
        }
    };
    let step = match step.await? {
        None => Step::Finish(linked(app, &theirs.id).await?),
        Some(Ok(step)) => step,
        Some(Err(doubt)) => return Ok(Err(doubt)),
    };
    let (id, report) = backfill::take(app, theirs, &step, by).await?;
    Ok(Ok(backfill::done(theirs, step.action(), Some(id), report)))
}

/// Fetches a Stripe customer, with the best plan that it pays for, by a subscription or a single
/// payment.
pub(super) async fn fetch(app: &App, stripe_id: &StripeCustomerId) -> Result<StripeCandidate> {
    let stripe = app.stripe()?;
    let mut theirs = stripe.find_customer(stripe_id).await?.ok_or_else(|| {
        let problem = format!("Stripe has no customer {stripe_id} in this account and mode");
        Error::StripeLinkRefused(problem)
    })?;
    add_purchases(app, &mut theirs).await?;
    Ok(theirs)
}

/// Adds what a Stripe customer pays for, and the deletion of its account. Single payments from
/// before that need nothing.
async fn add_purchases(app: &App, theirs: &mut StripeCandidate) -> Result<()> {
    let mut bought = unclaimed::purchases(app, &theirs.id).await?;
    let mut tx = app.store.read().await?;
    let deletion = unclaimed::deletion(&mut tx, &theirs.id, &theirs.tag).await?;
    drop(tx);
    if let Some(deletion) = deletion {
        let has_bought_since = has_bought_plan_after(&bought, &app.plans, deletion.at);
        keep_paid_after(&mut bought, deletion.at);
        theirs.note_deletion(deletion, has_bought_since);
    }
    let plan = purchase_paid(&app.plans, &bought).and_then(Purchase::plan);
    theirs.plan = plan.map(|plan| plan.id.to_string());
    theirs.is_subscribed = bought.subscriptions.iter().any(|one| one.status.is_live());
    Ok(())
}

/// Returns the decision about one Stripe customer by the rules of the backfill. Fetches all Stripe
/// customers and all customers here that the decision can depend on.
async fn decision(app: &App, theirs: &StripeCandidate, to: &ClaimTarget) -> Result<LinkDecision> {
    let stripe = app.stripe()?;
    let named = match &theirs.tag {
        Tag::Ours(id) => Some(id),
        Tag::None | Tag::Foreign => None,
    };
    let mut tx = app.store.read().await?;
    let mut ours = tx.customers_like(&theirs.id, named, theirs.email.as_ref()).await?;
    drop(tx);
    for one in ours.iter_mut().filter(|one| *to == ClaimTarget::Proven(one.customer_id.clone())) {
        one.has_waiting_purchase = false;
    }
    let mut others = Vec::new();
    if let Some(email) = &theirs.email {
        others.extend(stripe.customers_with_email(email.as_str()).await?);
    }
    for one in ours.iter().filter(|one| one.stripe_customer_id.is_none()) {
        others.extend(stripe_customer::named(stripe, &one.customer_id).await?);
    }
    let mut all = vec![theirs.clone()];
    for mut other in others {
        if all.iter().any(|one| one.id == other.id) {
            continue;
        }
        let mut tx = app.store.read().await?;
        let deletion = unclaimed::deletion(&mut tx, &other.id, &other.tag).await?;
        drop(tx);
        if deletion.is_some() {
            add_purchases(app, &mut other).await?;
        }
        all.push(other);
    }
    Ok(decide(&all, &ours).remove(0))
}

async fn linked(app: &App, stripe_id: &StripeCustomerId) -> Result<CustomerId> {
    let customer_id = app.store.read().await?.customer_by_stripe_id(stripe_id).await?;
    customer_id.ok_or(Error::Busy)
}

/// Links a Stripe customer to the customer that the operator names. It replaces another Stripe
/// customer on which no license depends.
pub(super) async fn link_to(
    app: &App,
    theirs: &StripeCandidate,
    id: &CustomerId,
    by: Actor<'_>,
) -> Result<Done> {
    if let Some(other) = app.store.read().await?.customer_by_stripe_id(&theirs.id).await?
        && other != *id
    {
        let stripe_id = &theirs.id;
        return Err(Error::StripeLinkRefused(format!(
            "{stripe_id} is linked to {other}, and is not moved to another customer"
        )));
    }
    unclaimed::refuse_of_another(app, &theirs.id, Some(id)).await?;
    let lease = Lease::take(app, id).await.map_err(|error| match error {
        Error::NotFound(_) if by == Actor::Operator => {
            Error::setup(format!("there is no customer {id}"))
        }
        error => error,
    })?;
    let work = link_leased(app, &lease, theirs, by);
    let report = Box::pin(lease.during_sync(app, &[], work)).await?;
    Ok(backfill::done(theirs, "claimed", Some(id.clone()), report))
}

/// Links and syncs, under the customer's lease.
async fn link_leased(
    app: &App,
    lease: &Lease,
    theirs: &StripeCandidate,
    by: Actor<'_>,
) -> Result<SyncReport> {
    let (stripe, id) = (app.stripe()?, &lease.customer_id);
    let mut tx = app.store.read().await?;
    let customer = tx.customer(id).await?.ok_or(Error::NotFound("customer"))?;
    drop(tx);
    let before = customer.stripe_customer_id.filter(|before| *before != theirs.id);
    if let Some(before) = &before {
        release(app, before, id, Some(&theirs.id)).await?;
    }
    let why = LinkReason::Claimed { instead_of: before.as_ref() };
    link(app, lease, &theirs.id, why, by).await?;
    // A value that the vendor wrote itself is kept.
    let is_written = matches!(&theirs.tag, Tag::Ours(named) if named == id);
    if !is_written && theirs.tag != Tag::Foreign {
        let at = app.fail_points.at(Place::ClaimTagged);
        stripe.tag_customer(&theirs.id, Some(id), at).await?;
    }
    Ok(sync::sync_held(app, lease).await?.report)
}

/// Removes a customer's link to a Stripe customer on which no license depends.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when it has a live subscription, or a perpetual license depends on
/// it. [`Error::NotFound`] when there is no such customer. [`Error::Stripe`] or a failure of the
/// database.
pub(in crate::flows) async fn unlink(app: &App, id: &CustomerId, by: Actor<'_>) -> Result<()> {
    let lease = Lease::take(app, id).await?;
    let work = async {
        let customer = app.store.read().await?.customer(id).await?;
        let Some(before) = customer.and_then(|customer| customer.stripe_customer_id) else {
            return Ok(());
        };
        release(app, &before, id, None).await?;
        let now = app.now();
        let mut tx = app.store.write().await?;
        lease.lock(&mut tx).await?;
        tx.link_stripe_customer(id, None, None).await?;
        tx.delete_attempt(id, CreatedObject::Customer).await?;
        tx.delete_subscription(id).await?;
        inbox::queue_sync_of_claimed(app, &mut tx, id, now).await?;
        let detail = json!({ "stripe_customer_id": before.as_str() });
        let entry = AuditEntry::new(by, AuditAction::StripeUnlinked, Some(id), detail)
            .changed(json!({ "stripe_customer_id": before.as_str() }), json!({}));
        audit(app, &mut tx, entry, now).await?;
        tx.commit(app.fail_points.at(Place::ClaimUnlinked)).await?;
        app.events_due.notify_one();
        Ok(())
    };
    lease.during(app, work).await
}

/// Releases a customer from the Stripe customer `before`. First closes its open checkout, also if
/// the rest is then refused, so that nothing is bought after the check. Then checks that no license
/// depends on it, and removes the customer's id from its metadata, so that it is not linked again.
/// `theirs` is the Stripe customer that replaces it.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when it has a live subscription, or a perpetual license depends on
/// it.
async fn release(
    app: &App,
    before: &StripeCustomerId,
    id: &CustomerId,
    theirs: Option<&StripeCustomerId>,
) -> Result<()> {
    let stripe = app.stripe()?;
    let checkout = app.store.read().await?.attempt(id, CreatedObject::Checkout).await?;
    if let Some(session) = checkout.and_then(|attempt| attempt.result?.parse().ok()) {
        stripe_customer::ended(stripe_customer::expire(app, stripe, &session).await)?;
    }
    let Some(old) = stripe.find_customer(before).await? else { return Ok(()) };
    // The invoices show what remains of ended subscriptions.
    let needs = Needs { sells_once: app.plans.sells_once(), ..Needs::default() };
    let mut bought = stripe.purchases(before, &needs).await?;
    unclaimed::leave_out_claimed(app, &mut bought, Some(id)).await?;
    if bought.subscriptions.iter().any(|subscription| subscription.status.is_live()) {
        let instead = match theirs {
            Some(theirs) => {
                unclaimed::claim_advice(app, theirs).await?.text(&theirs.clone().into(), id)
            }
            None => None,
        };
        let instead = instead.map(|how| format!(". To add only the single payments, {how}"));
        return Err(Error::StripeLinkRefused(format!(
            "{id} is linked to {before}, which has a live subscription; end that at Stripe first{}",
            instead.unwrap_or_default()
        )));
    }
    let depends = if purchase_paid(&app.plans, &bought).is_some() {
        "which paid for a perpetual license"
    } else if !fallback_subscriptions(&bought, &app.plans).is_empty() {
        "whose ended subscription left a perpetual license"
    } else {
        ""
    };
    if !depends.is_empty() {
        let remedy = match theirs {
            Some(theirs) => remedy(app, theirs, (id, before)).await?,
            None => "Keep the link, or refund the purchase first and grant its license".to_owned(),
        };
        return Err(Error::StripeLinkRefused(format!(
            "{id} is linked to {before}, {depends}; without the link, it would be revoked. {remedy}"
        )));
    }
    if old.tag == Tag::Ours(id.clone()) {
        stripe.tag_customer(before, None, app.fail_points.at(Place::ClaimUntagged)).await?;
    }
    Ok(())
}

/// Returns how a customer who needs the Stripe customer `before` gets what another one bought.
async fn remedy(
    app: &App,
    theirs: &StripeCustomerId,
    (id, before): (&CustomerId, &StripeCustomerId),
) -> Result<String> {
    let taken = Ambiguity::Taken(id.clone(), before.clone());
    let (doubt, claim) = unclaimed::explained(app, theirs, taken).await?;
    let buyer = BuyerId::from(theirs.clone());
    Ok(match doubt {
        Ambiguity::AllClaimed(_) => format!("Of {theirs}, {}", doubt.advice(&buyer, &claim)),
        _ => format!("To keep both: {}", keeping_both(&buyer, id, &claim)),
    })
}
