//! A purchase that the license does not have is reported: a license is for one subscription, or for
//! the single payments for one plan.

use std::collections::BTreeSet;

use super::*;
use crate::domain::sale::accepted_loss::{AcceptedLoss, AcceptedLosses};

const YEAR: i64 = 365 * DAY;

/// Returns the catalog of the tests, in which `team` is also sold once, with updates for a year.
pub(super) fn catalog() -> Catalog {
    let mut catalog = selling();
    let studio = catalog.plan("studio").unwrap().prices[0].clone();
    let team = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "team").unwrap();
    team.prices.push(crate::domain::sale::plan::Price { id: "price_team_once".into(), ..studio });
    catalog
}

/// Returns a single payment for so many units of a price.
pub(super) fn once(price: &str, units: u32, time: i64) -> Invoice {
    let of = subscription("sub_x", "active", &[]);
    let line = Line { period_start: None, period_end: None, ..line(price, 0, 1000) };
    Invoice {
        subscription: None,
        reason: BillingReason::Manual,
        created: at(time),
        paid_at: Some(at(time)),
        lines: vec![Line { quantity: Some(units), ..line }],
        ..invoice(&format!("in_{price}"), &of, InvoiceStatus::Paid, time)
    }
}

/// Returns the state with a paid subscription to these prices, for so many units of the first.
fn with_subscription(mut state: StripeState, prices: &[&str], units: u32) -> StripeState {
    let id = format!("sub_{}", state.subscriptions.len());
    let mut of = subscription(&id, "active", prices);
    of.items[0].quantity = Some(units);
    let lines = prices.iter().enumerate().map(|(n, price)| Line {
        quantity: Some(if n == 0 { units } else { 1 }),
        ..line(price, PERIOD_END, 1000)
    });
    let lines = lines.collect();
    let of_first =
        Invoice { lines, ..invoice(&format!("in_{id}"), &of, InvoiceStatus::Paid, PERIOD_END) };
    state.invoices.push(of_first);
    state.subscriptions.push(of);
    state
}

fn owner(price: &str, units: u32, time: i64) -> StripeState {
    StripeState { invoices: vec![once(price, units, time)], ..StripeState::default() }
}

/// Returns the texts of the alerts.
fn alerts(state: &StripeState) -> Vec<String> {
    assess(state, None, &catalog(), at(NOW)).alerts.iter().map(Alert::to_string).collect()
}

const OPEN: i64 = NOW - YEAR / 2;
const ENDED: i64 = NOW - 2 * YEAR;

#[test]
fn a_subscription_beside_a_larger_perpetual_license_is_reported() {
    let state = owner("price_team_once", 5, OPEN);
    let state = with_subscription(state, &["price_team_month", "price_pdf_month"], 3);
    let expected = "the customer has a subscription to `team` with 3 units and the add-on `pdf`, \
                    and also the perpetual license `team` with 5 units; a license is for one \
                    purchase, here for the second one, so the subscription to `team` has no \
                    effect; raise the subscription to at least 5 units at Stripe, or cancel the \
                    subscription to `team` at Stripe";
    assert_eq!(alerts(&state), [expected]);
    let lower = with_subscription(owner("price_studio_once", 1, OPEN), &["price_team_month"], 3);
    let expected = "the customer has a subscription to `team` with 3 units, and also the perpetual \
                    license `studio`; a license is for one purchase, here for the second one, so \
                    the subscription to `team` has no effect; ask whether the customer wants both, \
                    and cancel the subscription to `team` at Stripe if not";
    assert_eq!(alerts(&lower), [expected]);
}

#[test]
fn owned_units_that_a_subscription_leaves_out_are_reported() {
    for time in [OPEN, ENDED] {
        let enough =
            with_subscription(owner("price_team_once", 10, time), &["price_team_month"], 10);
        assert!(alerts(&enough).is_empty(), "{:?}", alerts(&enough));
    }
    let fewer = with_subscription(owner("price_team_once", 10, ENDED), &["price_team_month"], 1);
    let expected = "the customer has the perpetual license `team` with 10 units, and also a \
                    subscription to `team` with 1 unit; a license is for one purchase, here for \
                    the second one, so 9 units of the first one have no effect; raise the \
                    subscription to at least 10 units at Stripe, or cancel the subscription to \
                    `team` at Stripe";
    assert_eq!(alerts(&fewer), [expected]);
    // Those of a lower plan count while its updates last.
    let higher = |time| {
        let state = owner("price_team_once", 10, time);
        alerts(&with_subscription(state, &["price_studio_month"], 1))
    };
    assert!(higher(OPEN).is_empty(), "studio is not sold by the unit");
    let mut two = owner("price_team_once", 10, OPEN);
    two.invoices.push(once("price_site_once", 1, OPEN));
    let [found] = &alerts(&two)[..] else { panic!("{:?}", alerts(&two)) };
    assert!(
        found.contains("so 9 units of the first one have no effect; ask the customer which"),
        "{found}"
    );
}

