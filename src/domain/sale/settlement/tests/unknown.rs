//! Payments for prices that nothing in the plans file has: what was bought before the vendor
//! removed the price is not lost.

use super::*;
use crate::domain::sale::entitlement::Alert;

/// Returns the catalog of the tests without these prices.
fn without(prices: &[&str]) -> Catalog {
    let mut catalog = selling();
    let all = catalog.plans.iter_mut().map(|plan| &mut plan.prices);
    for own in all.chain(catalog.addons.iter_mut().map(|addon| &mut addon.prices)) {
        own.retain(|price| !prices.contains(&price.id.as_str()));
    }
    catalog
}

/// Returns the paid invoice of a single payment for these prices, a day before now.
fn once(id: &str, prices: &[&str]) -> Invoice {
    let of = subscription("sub_x", "active", &[]);
    let bills =
        |price: &&str| Line { period_start: None, period_end: None, ..line(price, NOW, 1000) };
    Invoice {
        subscription: None,
        created: at(NOW - DAY),
        paid_at: Some(at(NOW - DAY)),
        lines: prices.iter().map(bills).collect(),
        ..invoice(id, &of, InvoiceStatus::Paid, NOW)
    }
}

fn bought(invoices: Vec<Invoice>) -> StripeState {
    StripeState { invoices, ..StripeState::default() }
}

fn settled(catalog: Catalog, record: &Record, state: &StripeState) -> Record {
    apply(record.clone(), &settle_by(catalog, record, state, NOW), at(NOW))
}

/// Returns the license that works: its plan, its add-ons, and the end of its updates.
fn held(record: &Record) -> Option<(String, String, Option<Timestamp>)> {
    let license = record.current_license.as_ref().filter(|license| license.works(at(NOW)))?;
    Some((license.plan.clone(), license.addons.to_string(), license.updates_until))
}

#[test]
fn what_was_bought_at_a_price_that_is_removed_is_kept_and_reported() {
    for (invoices, removed, names) in [
        (vec![once("in_1", &["price_studio_once"])], "price_studio_once", "`studio`"),
        (
            vec![once("in_1", &["price_studio_once"]), once("in_2", &["price_studio_updates"])],
            "price_studio_updates",
            "`studio`",
        ),
        (vec![once("in_1", &["price_studio_once", "price_pdf_once"])], "price_pdf_once", "`pdf`"),
        (
            vec![once("in_1", &["price_studio_once"]), once("in_2", &["price_pdf_once"])],
            "price_pdf_once",
            "`pdf`",
        ),
    ] {
        let state = bought(invoices);
        let before = settled(selling(), &record(), &state);
        let license = held(&before);
        assert!(license.is_some(), "{removed}");
        let mut after = before;
        for time in ["first", "second"] {
            let settlement = settle_by(without(&[removed]), &after, &state, NOW);
            assert!(settlement.needs_action, "{removed}, the {time} time");
            let [alert] = &settlement.alerts[..] else { panic!("{:?}", settlement.alerts) };
            let text = alert.to_string();
            assert!(text.contains(&format!("bought {names} for {removed} at")), "{text}");
            let all = settle_by(selling(), &after, &state, NOW).kept;
            assert_eq!(settlement.kept, all, "{removed}: it is fetched as before");
            after = apply(after.clone(), &settlement, at(NOW));
            assert_eq!(held(&after), license, "{removed}, the {time} time");
        }
        let again = settle_by(selling(), &after, &state, NOW);
        assert_eq!((again.changes.len(), again.alerts.len()), (0, 0), "{removed} is back");
        // A refund revokes it all the same.
        let mut refunded = state;
        let payment = refunded.invoices.last_mut().unwrap();
        payment.payment = Payment::Refunded;
        let refunded = settled(without(&[removed]), &after, &refunded);
        assert_ne!(held(&refunded), license, "{removed} is refunded");
    }
}

#[test]
fn the_license_of_a_plan_that_is_removed_stays() {
    let state = bought(vec![once("in_1", &["price_site_once"])]);
    let before = settled(selling(), &record(), &state);
    let mut catalog = selling();
    catalog.plans.retain(|plan| plan.id.as_str() != "site");
    let settlement = settle_by(catalog, &before, &state, NOW);
    assert!(settlement.needs_action);
    assert!(!settlement.changes.iter().any(|change| matches!(change, Change::Revoke(_))));
}

#[test]
fn a_session_without_an_invoice_is_kept_too() {
    let session = paid_session("cs_1", "price_studio_once");
    let state = StripeState { paid_sessions: vec![session], ..StripeState::default() };
    let before = settled(selling(), &record(), &state);
    let settlement = settle_by(without(&["price_studio_once"]), &before, &state, NOW);
    assert!(settlement.needs_action);
    assert_eq!(settlement.kept.len(), 1);
    assert_eq!(held(&apply(before.clone(), &settlement, at(NOW))), held(&before));
}

