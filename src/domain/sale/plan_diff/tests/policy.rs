//! Another `[policy]`: which payments count, and whose license changes.

use super::*;
use crate::domain::license::RevocationReason;
use crate::domain::sale::policy::Consequence::{Keep, Revoke};
use crate::domain::sale::policy::{Consequence, PolicySetting};

/// A policy that keeps everything.
const KEEP: Policy = Policy::KEEP_ALL;

/// Returns the policy that revokes only after this.
fn revoking(setting: PolicySetting) -> Policy {
    let mut policy = KEEP;
    let consequence = match setting {
        PolicySetting::Refund => &mut policy.refund,
        PolicySetting::PartialRefund => &mut policy.partial_refund,
        PolicySetting::Dispute => &mut policy.dispute,
        PolicySetting::DisputeLost => &mut policy.dispute_lost,
        PolicySetting::Forgiven => &mut policy.forgiven,
    };
    *consequence = Revoke;
    policy
}

/// Returns the settings whose change concerns a license: from keep to revoke, or the reverse. The
/// customer's subscription, if there is one, is active.
fn concerned(license: &IssuedLicense, orders: &[OrderedPlan], after: Consequence) -> Vec<String> {
    let (mut keep, mut revoke) = (selling(), selling());
    keep.policy = KEEP;
    let billed_items = BilledItems(Vec::new());
    let subscription =
        StoredBilling { billed_items: Some(billed_items), billed_status: Some(Status::Active) };
    let purchases = StoredPurchases { subscription: &subscription, orders };
    let of = |setting: PolicySetting| {
        revoke.policy = revoking(setting);
        let plans = if after == Revoke { (&keep, &revoke) } else { (&revoke, &keep) };
        let change = license_change(license, purchases, plans, at(NOW + DAY));
        let differences = change.into_iter().flat_map(|change| change.differences);
        differences.map(|difference| difference.to_string()).collect::<Vec<_>>()
    };
    PolicySetting::ALL.into_iter().flat_map(of).collect()
}

/// Returns a license that was revoked for lack of payment.
fn unpaid(plan: &str, basis: Basis) -> IssuedLicense {
    IssuedLicense {
        revoked_at: Some(at(NOW)),
        revocation_reason: Some(RevocationReason::Payment),
        ..license(plan, basis)
    }
}

#[test]
fn a_stricter_policy_is_a_removal_and_a_milder_one_is_not() {
    for (setting, expected) in PolicySetting::ALL.into_iter().zip([
        "`policy.refund` is \"revoke\" instead of \"keep\": what payments that were refunded in \
         full bought is revoked",
        "`policy.partial_refund` is \"revoke\" instead of \"keep\": what payments that were \
         returned in part bought is revoked",
        "`policy.dispute` is \"revoke\" instead of \"keep\": what payments with an open dispute \
         bought is revoked",
        "`policy.dispute_lost` is \"revoke\" instead of \"keep\": what payments with a lost \
         dispute bought is revoked",
        "`policy.forgiven` is \"revoke\" instead of \"keep\": what forgiven renewals bought is \
         revoked",
    ]) {
        let (mut keep, mut revoke) = (selling(), selling());
        (keep.policy, revoke.policy) = (KEEP, revoking(setting));
        let texts: Vec<_> =
            PlansSnapshot::of(&keep).removals(&revoke).iter().map(Removal::to_string).collect();
        assert_eq!(texts, [expected]);
        assert_eq!(PlansSnapshot::of(&revoke).removals(&keep), []);
    }
}

#[test]
fn a_snapshot_keeps_the_policy_and_one_of_an_earlier_version_has_none() {
    let (mut keep, mut revoke) = (selling(), selling());
    (keep.policy, revoke.policy) = (KEEP, revoking(PolicySetting::Refund));
    let mut stored = serde_json::to_value(PlansSnapshot::of(&keep)).unwrap();
    assert_eq!(stored["policy"]["dispute_lost"], "keep");
    let read: PlansSnapshot = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(read, PlansSnapshot::of(&keep));
    assert_eq!(read.removals(&revoke).len(), 1);
    stored.as_object_mut().unwrap().remove("policy").unwrap();
    let read: PlansSnapshot = serde_json::from_value(stored).unwrap();
    assert_eq!(read.removals(&revoke), [], "what it did not store is not known");
}

