//! Tests of what a changed plans file takes away, without a database.

use super::*;
use crate::domain::sale::entitlement::tests::selling;

/// Returns the texts of what these changes of the tests' plans file take away.
fn removals(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
    let (old, mut new) = (Granted::of(&selling()), selling());
    change(&mut new);
    old.removals(&new).iter().map(Removal::to_string).collect()
}

fn plan<'c>(catalog: &'c mut Catalog, id: &str) -> &'c mut Plan {
    catalog.plans.iter_mut().find(|plan| plan.id.as_str() == id).unwrap()
}

#[test]
fn settings_that_take_away_what_was_sold_are_reported() {
    assert!(removals(|_| {}).is_empty());
    let fallback = |months| removals(|new| plan(new, "team").fallback_months = months);
    let [gone] = &fallback(None)[..] else { panic!("{:?}", fallback(None)) };
    assert!(gone.contains("after no time, and not after 12 paid months"), "{gone}");
    assert!(fallback(Some(13))[0].contains("after 13 paid months"), "{:?}", fallback(Some(13)));
    assert!(fallback(Some(11)).is_empty(), "it leaves more");

    let updates = |months| removals(|new| plan(new, "studio").prices[0].updates_months = months);
    let [fewer] = &updates(Some(6))[..] else { panic!("{:?}", updates(Some(6))) };
    assert!(fewer.starts_with("price_studio_once pays for 6 months of builds"), "{fewer}");
    assert!(updates(None).is_empty() && updates(Some(13)).is_empty());
    let limited = removals(|new| plan(new, "site").prices[0].updates_months = Some(60));
    assert!(limited[0].contains("and not for all"), "{limited:?}");
    // A former price pays for the months of the present one.
    let retired = removals(|new| {
        let studio = plan(new, "studio");
        let mut price = studio.prices[0].clone();
        (price.id, price.updates_months) = ("price_studio_once_2".into(), Some(6));
        studio.former_prices.push(std::mem::replace(&mut studio.prices[0], price).id);
    });
    assert_eq!(retired.len(), 1, "{retired:?}");

    let narrowed = |plans: &[&str]| {
        let plans = plans.iter().map(|id| id.parse().unwrap()).collect();
        removals(|new| new.addons[0].plans = Some(plans))
    };
    let expected = "`pdf` is no longer sold with `studio`: customers who pay for both lose it";
    assert_eq!(narrowed(&["team"]), [expected]);
    assert!(narrowed(&["team", "studio", "site"]).is_empty());
}

#[test]
fn what_an_earlier_version_stored_is_read_and_compared() {
    let mut stored = serde_json::to_value(Granted::of(&selling())).unwrap();
    for kind in ["plans", "addons"] {
        for goods in stored[kind].as_array_mut().unwrap() {
            let goods = goods.as_object_mut().unwrap();
            for field in ["fallback_months", "updates_months", "with_plans"] {
                assert!(goods.remove(field).is_some(), "{field}");
            }
        }
    }
    let old: Granted = serde_json::from_value(stored).unwrap();
    assert_eq!(old.removals(&selling()), []);
    let mut less = selling();
    (less.plans[2].fallback_months, less.addons[0].plans) = (None, Some(Vec::new()));
    less.plans[1].features.clear();
    assert_eq!(old.removals(&less).len(), 1, "what it did not store is not known");
}