#[test]
fn what_a_subscription_left_is_kept_without_its_price() {
    let of = subscription("sub_1", "canceled", &["price_team_month"]);
    let month = |number: i64| {
        let end = PERIOD_END - number * MONTH;
        let lines = vec![line("price_team_month", end, 1000)];
        Invoice { lines, ..invoice(&format!("in_{number}"), &of, InvoiceStatus::Paid, end) }
    };
    let invoices = (0..14).map(month).collect();
    let state = StripeState { subscriptions: vec![of], invoices, ..StripeState::default() };
    let before = settled(selling(), &record(), &state);
    let license = held(&before);
    assert_eq!(license.as_ref().map(|(plan, ..)| plan.as_str()), Some("team"));
    let settlement = settle_by(without(&["price_team_month"]), &before, &state, NOW);
    assert!(settlement.needs_action);
    assert_eq!(settlement.alerts.len(), 1, "one for the price: {:?}", settlement.alerts);
    assert_eq!(settlement.kept, settle_by(selling(), &before, &state, NOW).kept);
    assert_eq!(held(&apply(before, &settlement, at(NOW))), license);
    // Without a license that depends on it, an old subscription raises no alert.
    let never = settle_by(without(&["price_team_month"]), &record(), &state, NOW);
    assert_eq!((never.alerts.len(), never.needs_action), (0, false));
}

#[test]
fn an_add_on_of_a_subscription_is_kept_without_its_price() {
    let of = subscription("sub_1", "active", &["price_team_month", "price_pdf_month"]);
    let lines = [("price_team_month", 1000), ("price_pdf_month", 300)];
    let lines = lines.map(|(price, amount)| line(price, PERIOD_END, amount)).to_vec();
    let first = Invoice { lines, ..invoice("in_1", &of, InvoiceStatus::Paid, PERIOD_END) };
    let state =
        StripeState { subscriptions: vec![of], invoices: vec![first], ..StripeState::default() };
    let before = settled(selling(), &record(), &state);
    let settlement = settle_by(without(&["price_pdf_month"]), &before, &state, NOW);
    assert!(settlement.needs_action);
    assert_eq!(held(&apply(before.clone(), &settlement, at(NOW))), held(&before));
}

#[test]
fn a_payment_for_a_price_that_was_never_known_is_reported_for_thirty_days() {
    let state = bought(vec![once("in_1", &["price_shirt"])]);
    let settle_on = |day: i64| settle_by(selling(), &record(), &state, NOW + day * DAY);
    let [alert] = &settle_on(0).alerts[..] else { panic!("{:?}", settle_on(0).alerts) };
    let expected = "the customer paid for price_shirt at 2026-11-19T15:00:00Z, which nothing \
                    in the plans file has, so the payment has no effect; add the price to `prices` \
                    of what it sells, or to `other_prices` if it is for no plan";
    assert_eq!(alert.to_string(), expected);
    assert!(settle_on(0).needs_action && !settle_on(31).needs_action);
    assert!(settle_on(0).kept.is_empty());
    let mut other = selling();
    other.other_prices.push("price_shirt".into());
    assert_eq!(settle_by(other, &record(), &state, NOW).alerts, []);
    // Beside a purchase, or with a license, nobody needs to act, and a refund revokes the license.
    let both = |payment| {
        let mut both = bought(vec![once("in_1", &["price_studio_once", "price_shirt"])]);
        both.invoices[0].payment = payment;
        both
    };
    let first = settle_by(selling(), &record(), &both(Payment::Unremarkable), NOW);
    let [alert] = &first.alerts[..] else { panic!("{:?}", first.alerts) };
    let text = alert.to_string();
    assert!(text.contains("so this part of the payment has no effect"), "{text}");
    let owner = settled(selling(), &record(), &both(Payment::Unremarkable));
    let settlement = settle_by(selling(), &owner, &both(Payment::Unremarkable), NOW);
    assert_eq!((settlement.alerts.len(), settlement.needs_action), (0, false));
    assert_eq!(held(&settled(selling(), &owner, &both(Payment::Refunded))), None);
    let mut shirt_later = both(Payment::Refunded);
    shirt_later.invoices.push(once("in_2", &["price_shirt"]));
    assert_eq!(held(&settled(selling(), &owner, &shirt_later)), None);
    assert!(matches!(
        settle_by(selling(), &owner, &shirt_later, NOW).alerts[..],
        [Alert::UnknownPurchase { .. }]
    ));
}

#[test]
fn an_add_on_that_was_bought_alone_has_an_order_without_units() {
    let units = |prices: &[&str]| {
        let settlement = settle_by(selling(), &record(), &bought(vec![once("in_1", prices)]), NOW);
        let orders: Vec<_> = settlement
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Order { after, .. } => Some(after.quantity),
                _ => None,
            })
            .collect();
        orders
    };
    assert_eq!(units(&["price_pdf_once"]), [None]);
    assert_eq!(units(&["price_studio_once", "price_pdf_once"]), [Some(1)]);
    let mut by_hand = once("in_1", &["price_studio_once"]);
    by_hand.lines[0].quantity = None;
    let settlement = settle_by(selling(), &record(), &bought(vec![by_hand]), NOW);
    let has_one = |change: &Change<'_>| match change {
        Change::Order { after, .. } => after.quantity == Some(1),
        _ => false,
    };
    assert!(settlement.changes.iter().any(has_one), "Stripe states none for a line by hand");
}
