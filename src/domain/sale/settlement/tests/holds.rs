//! Nothing that was paid or granted is lost or shrinks: while something is unclear, beside a grant,
//! and after one.

use super::*;
use crate::domain::sale::subscription::Subscription;

const YEAR: i64 = 365 * DAY;

/// Returns what Stripe says about a customer who bought a perpetual license of `studio` at this
/// time, with updates for a year.
fn bought_once(time: i64) -> StripeState {
    let mut state = paid("active");
    state.subscriptions.clear();
    let purchase = &mut state.invoices[0];
    (purchase.subscription, purchase.created, purchase.paid_at) = (None, at(time), Some(at(time)));
    purchase.lines = vec![Line {
        price: Some("price_studio_once".into()),
        amount: 30_000,
        quantity: Some(1),
        ..Line::default()
    }];
    state
}

/// Returns a subscription to `team` with the add-on `pdf` whose last 14 months are paid, for so
/// many units. It leaves a fallback license.
fn team(status: &str, units: u32) -> StripeState {
    let mut of = subscription("sub_1", status, &["price_team_month", "price_pdf_month"]);
    of.items[0].quantity = Some(units);
    let month = |number: i64| {
        let end = PERIOD_END - number * MONTH;
        let lines = vec![
            Line { quantity: Some(units), ..line("price_team_month", end, 1000) },
            line("price_pdf_month", end, 300),
        ];
        Invoice { lines, ..invoice(&format!("in_{number}"), &of, InvoiceStatus::Paid, end) }
    };
    let invoices = (0..14).map(month).collect();
    StripeState { subscriptions: vec![of], invoices, ..StripeState::default() }
}

/// Returns a subscription to a price that is not in the plans file.
fn unknown() -> Subscription {
    subscription("sub_9", "active", &["price_gone"])
}

fn settle_at(record: &Record, state: &StripeState, now: i64) -> Settlement<'static> {
    settle_by(selling(), record, state, now)
}

fn settled(record: &Record, state: &StripeState, now: i64) -> Record {
    apply(record.clone(), &settle_at(record, state, now), at(now))
}

/// The parts of a license.
#[derive(Debug, PartialEq)]
struct Held {
    source: Source,
    plan: String,
    quantity: u32,
    addons: String,
    expires: Option<i64>,
    updates_until: Option<i64>,
}

/// Returns the current license; `None` if it does not work.
fn held(record: &Record, now: i64) -> Option<Held> {
    let license = record.current_license.as_ref().filter(|license| license.works(at(now)))?;
    Some(Held {
        source: license.source,
        plan: license.plan.clone(),
        quantity: license.quantity,
        addons: license.addons.to_string(),
        expires: license.expires_at.map(Timestamp::epoch_seconds),
        updates_until: license.updates_until.map(Timestamp::epoch_seconds),
    })
}

/// Returns a customer with a grant of a plan, with an end or for ever.
fn granted(plan: &str, end: Option<i64>) -> Record {
    with_license(record(), Source::Operator, plan, end)
}

#[test]
fn while_something_is_unclear_the_running_license_loses_no_part() {
    let running = settled(&record(), &team("active", 10), NOW);
    let before = held(&running, NOW).unwrap();
    assert_eq!((before.quantity, before.addons.as_str()), (10, "[\"pdf\"]"));
    assert_eq!(before.updates_until, None);
    let with_unknown = |mut state: StripeState| {
        state.subscriptions.push(unknown());
        state
    };
    // Only the fallback license remains, which has another end and old builds only.
    let mut other_price = team("active", 10);
    other_price.subscriptions[0].items[0].price = "price_gone".into();
    let mut unknown_status = team("active", 10);
    unknown_status.subscriptions[0].status = Status::from_name("frozen");
    // The newest invoice came between the two calls to Stripe.
    let mut inconsistent = team("active", 10);
    inconsistent.subscriptions[0].latest_invoice = Some("in_5".parse().unwrap());
    let mut without_addon = team("active", 10);
    for invoice in &mut without_addon.invoices {
        invoice.lines.truncate(1);
    }
    for (what, state, is_alerted) in [
        ("an unknown price", other_price, true),
        ("an unknown status", unknown_status, true),
        ("an invoice between the calls", inconsistent, false),
        ("fewer units", with_unknown(team("active", 1)), true),
        ("no add-on", with_unknown(without_addon), true),
        ("an old perpetual license", with_unknown(bought_once(NOW - 2 * YEAR)), true),
        ("nothing else", with_unknown(StripeState::default()), true),
    ] {
        let settlement = settle_at(&running, &state, NOW);
        let after = apply(running.clone(), &settlement, at(NOW));
        assert_eq!(held(&after, NOW).as_ref(), Some(&before), "{what}");
        assert_eq!(settlement.needs_action, is_alerted, "{what}: {:?}", settlement.alerts);
    }
    let mut yearly = running.clone();
    yearly.current_license.as_mut().unwrap().expires_at = Some(at(NOW + YEAR));
    let state = with_unknown(team("active", 10));
    assert_eq!(issued(&settle_at(&yearly, &state, NOW)), None, "an earlier end");
    // An entitlement to everything and more is issued in any case.
    let more = settled(&running, &with_unknown(team("active", 12)), NOW);
    assert_eq!(held(&more, NOW).map(|held| held.quantity), Some(12));
}

