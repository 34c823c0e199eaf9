//! Single payments for several plans: the higher plan holds, and takes over longer updates.

use super::once::{BOUGHT, YEAR, bills, paid_once, payment, time};
use super::*;
use crate::domain::license::{Basis, Term};
use crate::domain::sale::plan::{Interval, Price};

/// Returns the catalog of the tests, in which `team` and `site` are also sold once with updates for
/// a year, and `team` with all builds.
fn catalog() -> Catalog {
    let mut catalog = selling();
    let once = catalog.plan("studio").unwrap().prices[0].clone();
    for name in ["team", "site"] {
        let plan = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == name).unwrap();
        plan.prices.retain(|price| price.interval != Interval::Once);
        let price = |how: &str| Price { id: format!("price_{name}_{how}"), ..once.clone() };
        let updates = Price { interval: Interval::Updates, ..price("updates") };
        let endless = Price { updates_months: None, ..price("endless") };
        plan.prices.extend([price("once"), updates, endless]);
    }
    catalog
}

/// Returns the state after single payments for these units of prices, at these times.
fn bought(purchases: &[(&str, u32, i64)]) -> StripeState {
    let payments = purchases.iter().enumerate().map(|(n, (price, units, time))| {
        payment(&format!("in_{n}"), *time, &[bills(&format!("price_{price}"), *units)])
    });
    paid_once(payments.collect())
}

/// Returns the license: the plan, the units and the end of the updates.
fn license(state: &StripeState, now: i64) -> (String, u32, Option<i64>) {
    let catalog = catalog();
    let entitlement = assess(state, None, &catalog, at(now)).entitlement.unwrap();
    let until = entitlement.updates_until.map(Timestamp::epoch_seconds);
    (entitlement.plan.id.to_string(), entitlement.quantity, until)
}

fn alerts(state: &StripeState, now: i64) -> Vec<String> {
    assess(state, None, &catalog(), at(now)).alerts.iter().map(Alert::to_string).collect()
}

const MARCH: i64 = 1_772_323_200; // 2026-03-01T00:00:00Z

fn studio(until: &str) -> (String, u32, Option<i64>) {
    ("studio".into(), 1, Some(time(until)))
}

#[test]
fn the_higher_plan_holds_after_its_updates_have_ended() {
    let lower = [("team_once", 1, BOUGHT), ("team_updates", 1, BOUGHT + DAY)];
    let upgraded = bought(&[lower[0], lower[1], ("studio_once", 1, MARCH)]);
    // The updates of the lower plan last until 2028-01-31, those of the higher one until
    // 2027-03-01.
    for later in [0, 9 * MONTH, 2 * YEAR, 9 * YEAR] {
        let expected = studio("2028-01-31T12:00:00Z");
        assert_eq!(license(&upgraded, MARCH + later), expected, "{later} seconds later");
        assert_eq!(alerts(&upgraded, MARCH + later), [""; 0]);
    }
    let mut refunded = upgraded;
    refunded.invoices[2].payment = Payment::Refunded;
    let expected = ("team".to_owned(), 1, Some(time("2028-01-31T12:00:00Z")));
    assert_eq!(license(&refunded, MARCH), expected, "the lower plan with all of its updates");
}

#[test]
fn longer_updates_of_a_lower_plan_are_taken_over_for_as_many_months_as_were_bought() {
    let after =
        |lower: &[(&str, u32, i64)]| bought(&[lower, &[("studio_once", 1, MARCH)]].concat());
    let once = ("team_once", 1, BOUGHT);
    let updates = |n: i64| ("team_updates", 1, BOUGHT + n * DAY);
    assert_eq!(license(&after(&[once]), MARCH), studio("2027-03-01T00:00:00Z"), "shorter");
    let most = studio("2028-03-01T00:00:00Z");
    let cut = |end: &str| {
        format!(
            "the customer bought `studio` at 2026-03-01T00:00:00Z and had updates of `team` {end}; \
             the higher plan takes them over until 2028-03-01T00:00:00Z only; refund the rest, or \
             grant a license"
        )
    };
    let long = after(&[once, updates(1), updates(2)]);
    assert_eq!(license(&long, MARCH), most, "at most twelve months more");
    assert_eq!(alerts(&long, MARCH), [cut("until 2029-01-31T12:00:00Z")]);
    let endless = after(&[("team_endless", 1, BOUGHT)]);
    assert_eq!(license(&endless, MARCH + 9 * YEAR), most);
    assert_eq!(alerts(&endless, MARCH), [cut("for ever")]);
}

#[test]
fn one_unit_does_not_update_all_units_of_a_higher_plan() {
    let state = |lower: u32, higher: u32| {
        bought(&[
            ("team_once", lower, BOUGHT),
            ("team_updates", lower, BOUGHT + DAY),
            ("site_once", higher, MARCH),
        ])
    };
    let (lower, own) = (time("2028-01-31T12:00:00Z"), time("2027-03-01T00:00:00Z"));
    let site = |units, until: i64| ("site".to_owned(), units, Some(until));
    let shared = MARCH + (2 * (lower - MARCH) + 8 * (own - MARCH)) / 10;
    assert_eq!(license(&state(2, 10), MARCH), site(10, shared));
    assert_eq!(license(&state(2, 2), MARCH), site(2, lower));
    assert_eq!(license(&state(2, 1), MARCH), site(1, lower));
    // A plan that is not sold by the unit counts as one.
    let studio = [("studio_once", 1, BOUGHT), ("studio_updates", 1, BOUGHT + DAY)];
    let from_studio = bought(&[studio[0], studio[1], ("site_once", 4, MARCH)]);
    let shared = MARCH + ((lower - MARCH) + 3 * (own - MARCH)) / 4;
    assert_eq!(license(&from_studio, MARCH), site(4, shared));
}

