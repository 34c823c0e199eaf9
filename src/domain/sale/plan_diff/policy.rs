//! What another `[policy]` changes: payments that were returned, and renewals that were forgiven,
//! count or do not count any more.

use super::{Difference, StoredPurchases};
use crate::domain::license::{Basis, IssuedLicense, RevocationReason, Source};
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
    let (rank, own) = (catalog.rank(&order.plan), catalog.rank(&license.plan));
    if order.is_recurring() {
        return match license.basis {
            // The payment for a change also depends on the one that it credits.
            Basis::Subscription => order.is_running(now),
            // The months that were paid in a row count, however long ago.
            Basis::Fallback => rank >= own,
            Basis::Once => false,
        };
    }
    let has_addon = order.addons.iter().any(|ids| !ids.0.is_disjoint(&license.addons.0));
    // A higher plan takes over the updates of a lower one.
    let is_taken_over = rank < own && license.updates_until.is_some();
    let is_same_plan = catalog.is_same_plan(&order.plan, &license.plan);
    has_addon || license.basis == Basis::Once && (is_same_plan || is_taken_over)
}

/// Returns whether an order, if it counts again, may give the customer of a license more.
fn may_gain(
    license: &IssuedLicense,
    order: &OrderedPlan,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let (rank, works) = (catalog.rank(&order.plan), license.works(now));
    if catalog.plan(&order.plan).is_none() {
        return false;
    }
    if order.is_recurring() && !order.is_running(now) {
        // It may only complete the months after which a subscription leaves a license.
        let leaves = catalog.plans.iter().take(rank + 1).any(|plan| plan.fallback_months.is_some());
        let is_paid = works && license.source == Source::Paid;
        return leaves && (!is_paid || license.basis == Basis::Fallback);
    }
    if !works {
        // A license that an operator revoked stays revoked.
        return license.revocation_reason.is_none_or(|reason| reason == RevocationReason::Payment);
    }
    let lacks_addon = order.addons.iter().any(|ids| !ids.0.is_subset(&license.addons.0));
    license.source == Source::Trial || lacks_addon || rank >= catalog.rank(&license.plan)
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
