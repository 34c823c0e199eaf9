//! A subscription that was paid for twelve months without a gap leaves a perpetual license.

use super::*;
use crate::domain::license::Basis;
use crate::domain::sale::policy::Consequence;

/// The beginning: 2026-01-15T00:00:00Z.
const BEGIN: i64 = 1_768_435_200;

fn month(n: u32) -> i64 {
    at(BEGIN).plus_months(n).epoch_seconds()
}

/// Returns a line of this price for the months from `from` to `to`.
fn billed(id: &str, price: &str, (from, to): (u32, u32), units: u32) -> Line {
    Line {
        id: id.to_owned(),
        price: Some(price.to_owned()),
        period_start: Some(at(month(from))),
        period_end: Some(at(month(to))),
        amount: 1000 * i64::from(units),
        quantity: Some(units),
        credits: Vec::new(),
    }
}

/// Returns a canceled subscription whose paid invoices have these lines.
fn ended(id: &str, invoices: Vec<Vec<Line>>) -> StripeState {
    let sub =
        Subscription { created: at(BEGIN), ..subscription(id, "canceled", &["price_team_month"]) };
    let made = invoices.into_iter().enumerate().map(|(n, lines)| {
        let created = lines.first().and_then(|line| line.period_start).unwrap();
        let amount = lines.iter().map(|line| line.amount).sum::<i64>().max(0);
        let name = format!("in_{id}_{n}");
        let reason = BillingReason::Other;
        Invoice {
            amount,
            created,
            reason,
            lines,
            ..invoice(&name, &sub, InvoiceStatus::Paid, created.epoch_seconds())
        }
    });
    let invoices = made.collect();
    state(sub, invoices)
}

/// Returns a canceled subscription to one unit, paid monthly for these months.
fn months(paid: impl Iterator<Item = u32>) -> StripeState {
    let line = |n| vec![billed(&format!("il_{n}"), "price_team_month", (n, n + 1), 1)];
    ended("sub_1", paid.map(line).collect())
}

/// Returns the plan, the units and the end of the updates that remain three years later.
fn kept(state: &StripeState) -> Option<(String, u32, i64)> {
    let catalog = selling();
    let entitlement = assess(state, None, &catalog, at(month(36))).entitlement?;
    assert_eq!((entitlement.basis, entitlement.term.expires), (Basis::Fallback, None));
    let until = entitlement.updates_until.unwrap().epoch_seconds();
    Some((entitlement.plan.id.to_string(), entitlement.quantity, until))
}

fn team(units: u32, until: u32) -> Option<(String, u32, i64)> {
    Some(("team".into(), units, month(until)))
}

#[test]
fn after_exactly_twelve_months_it_covers_the_first_day_and_then_a_year_less() {
    assert_eq!(kept(&months(0..11)), None);
    assert_eq!(kept(&months(0..12)), team(1, 0));
    assert_eq!(kept(&months(0..13)), team(1, 1));
    assert_eq!(kept(&months(0..30)), team(1, 18));
    let yearly = vec![billed("il_1", "price_team_year", (0, 12), 1)];
    assert_eq!(kept(&ended("sub_1", vec![yearly])), team(1, 0));
}

#[test]
fn a_month_that_was_not_paid_is_a_gap_and_a_late_payment_is_none() {
    assert_eq!(kept(&months((0..6).chain(7..13))), None);
    assert_eq!(kept(&months((0..6).chain(7..20))), team(1, 8), "the series after the gap");
    assert_eq!(kept(&months((0..14).chain(20..24))), team(1, 2), "a later one takes nothing away");
    let mut late = months(0..12);
    for invoice in &mut late.invoices {
        invoice.paid_at = Some(invoice.created + TimeDelta::days(25));
    }
    assert_eq!(kept(&late), team(1, 0));
    let mut refunded = months(0..12);
    refunded.invoices[5].payment = Payment::Refunded;
    assert_eq!(kept(&refunded), None);
    let mut second = months(0..12);
    let start = &mut second.invoices[6].lines[0].period_start;
    *start = start.map(|start| start + TimeDelta::seconds(1));
    assert_eq!(kept(&second), None, "a gap of a second");
}