#[test]
fn a_higher_perpetual_plan_with_less_than_an_ended_one_is_reported_for_thirty_days() {
    let after = |lower: &StripeState, purchases: &[(&str, u32, i64)]| {
        let mut state = lower.clone();
        state.invoices.extend(purchases.iter().map(|(price, n, time)| once(price, *n, *time)));
        assess(&state, None, &catalog(), at(NOW)).alerts
    };
    let ten = owner("price_team_once", 10, ENDED);
    let recent = NOW - DAY;
    let [alert] = &after(&ten, &[("price_site_once", 1, recent)])[..] else { panic!() };
    let expected = format!(
        "the customer had the perpetual license `team` with 10 units, and bought another one at \
         {}, now the perpetual license `site` with 1 unit; a license is for one purchase, here for \
         the second one, so 9 units of the first one have no effect; ask the customer which one \
         they want, and refund the other one, or grant a license for both",
        at(recent)
    );
    assert_eq!(alert.to_string(), expected);
    assert!(!alert.is_information(at(NOW)));
    assert!(alert.is_information(at(recent + 31 * DAY)));
    // As many units, also by a later payment, or a plan that is not sold by the unit.
    let once_more =
        Invoice { id: "in_more".parse().unwrap(), ..once("price_site_once", 9, recent + 1) };
    let mut enough = ten.clone();
    enough.invoices.push(once_more);
    assert_eq!(after(&enough, &[("price_site_once", 1, recent)]), []);
    assert_eq!(after(&ten, &[("price_site_once", 10, recent)]), []);
    assert_eq!(after(&ten, &[("price_studio_once", 1, recent)]), []);
    // The plan between them is named by the time of its payment, the license as it is.
    let two = [("price_studio_once", 1, recent), ("price_site_once", 1, recent + 1)];
    let found = after(&ten, &two);
    assert!(
        found.iter().any(|alert| matches!(alert, Alert::Shrunk { paid_at, .. }
        if *paid_at == at(recent))),
        "{found:?}"
    );
    // Add-ons that are not sold with the higher plan.
    let with_pdf = owner("price_team_once", 1, ENDED);
    let pdf = ("price_pdf_once", 1, ENDED);
    let found = after(&with_pdf, &[pdf, ("price_site_once", 1, recent)]);
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(
        texts.iter().any(|text| text.contains("so the add-on `pdf` of the first one has no")),
        "{texts:?}"
    );
}

#[test]
fn an_add_on_of_the_other_of_two_subscriptions_is_reported() {
    let state = with_subscription(StripeState::default(), &["price_team_month"], 2);
    let state = with_subscription(state, &["price_starter_month"], 1);
    assert_eq!(alerts(&state).len(), 1, "only that there are two: {:?}", alerts(&state));
    let state = with_subscription(state, &["price_team_month", "price_pdf_month"], 1);
    let found = alerts(&state);
    assert_eq!(found.len(), 2, "{found:?}");
    let expected = "so the add-on `pdf` of the first one has no effect; at Stripe, change one \
                    subscription so that it has everything, and cancel the other one";
    assert!(found[1].ends_with(expected), "{found:?}");
}

#[test]
fn what_the_customer_accepted_needs_no_action_but_a_charge_without_effect_does() {
    let catalog = catalog();
    let mut accepted = AcceptedLosses::default();
    for (plan, license) in [("team", "team"), ("team", "site"), ("studio", "team")] {
        let (plan, license) = (plan.to_owned(), license.to_owned());
        accepted.add(AcceptedLoss { plan, license, units: 9, addons: BTreeSet::new() });
    }
    let found = |state: &StripeState| {
        let mut alerts = assess(state, None, &catalog, at(NOW)).alerts;
        alerts.iter_mut().for_each(|alert| alert.note_accepted(&accepted, &catalog));
        let [alert] = &alerts[..] else { panic!("{alerts:?}") };
        let text = alert.to_string();
        assert_eq!(text.ends_with("; the customer accepted that"), alert.is_information(at(NOW)));
        alert.is_information(at(NOW))
    };
    let owned = |units| owner("price_team_once", units, ENDED);
    let subscribed = |units| with_subscription(owned(units), &["price_team_month"], 1);
    assert!(found(&subscribed(10)));
    assert!(!found(&subscribed(11)), "more was bought since");
    let mut upgraded = owned(10);
    upgraded.invoices.push(once("price_site_once", 1, NOW - DAY));
    assert!(found(&upgraded));
    let mut with_pdf = upgraded.clone();
    with_pdf.invoices.push(once("price_pdf_once", 1, ENDED));
    assert!(!found(&with_pdf), "an add-on was not part of it");
    let charged = with_subscription(owner("price_team_once", 5, OPEN), &["price_team_month"], 3);
    assert!(!found(&charged), "the subscription is charged and has no effect");
}