#[test]
fn once_it_is_clear_again_the_license_follows_what_is_paid() {
    let held = with_license(record(), Source::Paid, "studio", Some(PERIOD_END));
    let mut state = bought_once(NOW - 400 * DAY);
    state.subscriptions.push(subscription("sub_1", "frozen", &["price_studio_month"]));
    let settlement = settle_at(&held, &state, NOW);
    assert_eq!(issued(&settlement), None, "{settlement:?}");
    state.subscriptions[0].status = Status::Canceled;
    assert!(issued(&settle_at(&held, &state, NOW)).is_some());
}

#[test]
fn a_perpetual_license_for_old_builds_takes_the_place_of_no_grant() {
    let days = |days: i64| Some(NOW + days * DAY);
    let outcome = |end, bought: i64| {
        let after = settled(&granted("studio", end), &bought_once(bought), NOW);
        assert_eq!(settle_at(&after, &bought_once(bought), NOW).changes, [], "settled");
        held(&after, NOW).unwrap().source
    };
    assert_eq!(outcome(days(60), NOW - 2 * YEAR), Source::Operator);
    assert_eq!(outcome(days(60), NOW - YEAR / 2), Source::Paid, "more builds, and no end");
    assert_eq!(outcome(days(-1), NOW - 2 * YEAR), Source::Paid, "the grant has ended");
}

#[test]
fn days_that_support_granted_to_a_former_subscriber_stay_until_their_end() {
    let former = settled(&record(), &team("canceled", 1), NOW);
    let fallback = held(&former, NOW).unwrap();
    assert!(fallback.expires.is_none() && fallback.updates_until < Some(NOW), "{fallback:?}");
    let mut record = former;
    let term = Term { expires: Some(at(NOW + 60 * DAY)), grace_until: None };
    let grant = license(LicenseId::from_random(99), 9, Source::Operator, "team", term);
    hold(&mut record, grant, at(NOW));
    let last_day = NOW + 59 * DAY;
    let record = settled(&record, &team("canceled", 1), last_day);
    assert_eq!(held(&record, last_day).unwrap().source, Source::Operator);
    let after = settled(&record, &team("canceled", 1), NOW + 60 * DAY);
    assert_eq!(held(&after, NOW + 60 * DAY), Some(fallback), "what is owned returns");
}

#[test]
fn days_that_extend_a_paid_term_stay_when_it_ends_and_go_when_it_is_refunded() {
    let running = settled(&record(), &team("active", 1), NOW);
    let mut extended = running.clone();
    let paid = running.current_license.unwrap();
    let catalog = selling();
    let entitlement = paid.entitlement(&catalog).map(|paid| Entitlement {
        source: Source::Operator,
        term: Term { expires: Some(at(PERIOD_END + 60 * DAY)), grace_until: None },
        extras: Extras { paid_until: paid.term.expires, ..Extras::default() },
        ..paid
    });
    let extension = license_for(LicenseId::from_random(99), 9, &entitlement.unwrap());
    hold(&mut extended, extension, at(NOW));
    let ended = PERIOD_END + DAY;
    let after = settled(&extended, &team("canceled", 1), ended);
    let days = held(&after, ended).unwrap();
    assert_eq!((days.source, days.updates_until), (Source::Operator, None), "{days:?}");
    // Before the end of the paid term, the days end with it, and the fallback license is issued at
    // once.
    let canceled = settled(&extended, &team("canceled", 1), NOW);
    let fallback = held(&canceled, NOW).unwrap();
    assert_eq!((fallback.source, fallback.expires), (Source::Paid, None), "{fallback:?}");
    assert_eq!(settle_at(&canceled, &team("canceled", 1), NOW).changes, []);
}

#[test]
fn a_purchase_shortens_no_builds_of_a_grant() {
    let end = NOW + 4 * YEAR;
    let bought = bought_once(NOW - DAY);
    let record = settled(&granted("studio", Some(end)), &bought, NOW);
    assert_eq!(held(&record, NOW).unwrap().updates_until, None, "all builds until 2030");
    let later = settled(&record, &bought, end);
    let perpetual = held(&later, end).unwrap();
    assert_eq!((perpetual.source, perpetual.expires), (Source::Paid, None));
    // A higher plan is issued at once. When it ends, the grant holds again.
    let lower = settled(&granted("team", Some(end)), &bought, NOW);
    assert_eq!(held(&lower, NOW).unwrap().plan, "studio");
    let window_over = NOW + 2 * YEAR;
    let lower = settled(&lower, &bought, window_over);
    assert_eq!(held(&lower, window_over).unwrap().plan, "team", "it covers the builds of today");
    assert_eq!(settle_at(&lower, &bought, window_over).changes, []);
}

