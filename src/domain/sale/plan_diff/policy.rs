//! The effects of another `[policy]`: payments that were returned, and renewals that were forgiven,
//! count or do not count any more.

use super::{Difference, StoredPurchases};
use crate::domain::license::{Basis, IssuedLicense, RevocationReason, Source, covers_new_builds};
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::OrderedPlan;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::{Consequence, Policy, PolicySetting};
use crate::domain::sale::subscription::Status;
use crate::domain::time::Timestamp;

/// A setting with another consequence than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PolicyChange {
    pub(super) setting: PolicySetting,
    /// The consequence by the new policy. By the old one, it is the other one.
    pub(super) after: Consequence,
}

/// Returns the settings that differ.
pub(super) fn policy_changes(old: &Policy, new: &Policy) -> Vec<PolicyChange> {
    let change = |setting: PolicySetting| {
        let after = setting.of(new);
        (after != setting.of(old)).then_some(PolicyChange { setting, after })
    };
    PolicySetting::ALL.into_iter().filter_map(change).collect()
}

/// Returns the orders of the license's customer that the new policy treats in another way, if that
/// may change the license. An order does not say whether a dispute is open or lost, nor whether an
/// unpaid renewal was forgiven.
pub(super) fn by_policy(
    license: &IssuedLicense,
    purchases: StoredPurchases<'_>,
    (old, new): (&Catalog, &Catalog),
    now: Timestamp,
) -> Vec<Difference> {
    let changes = policy_changes(&old.policy, &new.policy);
    let with_order = changes.iter().flat_map(|change| {
        let orders = purchases.orders.iter();
        orders.map(move |order| (change, order))
    });
    let concerned = with_order.filter(|(change, order)| {
        let is_about = match change.setting {
            PolicySetting::Refund => order.status == OrderStatus::Refunded,
            PolicySetting::PartialRefund => {
                order.status == OrderStatus::Succeeded && order.returned > 0
            }
            PolicySetting::Dispute | PolicySetting::DisputeLost => {
                order.status == OrderStatus::Disputed
            }
            PolicySetting::Forgiven => purchases.may_be_forgiven(order, now),
        };
        is_about
            && match change.after {
                Consequence::Revoke => depends_on(license, order, new, now),
                Consequence::Keep => may_gain(license, order, new, now),
            }
    });
    let difference = |(change, order): (&PolicyChange, &OrderedPlan)| Difference::Policy {
        setting: change.setting,
        after: change.after,
        order: order.order_id.clone(),
    };
    concerned.map(difference).collect()
}

/// Returns whether a license that works may have been bought by an order.
fn depends_on(
    license: &IssuedLicense,
    order: &OrderedPlan,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    if license.source != Source::Paid || !license.works(now) {
        return false;
    }
    if order.is_recurring() {
        return match license.basis {
            // The payment for a change also depends on the one that it credits.
            Basis::Subscription => order.is_running(now),
            // The months that were paid in a row count, however long ago.
            Basis::Fallback => catalog.rank(&order.plan) >= catalog.rank(&license.plan),
            Basis::Once => false,
        };
    }
    let has_addon = order.addons.iter().any(|ids| !ids.0.is_disjoint(&license.addons.0));
    let is_same_plan = catalog.is_same_plan(&order.plan, &license.plan);
    let is_of_license = license.basis == Basis::Once && is_same_plan;
    has_addon || is_of_license || is_taken_over(license, order, catalog)
}

/// Returns whether a perpetual license takes over the updates that an order bought for a lower
/// plan.
fn is_taken_over(license: &IssuedLicense, order: &OrderedPlan, catalog: &Catalog) -> bool {
    license.source == Source::Paid
        && license.basis == Basis::Once
        && license.updates_until.is_some()
        && !order.is_recurring()
        && catalog.rank(&order.plan) < catalog.rank(&license.plan)
}

/// Returns whether an order, if it counts again, may give the customer of a license more.
fn may_gain(
    license: &IssuedLicense,
    order: &OrderedPlan,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let rank = catalog.rank(&order.plan);
    if catalog.plan(&order.plan).is_none() {
        return false;
    }
    // A period that has ended changes no license, unless it completes the months after which a
    // subscription leaves one.
    let has_ended = order.is_recurring() && !order.is_running(now);
    if has_ended && catalog.plans.iter().take(rank + 1).all(|plan| plan.fallback_months.is_none()) {
        return false;
    }
    if !license.works(now) {
        // A license that an operator revoked stays revoked.
        return license.revocation_reason.is_none_or(|reason| reason == RevocationReason::Payment);
    }
    // A purchase for new builds becomes the license in place of one for old builds, whatever the
    // plans are.
    let is_for_old_builds = !covers_new_builds(license.updates_until, now);
    if has_ended {
        let is_kept = license.source == Source::Paid && license.basis != Basis::Fallback;
        return !is_kept || is_for_old_builds;
    }
    let lacks_addon = order.addons.iter().any(|ids| !ids.0.is_subset(&license.addons.0));
    license.source == Source::Trial
        || lacks_addon
        || rank >= catalog.rank(&license.plan)
        || is_for_old_builds
        || is_taken_over(license, order, catalog)
}

impl StoredPurchases<'_> {
    /// Returns whether an order may be a renewal that the vendor forgave. Dunning and failed
    /// changes also leave unpaid orders. But a forgiven renewal leaves the subscription active, and
    /// no other payment is for its period.
    fn may_be_forgiven(self, order: &OrderedPlan, now: Timestamp) -> bool {
        let is_paid = |other: &OrderedPlan| {
            other.status == OrderStatus::Succeeded && other.is_recurring() && other.is_running(now)
        };
        order.status == OrderStatus::Failed
            && order.stripe_invoice_id.is_some()
            && order.is_recurring()
            && order.is_running(now)
            && self.subscription.billed_status == Some(Status::Active)
            && !self.orders.iter().any(is_paid)
    }
}