#[test]
fn a_forgiven_month_is_a_gap_and_one_that_was_returned_in_part_follows_the_policy_stripe_25_26() {
    use InvoiceStatus::{Paid, Uncollectible, Void};
    let policy = Policy::default();
    // Voided, written off by hand, and credited in full before it was paid.
    for (status, is_by_hand, amount, credited) in
        [(Void, false, 1000, 0), (Uncollectible, true, 1000, 0), (Paid, false, 0, 1000)]
    {
        let mut state = months(0..12);
        let invoice = &mut state.invoices[5];
        (invoice.status, invoice.reason) = (status, BillingReason::Renewal);
        invoice.is_written_off_by_hand = is_by_hand;
        (invoice.amount, invoice.credited) = (amount, credited);
        assert!(invoice.is_forgiven() && invoice.is_paid(&policy), "{status:?}");
        assert_eq!(kept(&state), None, "{status:?}");
        assert!(fallback_subscriptions(&state, &selling()).is_empty(), "{status:?}");
    }
    let mut partly = months(0..12);
    partly.invoices[5].payment = Payment::PartlyReturned;
    assert_eq!(kept(&partly), team(1, 0));
    let policy = Policy { partial_refund: Consequence::Revoke, ..policy };
    let catalog = Catalog { policy, ..selling() };
    assert!(assess(&partly, None, &catalog, at(month(36))).entitlement.is_none());
}

#[test]
fn months_of_a_trial_and_of_a_lower_plan_do_not_count_and_those_of_a_higher_one_do() {
    let mut trial = months(0..12);
    trial.subscriptions[0].trial_end = Some(at(month(1)));
    trial.invoices[0].lines[0].amount = 0;
    assert_eq!(kept(&trial), None);
    let with = |price: &str| {
        let mut state = months(0..12);
        state.invoices[3].lines[0].price = Some(price.to_owned());
        kept(&state)
    };
    assert_eq!(with("price_starter_month"), None);
    assert_eq!(with("price_studio_month"), team(1, 0));
}

#[test]
fn the_fewest_units_and_the_add_ons_of_the_whole_year_remain() {
    let line = |n: u32| {
        let units = if n == 4 { 2 } else { 5 };
        let mut lines = vec![billed(&format!("il_{n}"), "price_team_month", (n, n + 1), units)];
        lines.push(billed(&format!("il_pdf_{n}"), "price_pdf_month", (n, n + 1), 1));
        lines
    };
    let mut state = ended("sub_1", (0..12).map(line).collect());
    assert_eq!(kept(&state), team(2, 0));
    let catalog = selling();
    let addons = |state: &StripeState| {
        let has = assess(state, None, &catalog, at(month(36))).entitlement.unwrap();
        has.addon_ids().texts()
    };
    assert_eq!(addons(&state), ["pdf"]);
    state.invoices[7].lines.pop();
    assert!(addons(&state).is_empty(), "half a year of an add-on");
}

#[test]
fn what_a_credit_ends_early_counts_until_the_credit() {
    let mut state = ended("sub_1", vec![vec![billed("il_1", "price_team_year", (0, 12), 1)]]);
    let credit = Line {
        period_start: Some(at(month(11))),
        amount: -80,
        credits: vec!["il_1".into()],
        ..billed("il_2", "price_team_year", (11, 12), 1)
    };
    let mut invoice = state.invoices[0].clone();
    invoice.id = "in_2".parse().unwrap();
    (invoice.created, invoice.amount, invoice.lines) = (at(month(11)), 0, vec![credit]);
    state.invoices.push(invoice);
    assert_eq!(kept(&state), None, "eleven months were paid");
}