#[test]
fn more_paid_units_or_add_ons_replace_a_grant_and_fewer_do_not() {
    let mut seats = granted("team", Some(PERIOD_END - DAY));
    let extras = Extras { limits: [("seats".parse().unwrap(), 5)].into(), ..Extras::default() };
    seats.current_license.as_mut().unwrap().extras = extras.clone();
    seats.last_grant.as_mut().unwrap().extras = extras;
    let source = |units: u32, has_addon: bool| {
        let mut state = team("active", units);
        for invoice in state.invoices.iter_mut().filter(|_| !has_addon) {
            invoice.lines.truncate(1);
        }
        held(&settled(&seats, &state, NOW), NOW).unwrap().source
    };
    assert_eq!(source(4, false), Source::Operator, "the grant has more seats");
    assert_eq!(source(5, false), Source::Paid, "as many, and a later end");
    assert_eq!(source(6, false), Source::Paid);
    assert_eq!(source(4, true), Source::Paid, "the grant lacks a paid add-on");
}

#[test]
fn a_grant_returns_when_less_is_paid_for() {
    let granted = granted("studio", Some(NOW + 400 * DAY));
    let mut higher = team("active", 1);
    let units = &mut higher.invoices[0].lines[0];
    units.price = Some("price_site_once".into());
    (units.period_start, units.period_end) = (None, None);
    let site = settled(&granted, &higher, NOW);
    assert_eq!(held(&site, NOW).unwrap().plan, "site");
    let lower = settled(&site, &team("active", 1), NOW);
    assert_eq!(held(&lower, NOW).unwrap().plan, "studio", "not the lower plan that is paid");
    assert_eq!(settle_at(&lower, &team("active", 1), NOW).changes, []);
}

#[test]
fn a_grant_with_more_of_the_same_plan_returns_when_less_is_paid_for() {
    let mut seats = granted("team", Some(NOW + 400 * DAY));
    let extras = Extras { limits: [("seats".parse().unwrap(), 5)].into(), ..Extras::default() };
    seats.current_license.as_mut().unwrap().extras = extras.clone();
    seats.last_grant.as_mut().unwrap().extras = extras;
    let paid_for = |units: u32, has_addon: bool| {
        let mut state = team("active", units);
        for invoice in state.invoices.iter_mut().filter(|_| !has_addon) {
            invoice.lines.truncate(1);
        }
        state
    };
    let more = settled(&seats, &paid_for(8, false), NOW);
    assert_eq!(held(&more, NOW).map(|held| (held.source, held.quantity)), Some((Source::Paid, 8)));
    let source = |units, has_addon| {
        let state = paid_for(units, has_addon);
        let after = settled(&more, &state, NOW);
        assert_eq!(settle_at(&after, &state, NOW).changes, [], "{units} {has_addon}");
        held(&after, NOW).unwrap().source
    };
    assert_eq!(source(4, false), Source::Operator, "the grant has more seats");
    assert_eq!(source(6, false), Source::Paid, "more seats are paid for");
    assert_eq!(source(5, false), Source::Operator, "as many, and the grant ends later");
    assert_eq!(source(4, true), Source::Paid, "the grant lacks a paid add-on");
}

#[test]
fn an_alert_about_a_single_payment_needs_action_for_thirty_days() {
    // Updates without a license, an add-on without a plan, and three units of one that has no
    // units. Nobody can correct a payment.
    for (price, units) in
        [("price_studio_updates", 1), ("price_pdf_once", 1), ("price_studio_once", 3)]
    {
        let needs_action = |days: i64| {
            let mut state = bought_once(NOW - days * DAY);
            let line = &mut state.invoices[0].lines[0];
            (line.price, line.quantity) = (Some(price.to_owned()), Some(units));
            let settlement = settle_by(selling(), &record(), &state, NOW);
            assert_eq!(settlement.alerts.len(), 1, "{price}: it stays as information");
            settlement.needs_action
        };
        assert_eq!((needs_action(29), needs_action(31)), (true, false), "{price}");
    }
    // What a subscription has can be corrected at any time.
    let mut state = paid("active");
    let item = &mut state.subscriptions[0].items[0];
    (item.price, item.quantity) = ("price_studio_month".into(), Some(3));
    state.subscriptions[0].created = at(NOW - 400 * DAY);
    assert!(settle_by(selling(), &record(), &state, NOW).needs_action);
}
