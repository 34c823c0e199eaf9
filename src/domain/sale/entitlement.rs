//! Decides which plan a customer may use because of Stripe's state, and until when: a pure function
//! from a [`StripeState`] to an [`Assessment`]. [`crate::domain::sale::settlement`] decides what
//! changes because of it.
//!
//! Each assessment reads the whole state. It does not depend on earlier events, so lost, repeated
//! and reordered events lead to the same result.
//!
//! Every subscription grants something or nothing (`subscription.rs`, from what `counted.rs` and
//! `paid.rs` find to be paid), and so do single payments (`once.rs`) and what remains of ended
//! subscriptions (`fallback.rs`). `choice.rs` chooses the entitlement that becomes the license.

mod alert;
mod choice;
mod counted;
mod fallback;
mod once;
mod paid;
mod subscription;

use crate::domain::license::{Basis, Coverage, Entitlement};
use crate::domain::sale::plan::{Catalog, Plan};
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use choice::{best, license_entitlement};
use once::FirstPayments;
use subscription::{Standing, standing};

pub use alert::{Alert, PaidFor, is_recent};
pub use choice::PaidEntitlement;
pub use fallback::subscriptions as fallback_subscriptions;
pub use once::{
    BoughtOnce, SinglePayment, SinglePaymentId, all_bought_once, is_bought_once, payments,
    single_payments,
};

/// The meaning of Stripe's state for a customer.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// The current subscription: the one to show and to write mails about. `None` if the customer
    /// never had one.
    pub subscription: Option<&'a Subscription>,
    /// Everything that was paid for.
    pub entitlements: Vec<PaidEntitlement<'a>>,
    /// The entitlement of the customer because of a payment: the best of them. `None` leaves
    /// a trial or an operator's grant as it is.
    pub entitlement: Option<Entitlement<'a>>,
    /// Whether this version or the plans file does not know something about a subscription. Then no
    /// license is revoked.
    pub is_unclear: bool,
    /// The cases that an operator should check.
    pub alerts: Vec<Alert>,
}

impl<'a> Assessment<'a> {
    /// Returns the license for this plan that gets add-ons bought alone: that of single payments,
    /// or the present license if a subscription left it.
    #[must_use]
    pub fn license_for_addons_alone(&self, plan: &Plan) -> Option<Entitlement<'a>> {
        let mut bought = self.entitlements.iter().filter(|paid| paid.basis == Basis::Once);
        let bought = bought.find(|paid| paid.plan.id == plan.id);
        let left = self.entitlement.as_ref().filter(|license| license.basis == Basis::Fallback);
        let left = left.filter(|license| license.plan.id == plan.id);
        bought.map(PaidEntitlement::entitlement).or_else(|| left.cloned())
    }

    /// Returns what would be the license at `now` if the customer had no subscription.
    #[must_use]
    pub fn license_without_subscription(&self, now: Timestamp) -> Option<Entitlement<'a>> {
        let perpetual = self.entitlements.iter().filter(|paid| paid.of.is_none());
        let perpetual: Vec<_> = perpetual.cloned().collect();
        license_entitlement(&perpetual, now).map(PaidEntitlement::entitlement)
    }
}

/// Returns what a customer may use at the time `clock`, because of everything that Stripe says.
/// `current` is the subscription that was current at the last sync.
#[must_use]
pub fn assess<'a>(
    state: &'a StripeState,
    current: Option<&StripeSubscriptionId>,
    catalog: &'a Catalog,
    clock: Timestamp,
) -> Assessment<'a> {
    let now = state.present(clock);
    // A subscription to something besides the plans is never current and never unclear.
    let concerns_us = |subscription: &&Subscription| {
        subscription.is_ours
            || current == Some(&subscription.id)
            || subscription.plan(catalog).is_some()
    };
    let mut alerts = Vec::new();
    let mut unclear = None;
    let mut entitlements: Vec<PaidEntitlement<'a>> = Vec::new();
    for subscription in &state.subscriptions {
        match standing(subscription, &state.invoices, catalog, now, &mut alerts) {
            Standing::Grants(paid) => entitlements.push(paid),
            Standing::Unclear => unclear = Some(subscription).filter(concerns_us).or(unclear),
            Standing::Nothing => {}
        }
    }
    if entitlements.iter().filter(|paid| paid.is_live()).count() > 1 {
        alerts.push(Alert::SeveralLive);
    }
    entitlements.extend(fallback::entitlements(state, catalog));
    let mut once = single_payments(state, catalog, &catalog.policy);
    if state.is_deleted {
        // Claimed payments do not depend on the Stripe customer.
        entitlements.clear();
        once.retain(|payment| matches!(payment.id, SinglePaymentId::Session(_)));
    }
    let first_payments = once::add(&mut entitlements, &once, catalog, &mut alerts);
    let chosen = license_entitlement(&entitlements, now);
    alerts.extend(shrunk(chosen, &entitlements, &first_payments, (catalog, now)));
    let without_effect = |chosen| without_effect(chosen, &entitlements, catalog, now);
    alerts.extend(chosen.map(without_effect).unwrap_or_default());
    // A renewal that was paid late may grant more than the subscription that is charged.
    let live = best(entitlements.iter().filter(|paid| paid.is_live()), now);
    let of_any = || best(entitlements.iter().filter(|paid| paid.of.is_some()), now);
    let granting = live.or_else(of_any).and_then(|paid| paid.of);
    // A current subscription that becomes unclear stays current. Otherwise the next sync would no
    // longer know that it concerns us.
    let still_current = unclear.filter(|subscription| current == Some(&subscription.id));
    let subscription = still_current
        .or(granting)
        .or(unclear)
        .or_else(|| most_recent(state.subscriptions.iter().filter(concerns_us)));
    Assessment {
        subscription,
        entitlement: chosen.map(PaidEntitlement::entitlement),
        is_unclear: unclear.is_some() && !state.is_deleted,
        alerts,
        entitlements,
    }
}