#[test]
fn a_running_subscription_has_no_limit_of_builds() {
    let mut state = months(0..14);
    let sub = &mut state.subscriptions[0];
    sub.status = Status::Active;
    (sub.items[0].period_start, sub.items[0].period_end) =
        (Some(at(month(13))), Some(at(month(14))));
    let catalog = selling();
    let now = at(month(13) + DAY);
    let assessment = assess(&state, None, &catalog, now);
    let entitlement = assessment.entitlement.unwrap();
    assert_eq!((entitlement.basis, entitlement.updates_until), (Basis::Subscription, None));
    assert_eq!(assessment.entitlements.len(), 2);
}

#[test]
fn the_subscriptions_that_left_something_are_known() {
    let catalog = selling();
    let state = months(0..12);
    let ids = fallback_subscriptions(&state, &catalog);
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), [state.subscriptions[0].id.clone()]);
    assert!(fallback_subscriptions(&months(0..11), &catalog).is_empty());
}

#[test]
fn a_clock_that_is_behind_takes_the_builds_of_the_first_day_for_no_new_ones() {
    // A year of `team` is paid, and the subscription is changed to `starter`.
    let mut state = ended("sub_1", vec![vec![billed("il_1", "price_team_year", (0, 12), 5)]]);
    let of = &mut state.subscriptions[0];
    (of.status, of.items[0].price) = (Status::Active, "price_starter_month".into());
    (of.items[0].period_start, of.items[0].period_end) = (Some(at(month(0))), Some(at(month(12))));
    let catalog = selling();
    for seconds in [-60, -1, 0, 1, 60] {
        let granted = assess(&state, None, &catalog, at(BEGIN + seconds)).entitlement.unwrap();
        assert_eq!((granted.plan.id.as_str(), granted.updates_until), ("starter", None));
    }
}

#[test]
fn units_count_until_a_decrease_that_follows_an_unpaid_raise_stripe_34() {
    let of = |id: &str, from: u32, units: u32| billed(id, "price_team_month", (from, 14), units);
    let credit = |name: &str, line: Line| Line {
        id: format!("credit_{name}"),
        amount: -line.amount,
        credits: vec![name.to_owned()],
        ..line
    };
    let raised = vec![credit("il_1", of("", 3, 5)), of("il_2", 3, 8)];
    let lowered = vec![credit("il_2", of("", 6, 8)), of("il_3", 6, 4)];
    let mut state = ended("sub_1", vec![vec![of("il_1", 0, 5)], raised, lowered]);
    assert_eq!(kept(&state), Some(("team".into(), 4, month(2))));
    // Five until the sixth month, and four since then.
    state.invoices[1].payment = Payment::Refunded;
    assert_eq!(kept(&state), Some(("team".into(), 4, month(2))));
}

#[test]
fn a_smaller_perpetual_license_that_replaced_it_is_reported() {
    let catalog = without_effect::catalog();
    let lines = (0..12).map(|n| {
        let name = format!("il_{n}");
        vec![billed(&name, "price_team_month", (n, n + 1), 4)]
    });
    let left = ended("sub_1", lines.collect());
    let alerts = |units, time| {
        let mut state = left.clone();
        state.invoices.push(without_effect::once("price_team_once", units, time));
        let assessed = assess(&state, None, &catalog, at(time + DAY));
        let basis = assessed.entitlement.map(|license| license.basis);
        (basis, assessed.alerts.iter().map(Alert::to_string).collect::<Vec<_>>())
    };
    let (basis, found) = alerts(1, month(14));
    let [alert] = &found[..] else { panic!("{found:?}") };
    assert_eq!(basis, Some(Basis::Once));
    assert!(
        alert.starts_with("the customer had the perpetual license `team` with 4 units, and bought")
            && alert.contains("so 3 units of the first one have no effect"),
        "{alert}"
    );
    assert_eq!(alerts(4, month(14)), (Some(Basis::Once), vec![]));
}