#[test]
fn a_stricter_policy_changes_the_license_that_the_payment_bought() {
    let studio = license("studio", Basis::Once);
    let once = |status| order("studio", Interval::Once, status);
    let id = OrderId::from_random(1);
    let refunded = format!("policy.refund: keep → revoke, and {id} was refunded");
    assert_eq!(concerned(&studio, &[once(OrderStatus::Refunded)], Revoke), [&*refunded]);
    let disputed = ["dispute", "dispute_lost"]
        .map(|setting| format!("policy.{setting}: keep → revoke, and {id} is disputed"));
    assert_eq!(concerned(&studio, &[once(OrderStatus::Disputed)], Revoke), disputed);
    let partly = OrderedPlan { returned: 1, ..once(OrderStatus::Succeeded) };
    let expected = format!("policy.partial_refund: keep → revoke, and {id} was returned in part");
    assert_eq!(concerned(&studio, &[partly], Revoke), [expected]);
    for status in [OrderStatus::Succeeded, OrderStatus::Pending, OrderStatus::Failed] {
        assert_eq!(concerned(&studio, &[once(status)], Revoke), [""; 0], "{status:?}");
    }
    let bought_by = |order: &OrderedPlan, license: &IssuedLicense| {
        !concerned(license, std::slice::from_ref(order), Revoke).is_empty()
    };
    let refunded = |plan: &str, interval| order(plan, interval, OrderStatus::Refunded);
    assert!(bought_by(&refunded("studio", Interval::Updates), &studio));
    assert!(!bought_by(&refunded("site", Interval::Once), &studio), "it is not the license");
    assert!(!bought_by(&refunded("studio", Interval::Month), &studio));
    let addons = Some("[\"pdf\"]".parse().unwrap());
    let of_addon = OrderedPlan { addons, ..refunded("team", Interval::Once) };
    assert!(bought_by(&of_addon, &license("team", Basis::Subscription)), "it has the add-on");
    let taken_over = IssuedLicense { updates_until: Some(at(NOW)), ..license("site", Basis::Once) };
    assert!(bought_by(&refunded("studio", Interval::Once), &taken_over), "its updates");

    let team = |basis| license("team", basis);
    let running = refunded("team", Interval::Month);
    let over = OrderedPlan { purchased_at: Some(at(NOW - 40 * DAY)), ..running.clone() };
    assert!(bought_by(&running, &team(Basis::Subscription)));
    assert!(!bought_by(&over, &team(Basis::Subscription)), "its period has ended");
    assert!(bought_by(&over, &team(Basis::Fallback)), "the months in a row count");
    for source in [Source::Trial, Source::Operator] {
        let other = IssuedLicense { source, ..team(Basis::Subscription) };
        assert!(!bought_by(&running, &other), "{source:?}");
    }
    assert!(!bought_by(&running, &unpaid("team", Basis::Subscription)), "it is revoked already");
}

#[test]
fn an_unpaid_renewal_of_an_active_subscription_may_be_forgiven() {
    let team = license("team", Basis::Subscription);
    let unpaid_order = order("team", Interval::Month, OrderStatus::Failed);
    let id = OrderId::from_random(1);
    let expected = format!("policy.forgiven: keep → revoke, and {id} was not paid");
    assert_eq!(concerned(&team, std::slice::from_ref(&unpaid_order), Revoke), [expected]);
    let paid = order("team", Interval::Month, OrderStatus::Succeeded);
    let before = OrderedPlan { purchased_at: Some(at(NOW - 40 * DAY)), ..paid.clone() };
    assert_eq!(concerned(&team, &[unpaid_order.clone(), before], Revoke).len(), 1);
    let failed_change = [unpaid_order.clone(), paid];
    assert_eq!(concerned(&team, &failed_change, Revoke), [""; 0], "the period is paid");
    let abandoned = OrderedPlan { stripe_invoice_id: None, ..unpaid_order };
    assert_eq!(concerned(&team, &[abandoned], Revoke), [""; 0], "a checkout that expired");
}