#[test]
fn a_lower_plan_that_is_bought_later_has_no_effect_and_is_reported() {
    let owned = ("studio_once", 1, BOUGHT);
    let late = BOUGHT + 2 * YEAR;
    let until = studio("2027-01-31T12:00:00Z");
    let reported = |time: &str| {
        format!(
            "the customer paid for `team` at {time} and owned all of it, or a higher plan, before, \
             so the payment has no effect; refund it if it was a mistake"
        )
    };
    for (time, text) in [(BOUGHT + DAY, "2026-02-01T12:00:00Z"), (late, "2028-01-31T12:00:00Z")] {
        let state = bought(&[owned, ("team_once", 1, time)]);
        assert_eq!(license(&state, late + DAY), until);
        assert_eq!(alerts(&state, late + DAY), [reported(text)]);
    }
    // The cheaper updates do not extend the higher plan.
    let first = ("team_once", 1, BOUGHT - DAY);
    let state = bought(&[first, owned, ("team_updates", 1, late)]);
    assert_eq!(license(&state, late), until);
    assert_eq!(alerts(&state, late), [reported("2028-01-31T12:00:00Z")]);
}

#[test]
fn a_plan_above_both_takes_over_what_the_higher_one_has() {
    let state = bought(&[
        ("team_once", 1, BOUGHT),
        ("team_updates", 1, BOUGHT + DAY),
        ("studio_once", 1, MARCH),
        ("site_once", 1, MARCH + DAY),
    ]);
    let expected = ("site".to_owned(), 1, Some(time("2028-01-31T12:00:00Z")));
    assert_eq!(license(&state, MARCH + DAY), expected);
}

#[test]
fn what_a_subscription_leaves_does_not_replace_newer_builds_that_were_bought() {
    let mut catalog = catalog();
    let starter = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "starter").unwrap();
    let months = |months| Price {
        id: "price_starter_once".into(),
        interval: Interval::Once,
        updates_months: months,
        ..starter.prices[0].clone()
    };
    let endless = months(None);
    starter.prices.push(months(Some(36)));
    let mut of = subscription("sub_1", "canceled", &["price_team_year"]);
    of.ended_at = Some(at(PERIOD_END));
    let year = Line {
        period_start: Some(at(PERIOD_END - YEAR)),
        ..line("price_team_year", PERIOD_END, 10_000)
    };
    let of_team = Invoice {
        lines: vec![year],
        paid_at: Some(at(PERIOD_END - YEAR)),
        created: at(PERIOD_END - YEAR),
        ..invoice("in_team", &of, InvoiceStatus::Paid, PERIOD_END)
    };
    let solo = payment("in_solo", PERIOD_END - YEAR, &[bills("price_starter_once", 1)]);
    let alone = state(of.clone(), vec![of_team.clone()]);
    let both = state(of, vec![of_team, solo]);
    let plan = |state: &StripeState, catalog: &Catalog, now: i64| {
        assess(state, None, catalog, at(now)).entitlement.unwrap().plan.id.to_string()
    };
    assert_eq!(plan(&alone, &catalog, PERIOD_END + DAY), "team", "it was paid for a year");
    for now in [PERIOD_END + DAY, PERIOD_END + 9 * YEAR] {
        assert_eq!(plan(&both, &catalog, now), "starter", "with the builds of three years");
    }
    let starter = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "starter").unwrap();
    *starter.prices.last_mut().unwrap() = endless;
    assert_eq!(plan(&both, &catalog, PERIOD_END + DAY), "starter", "with all builds");
}

#[test]
fn the_order_of_the_lines_of_one_payment_does_not_matter() {
    let lines = [bills("price_studio_once", 1), bills("price_team_endless", 1)];
    let state = |lines: &[Line]| paid_once(vec![payment("in_1", MARCH, lines)]);
    let [first, second] = lines.clone();
    let one = license(&state(&lines), MARCH);
    assert_eq!(one, license(&state(&[second, first]), MARCH));
    assert_eq!(one, studio("2028-03-01T00:00:00Z"));
    // Two lines for one plan: the units of the smaller one share the year of the larger one.
    let lines = [bills("price_site_once", 1), bills("price_site_once", 3)];
    let [first, second] = lines.clone();
    let one = license(&state(&lines), MARCH);
    assert_eq!(one, license(&state(&[second, first]), MARCH));
    assert_eq!(one, ("site".to_owned(), 4, Some(time("2027-03-01T00:00:00Z"))));
}

#[test]
fn a_bought_license_that_is_outranked_does_not_replace_what_a_subscription_left() {
    let catalog = catalog();
    let paid = |name: &str, basis, until: i64| PaidEntitlement {
        plan: catalog.plan(name).unwrap(),
        rank: catalog.rank(name),
        term: Term::default(),
        quantity: 1,
        addons: Vec::new(),
        updates_until: Some(at(until)),
        basis,
        of: None,
    };
    let left = paid("site", Basis::Fallback, NOW - 10 * DAY);
    let lower = paid("team", Basis::Once, NOW - 5 * DAY);
    let holds = paid("studio", Basis::Once, NOW - 20 * DAY);
    let plan = |all: &[PaidEntitlement<'_>]| {
        license_entitlement(all, at(NOW)).unwrap().plan.id.to_string()
    };
    assert_eq!(plan(&[left.clone(), lower.clone()]), "team");
    assert_eq!(plan(&[left, lower, holds]), "site");
}
