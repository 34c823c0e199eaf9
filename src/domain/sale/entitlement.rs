//! Decides which plan a customer may use because of Stripe's state, and until when: a pure function
//! from a [`StripeState`] to an [`Assessment`]. [`crate::domain::sale::settlement`] decides what
//! changes because of it.
//!
//! Each assessment reads the whole state. It does not depend on earlier events, so lost, repeated
//! and reordered events lead to the same result.
//!
//! Every subscription grants something or nothing (`subscription.rs`, from what `paid.rs` finds to
//! be paid), and so do single payments (`once.rs`) and what remains of ended subscriptions
//! (`fallback.rs`). `choice.rs` chooses the grant that becomes the license.

mod alert;
mod choice;
mod fallback;
mod once;
mod paid;
mod subscription;

use crate::domain::license::{Basis, Entitlement};
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use choice::best;
use subscription::{Standing, standing};

pub use alert::Alert;
pub use choice::Grant;
pub use fallback::subscriptions as fallback_subscriptions;
pub use once::{SinglePaymentId, is_bought_once, plans_bought_once, single_payments};

/// What Stripe's state means for a customer.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// The current subscription: the one to show and to write mails about. `None` if the customer
    /// never had one.
    pub subscription: Option<&'a Subscription>,
    /// Everything that payments grant.
    pub grants: Vec<Grant<'a>>,
    /// The entitlement of the customer because of a payment: the best of the grants. `None` leaves
    /// a trial or an operator's grant as it is.
    pub entitlement: Option<Entitlement<'a>>,
    /// Whether this version or the plans file does not know something about a subscription. Then no
    /// license is revoked.
    pub is_unclear: bool,
    /// What an operator should check.
    pub alerts: Vec<Alert>,
}

/// Returns what a customer may use at `now`, because of everything that Stripe says. `current` is
/// the subscription that was current at the last sync.
#[must_use]
pub fn assess<'a>(
    state: &'a StripeState,
    current: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Assessment<'a> {
    // A subscription to something besides the plans is never current and never unclear.
    let concerns_us = |subscription: &&Subscription| {
        subscription.is_ours
            || current == Some(&subscription.id)
            || subscription.plan(catalog).is_some()
    };
    let mut alerts = Vec::new();
    let mut unclear = None;
    let mut grants: Vec<Grant<'a>> = Vec::new();
    for subscription in &state.subscriptions {
        match standing(subscription, &state.invoices, catalog, now, &mut alerts) {
            Standing::Grants(grant) => grants.push(grant),
            Standing::Unclear => unclear = Some(subscription).filter(concerns_us).or(unclear),
            Standing::Nothing => {}
        }
    }
    if grants.iter().filter(|grant| grant.is_live()).count() > 1 {
        alerts.push(Alert::SeveralLive);
    }
    grants.extend(fallback::grants(state, catalog));
    once::add(&mut grants, &single_payments(state, catalog, &catalog.policy), catalog, &mut alerts);
    if state.is_deleted {
        grants.clear();
    }
    let chosen = best(grants.iter(), now);
    alerts.extend(chosen.and_then(|chosen| lower_than_owned(chosen, &grants)));
    // A renewal that was paid late may grant more than the subscription that is charged.
    let live = best(grants.iter().filter(|grant| grant.is_live()), now);
    let of_any = || best(grants.iter().filter(|grant| grant.of.is_some()), now);
    let granting = live.or_else(of_any).and_then(|grant| grant.of);
    // A current subscription that becomes unclear stays current. Otherwise the next sync would no
    // longer know that it concerns us.
    let still_current = unclear.filter(|subscription| current == Some(&subscription.id));
    let subscription = still_current
        .or(granting)
        .or(unclear)
        .or_else(|| most_recent(state.subscriptions.iter().filter(concerns_us)));
    Assessment {
        subscription,
        entitlement: chosen.map(Grant::entitlement),
        is_unclear: unclear.is_some() && !state.is_deleted,
        alerts,
        grants,
    }
}

/// Returns the alert about a subscription that is charged and has no effect beside a perpetual
/// license.
fn lower_than_owned(chosen: &Grant<'_>, grants: &[Grant<'_>]) -> Option<Alert> {
    let lower = grants.iter().find(|grant| grant.is_live() && grant.rank < chosen.rank)?;
    (chosen.basis == Basis::Once).then(|| Alert::LowerThanOwned {
        subscribed: lower.plan.id.clone(),
        owned: chosen.plan.id.clone(),
    })
}

/// Returns the subscription to show when none grants anything: a live one, or else the newest.
fn most_recent<'a>(all: impl Iterator<Item = &'a Subscription>) -> Option<&'a Subscription> {
    all.max_by_key(|subscription| {
        (subscription.status.is_live(), subscription.created, &subscription.id)
    })
}

#[cfg(test)]
pub(crate) mod tests;