#[test]
fn a_milder_policy_gives_licenses_back() {
    let refunded = |plan: &str, interval| order(plan, interval, OrderStatus::Refunded);
    let gains = |license: &IssuedLicense, order: &OrderedPlan| {
        !concerned(license, std::slice::from_ref(order), Keep).is_empty()
    };
    let id = OrderId::from_random(1);
    let expected = format!("policy.refund: revoke → keep, and {id} was refunded");
    let once = refunded("studio", Interval::Once);
    let revoked = unpaid("studio", Basis::Once);
    assert_eq!(concerned(&revoked, std::slice::from_ref(&once), Keep), [expected]);
    let leaked =
        IssuedLicense { revocation_reason: Some(RevocationReason::Operator), ..revoked.clone() };
    assert!(!gains(&leaked, &once), "it stays revoked");
    let ended = IssuedLicense { expires_at: Some(at(NOW)), ..license("team", Basis::Subscription) };
    assert!(gains(&ended, &once));

    let month = refunded("studio", Interval::Month);
    let over = |order: &OrderedPlan| OrderedPlan {
        purchased_at: Some(at(NOW - 40 * DAY)),
        ..order.clone()
    };
    let revoked = unpaid("starter", Basis::Subscription);
    assert!(gains(&revoked, &month));
    let starter = refunded("starter", Interval::Month);
    assert!(!gains(&revoked, &over(&starter)), "its period has ended, and it leaves nothing");
    assert!(gains(&revoked, &over(&refunded("team", Interval::Month))), "it may leave a license");

    let team = license("team", Basis::Subscription);
    assert!(gains(&team, &once), "a higher plan");
    assert!(!gains(&team, &starter), "a lower plan");
    let trial = IssuedLicense { source: Source::Trial, ..license("team", Basis::Subscription) };
    assert!(gains(&trial, &starter), "a trial gives way to every payment");
    let addons = Some("[\"plugins\"]".parse().unwrap());
    assert!(gains(&team, &OrderedPlan { addons, ..starter }), "an add-on that it lacks");
}

#[test]
fn a_milder_policy_gives_back_a_lower_plan_in_place_of_a_license_for_old_builds() {
    let until = |days: i64, plan: &str, basis| IssuedLicense {
        updates_until: Some(at(NOW + days * DAY)),
        ..license(plan, basis)
    };
    let starter = |status| order("starter", Interval::Month, status);
    let (refunded, disputed) = (OrderStatus::Refunded, OrderStatus::Disputed);
    let partly = OrderedPlan { returned: 1, ..starter(OrderStatus::Succeeded) };
    for (what, order, settings) in [
        ("refunded", starter(refunded), 1),
        ("returned in part", partly, 1),
        ("disputed", starter(disputed), 2),
        ("forgiven", starter(OrderStatus::Failed), 1),
        ("bought once", self::order("starter", Interval::Once, refunded), 1),
    ] {
        let found =
            |license: IssuedLicense| concerned(&license, std::slice::from_ref(&order), Keep).len();
        assert_eq!(found(until(0, "studio", Basis::Once)), settings, "{what}");
        assert_eq!(found(until(-90, "team", Basis::Fallback)), settings, "{what}, fallback");
        let grant = IssuedLicense { source: Source::Operator, ..until(0, "studio", Basis::Once) };
        assert_eq!(found(grant), settings, "{what}, beside a grant");
        if order.is_recurring() {
            assert_eq!(found(until(2, "studio", Basis::Once)), 0, "{what}, builds of today");
            assert_eq!(found(license("studio", Basis::Once)), 0, "{what}, all builds");
        }
    }
}

#[test]
fn a_milder_policy_gives_back_updates_and_months_that_a_license_is_made_of() {
    let gains = |license: &IssuedLicense, order: &OrderedPlan| {
        !concerned(license, std::slice::from_ref(order), Keep).is_empty()
    };
    let refunded = |plan: &str, interval| order(plan, interval, OrderStatus::Refunded);
    let site = license("site", Basis::Once);
    let with_updates = IssuedLicense { updates_until: Some(at(NOW + 9 * DAY)), ..site.clone() };
    for interval in [Interval::Once, Interval::Updates] {
        assert!(gains(&with_updates, &refunded("studio", interval)), "it takes them over");
        assert!(!gains(&site, &refunded("studio", interval)), "it covers all builds");
    }
    assert!(!gains(&with_updates, &refunded("studio", Interval::Month)));
    let purchased_at = Some(at(NOW - 40 * DAY));
    let month = OrderedPlan { purchased_at, ..refunded("team", Interval::Month) };
    let old = IssuedLicense { updates_until: Some(at(NOW)), ..license("studio", Basis::Once) };
    assert!(gains(&old, &month), "a license that the subscription left");
    assert!(!gains(&license("studio", Basis::Once), &month));
    let leaked = IssuedLicense {
        revocation_reason: Some(RevocationReason::Operator),
        ..unpaid("team", Basis::Fallback)
    };
    assert!(!gains(&leaked, &month), "it stays revoked");
}