/// Returns alerts about what was paid for and the license does not have: a subscription beside a
/// perpetual license that is worth more, units, and add-ons. A perpetual license whose updates have
/// ended counts only if the customer subscribes to the same plan.
fn without_effect(
    chosen: &PaidEntitlement<'_>,
    all: &[PaidEntitlement<'_>],
    catalog: &Catalog,
    now: Timestamp,
) -> Vec<Alert> {
    let license = chosen.entitlement().coverage(catalog);
    let is_owned = |one: &PaidEntitlement<'_>| one.basis == Basis::Once;
    let alert = |other: &PaidEntitlement<'_>| {
        let is_of_same_plan = other.rank == chosen.rank;
        let counts = other.is_live()
            || (is_owned(other)
                && ((chosen.is_live() && is_of_same_plan)
                    || (!is_of_same_plan && other.covers_new_builds(now))));
        let coverage = other.entitlement().coverage(catalog);
        let lacks = license.shortfall(&coverage);
        let has_no_effect = other.is_live() && is_owned(chosen);
        (counts && (has_no_effect || lacks.units || lacks.addons)).then(|| Alert::WithoutEffect {
            paid: paid_for(other, &coverage),
            license: paid_for(chosen, &license),
            is_accepted: false,
        })
    };
    let others = all.iter().filter(|one| !std::ptr::eq(*one, chosen));
    others.filter_map(alert).collect()
}

/// Returns alerts about a higher perpetual plan that replaced one of which it has fewer units, or
/// not the add-ons; and about any bought one that so replaced what a subscription left. While the
/// updates of the replaced one last, [`without_effect`] reports it.
fn shrunk(
    chosen: Option<&PaidEntitlement<'_>>,
    all: &[PaidEntitlement<'_>],
    first_payments: &FirstPayments,
    (catalog, now): (&Catalog, Timestamp),
) -> Vec<Alert> {
    let owned = || all.iter().filter(|one| one.basis == Basis::Once);
    let Some(highest) = owned().max_by_key(|one| one.rank) else { return Vec::new() };
    let is_chosen = chosen.is_some_and(|chosen| std::ptr::eq(chosen, highest));
    let license = highest.entitlement().coverage(catalog);
    let alert = |former: &PaidEntitlement<'_>| {
        let coverage = former.entitlement().coverage(catalog);
        let lacks = license.shortfall(&coverage);
        let (since, paid_at) = match former.basis {
            Basis::Fallback if !is_chosen => return None,
            Basis::Fallback => (former.updates_until?, *first_payments.get(&highest.rank)?),
            Basis::Once | Basis::Subscription => {
                let higher = first_payments.range(former.rank + 1..).map(|(_, at)| at).min()?;
                (*first_payments.get(&former.rank)?, *higher)
            }
        };
        let was_replaced = since <= paid_at && !former.covers_new_builds(now);
        (was_replaced && (lacks.units || lacks.addons)).then(|| Alert::Shrunk {
            former: paid_for(former, &coverage),
            license: paid_for(highest, &license),
            paid_at,
            is_accepted: false,
        })
    };
    all.iter().filter(|one| one.of.is_none()).filter_map(alert).collect()
}

/// Returns what an entitlement was paid for, as alerts name it.
fn paid_for(one: &PaidEntitlement<'_>, coverage: &Coverage) -> PaidFor {
    PaidFor {
        plan: one.plan.id.clone(),
        units: coverage.units,
        addons: coverage.addons.clone(),
        is_live: one.is_live(),
    }
}

/// Returns the subscription to show when none grants anything: a live one, or else the newest.
fn most_recent<'a>(all: impl Iterator<Item = &'a Subscription>) -> Option<&'a Subscription> {
    all.max_by_key(|subscription| {
        (subscription.status.is_live(), subscription.created, &subscription.id)
    })
}

#[cfg(test)]
pub(crate) mod tests;
