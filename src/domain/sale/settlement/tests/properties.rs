//! Properties of settlements for every state at Stripe and every record of ours.

use proptest::prelude::*;

use super::*;
use crate::domain::sale::entitlement::tests::properties::any_state;

/// Returns any record: without a license, or with a trial, a grant, or licenses of earlier states.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let earlier = prop::collection::vec((any_state(), -20..1_i64), 0..3);
    let grant = prop::option::of((any::<bool>(), prop::option::of(-30..60_i64)));
    (any::<bool>(), grant, earlier).prop_map(|(has_trial, grant, earlier)| {
        let mut record = record();
        if has_trial {
            record = with_license(record, Source::Trial, "trial", Some(PERIOD_END));
        }
        if let Some((is_high, days)) = grant {
            let plan = if is_high { "professional" } else { "starter" };
            let expires = days.map(|days| NOW + days * DAY);
            record = with_license(record, Source::Operator, plan, expires);
        }
        for (state, days) in earlier {
            let then = NOW + days * DAY;
            record = apply(record.clone(), &settle_at(&record, &state, then), at(then));
        }
        record.paid_licenses.retain(|license| license.works(at(NOW)));
        record
    })
}

proptest! {
    #[test]
    fn settling_again_changes_nothing(record in any_record(), state in any_state()) {
        let after = apply(record.clone(), &settle_at(&record, &state, NOW), at(NOW));
        prop_assert_eq!(settle_at(&after, &state, NOW).changes, []);
    }

    #[test]
    fn no_paid_license_grants_more_than_was_paid_reliability_b(
        record in any_record(),
        state in any_state(),
    ) {
        let catalog = catalog();
        let after = apply(record.clone(), &settle_at(&record, &state, NOW), at(NOW));
        let current = after.subscription.as_ref().map(|row| &row.stripe_subscription_id);
        let assessment = assess(&state, current, &catalog, at(NOW));
        let rank = assessment.entitlement.map(|granted| catalog.rank(granted.plan.id.as_str()));
        if !assessment.is_unclear {
            for license in &after.paid_licenses {
                prop_assert!(Some(catalog.rank(&license.plan)) <= rank, "{:?}", license);
            }
        }
    }

    #[test]
    fn whoever_paid_holds_a_license_that_is_worth_it_reliability_a(
        record in any_record(),
        state in any_state(),
    ) {
        let catalog = catalog();
        let assessment = assess(&state, None, &catalog, at(NOW));
        let after = apply(record.clone(), &settle_at(&record, &state, NOW), at(NOW));
        if let Some(entitlement) = assessment.entitlement {
            let held = after.current_license.as_ref();
            prop_assert!(held.is_some_and(|held| held.works(at(NOW))), "{:?}", held);
            let rank = held.map(|held| catalog.rank(&held.plan));
            prop_assert!(rank >= Some(catalog.rank(entitlement.plan.id.as_str())));
        }
    }

    #[test]
    fn a_settlement_sends_at_most_one_mail_and_describes_each_change(
        record in any_record(),
        state in any_state(),
    ) {
        let settlement = settle_at(&record, &state, NOW);
        let is_mail = |change: &&Change<'_>| matches!(change, Change::Mail { .. });
        prop_assert!(settlement.changes.iter().filter(is_mail).count() <= 1);
        let report = settlement.report();
        for (change, text) in settlement.changes.iter().zip(&report.changes) {
            prop_assert!(!text.is_empty());
            if let Change::Mail { kind, .. } = change {
                prop_assert_eq!(text, &format!("mail: {kind}"));
            }
        }
    }
}
