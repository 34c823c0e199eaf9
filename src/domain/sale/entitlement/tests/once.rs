//! Single payments: perpetual licenses, their updates, and what a refund does.

use super::*;
use crate::domain::license::Basis;
use crate::domain::sale::plan::Price;
use crate::domain::sale::policy::Consequence;
use crate::domain::sale::stripe_state::{PaidSession, SessionTotal};

/// The time of the first payment: the last day of a long month.
pub(super) const BOUGHT: i64 = 1_769_860_800; // 2026-01-31T12:00:00Z

pub(super) const YEAR: i64 = 365 * DAY;

/// Returns a line that bills a price once.
pub(super) fn bills(price: &str, units: u32) -> Line {
    Line { period_start: None, period_end: None, quantity: Some(units), ..line(price, 0, 1000) }
}

/// Returns the paid invoice of a single payment.
pub(super) fn payment(id: &str, time: i64, lines: &[Line]) -> Invoice {
    let of = subscription("sub_x", "active", &[]);
    Invoice {
        subscription: None,
        reason: BillingReason::Manual,
        created: at(time),
        paid_at: Some(at(time)),
        payment_intent: Some(format!("pi_{id}").parse().unwrap()),
        lines: lines.to_vec(),
        ..invoice(id, &of, InvoiceStatus::Paid, time)
    }
}

pub(super) fn paid_once(invoices: Vec<Invoice>) -> StripeState {
    StripeState { invoices, ..StripeState::default() }
}

/// Returns the plan, the units and the end of the updates at `now`.
fn owns(state: &StripeState, now: i64) -> Option<(String, u32, Option<i64>)> {
    owns_by(Policy::default(), state, now)
}

fn owns_by(policy: Policy, state: &StripeState, now: i64) -> Option<(String, u32, Option<i64>)> {
    let catalog = Catalog { policy, ..selling() };
    let entitlement = assess(state, None, &catalog, at(now)).entitlement?;
    let updates_until = entitlement.updates_until.map(Timestamp::epoch_seconds);
    Some((entitlement.plan.id.to_string(), entitlement.quantity, updates_until))
}

fn studio(updates_until: i64) -> Option<(String, u32, Option<i64>)> {
    Some(("studio".into(), 1, Some(updates_until)))
}

pub(super) fn time(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[test]
fn a_purchase_has_no_end_and_updates_for_its_months() {
    let state = paid_once(vec![payment("in_1", BOUGHT, &[bills("price_studio_once", 1)])]);
    let catalog = selling();
    let assessment = assess(&state, None, &catalog, at(BOUGHT));
    let entitlement = assessment.entitlement.unwrap();
    assert_eq!((entitlement.term.expires, entitlement.term.grace_until), (None, None));
    assert_eq!((entitlement.basis, assessment.alerts), (Basis::Once, Vec::new()));
    let until = time("2027-01-31T12:00:00Z");
    assert_eq!(owns(&state, BOUGHT), studio(until));
    assert_eq!(owns(&state, BOUGHT + 9 * YEAR), studio(until), "it works for ever");
    let site = paid_once(vec![payment("in_1", BOUGHT, &[bills("price_site_once", 3)])]);
    assert_eq!(owns(&site, BOUGHT), Some(("site".into(), 3, None)), "without a limit of builds");
}

#[test]
fn a_former_price_of_a_single_payment_keeps_the_license() {
    let state = paid_once(vec![payment("in_1", BOUGHT, &[bills("price_studio_once", 1)])]);
    let mut catalog = selling();
    let studio = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "studio").unwrap();
    studio.former_prices.push("price_studio_once".into());
    studio.prices.retain(|price| price.interval.is_recurring());
    let kept = assess(&state, None, &catalog, at(BOUGHT)).entitlement.unwrap();
    assert_eq!((kept.plan.id.as_str(), kept.updates_until), ("studio", None));
    // A renewal of a former price is no single payment.
    let mut renewal = state;
    renewal.invoices[0].lines = vec![line("price_studio_once", BOUGHT + MONTH, 4900)];
    assert!(assess(&renewal, None, &catalog, at(BOUGHT)).entitlement.is_none());
}

#[test]
fn a_month_is_a_calendar_month() {
    let mut catalog = selling();
    let studio = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "studio").unwrap();
    studio.prices[0].updates_months = Some(1);
    let state = paid_once(vec![payment("in_1", BOUGHT, &[bills("price_studio_once", 1)])]);
    let until = assess(&state, None, &catalog, at(BOUGHT)).entitlement.unwrap().updates_until;
    assert_eq!(until, Some(at(time("2026-02-28T12:00:00Z"))));
}

#[test]
fn buying_again_extends_from_the_later_of_now_and_the_end() {
    let first = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
    for price in ["price_studio_once", "price_studio_updates"] {
        let again = |when: &str| {
            let second = payment("in_2", time(when), &[bills(price, 1)]);
            owns(&paid_once(vec![first.clone(), second]), BOUGHT + 3 * YEAR)
        };
        assert_eq!(again("2026-06-01T00:00:00Z"), studio(time("2028-01-31T12:00:00Z")), "{price}");
        assert_eq!(again("2027-06-01T00:00:00Z"), studio(time("2028-06-01T00:00:00Z")), "{price}");
    }
}

#[test]
fn updates_extend_only_what_is_held() {
    let alone = paid_once(vec![payment("in_1", BOUGHT, &[bills("price_studio_updates", 1)])]);
    let catalog = selling();
    let assessment = assess(&alone, None, &catalog, at(BOUGHT));
    assert!(assessment.entitlement.is_none());
    let plan: Slug = "studio".parse().unwrap();
    let (paid, held, paid_at) = (1, 0, at(BOUGHT));
    assert_eq!(assessment.alerts, [Alert::UpdatesNotApplied { plan, paid, held, paid_at }]);
    // Updates that were paid before the license count for nothing either.
    let late = payment("in_2", BOUGHT + DAY, &[bills("price_studio_once", 1)]);
    let state = StripeState { invoices: [alone.invoices, vec![late]].concat(), ..alone };
    let first_of_february = time("2027-02-01T12:00:00Z");
    assert_eq!(owns(&state, BOUGHT + DAY), super::once::studio(first_of_february));
}

#[test]
fn updates_of_the_same_second_extend_the_purchase_whatever_their_ids() {
    let bought = payment("in_2", BOUGHT, &[bills("price_studio_once", 1)]);
    let updates = payment("in_1", BOUGHT, &[bills("price_studio_updates", 1)]);
    let both = paid_once(vec![bought, updates]);
    assert_eq!(owns(&both, BOUGHT), studio(BOUGHT + 2 * YEAR));
}

/// Returns the units of `site` and the end of their updates, after purchases at these times for so
/// many units. The plan is sold with 12 months of updates, and by `price_site_for_ever` with all
/// builds.
fn site(purchases: &[(&str, i64, u32)]) -> (u32, Option<i64>) {
    let mut catalog = selling();
    let site = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "site").unwrap();
    let for_ever = Price { id: "price_site_for_ever".into(), ..site.prices[0].clone() };
    site.prices[0].updates_months = Some(12);
    site.prices.push(for_ever);
    let payments = purchases.iter().enumerate().map(|(n, (price, time, units))| {
        payment(&format!("in_{n}"), *time, &[bills(&format!("price_site_{price}"), *units)])
    });
    let state = paid_once(payments.collect());
    let entitlement = assess(&state, None, &catalog, at(BOUGHT)).entitlement.unwrap();
    (entitlement.quantity, entitlement.updates_until.map(Timestamp::epoch_seconds))
}

#[test]
fn as_many_units_extend_the_window() {
    let (first, second) = (("once", BOUGHT, 5), ("once", BOUGHT + DAY, 5));
    assert_eq!(site(&[first]), (5, Some(time("2027-01-31T12:00:00Z"))));
    assert_eq!(site(&[first, second]), (10, Some(time("2028-01-31T12:00:00Z"))));
    assert_eq!(site(&[first, ("for_ever", BOUGHT + DAY, 5)]), (10, None));
}

#[test]
fn fewer_units_share_the_updates_that_are_left_and_those_that_are_bought() {
    let first = ("once", BOUGHT, 4);
    let end = time("2027-01-31T12:00:00Z");
    // With 100 days left, a unit with 365 days: (4 × 100 + 1 × 365) / 5 = 153 days.
    let bought = end - 100 * DAY;
    assert_eq!(site(&[first, ("once", bought, 1)]), (5, Some(bought + 153 * DAY)));
    // With none left for a year: (3 × 365) / 7 days, in whole seconds.
    let late = end + YEAR;
    let expected = late + (3 * (time("2029-01-31T12:00:00Z") - late)) / 7;
    assert_eq!(site(&[first, ("once", late, 3)]), (7, Some(expected)));
    // At once, so both have a year.
    assert_eq!(site(&[first, ("once", BOUGHT, 1)]), (5, Some(end)));
    // With more left than is bought, the end stays.
    let two_years = time("2028-01-31T12:00:00Z");
    let again = [first, ("once", BOUGHT, 4), ("once", BOUGHT + DAY, 1)];
    assert_eq!(site(&again), (9, Some(two_years)));
    // One unit for all builds counts as one with fifty years.
    let fifty_years = time("2076-01-31T12:00:00Z") - BOUGHT;
    let shared = BOUGHT + (4 * (end - BOUGHT) + fifty_years) / 5;
    assert_eq!(site(&[first, ("for_ever", BOUGHT, 1)]), (5, Some(shared)));
    assert_eq!(site(&[("for_ever", BOUGHT, 4), ("once", BOUGHT, 1)]), (5, None), "no end");
}

#[test]
fn a_refunded_purchase_is_as_if_never_bought_stripe_15() {
    let first = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
    let updates = payment("in_2", BOUGHT + DAY, &[bills("price_studio_updates", 1)]);
    let refund = |mut invoice: Invoice, payment| {
        invoice.payment = payment;
        invoice
    };
    use Payment::{DisputeLost, Disputed, Refunded};
    let one_year = studio(time("2027-01-31T12:00:00Z"));
    for returned in [Refunded, DisputeLost] {
        let both = paid_once(vec![refund(first.clone(), returned), updates.clone()]);
        assert_eq!(owns(&both, BOUGHT + DAY), None, "{returned:?}");
        let of_updates = paid_once(vec![first.clone(), refund(updates.clone(), returned)]);
        assert_eq!(owns(&of_updates, BOUGHT + DAY), one_year, "{returned:?}");
    }
    let disputed = paid_once(vec![refund(first.clone(), Disputed)]);
    assert_eq!(owns(&disputed, BOUGHT), one_year);
    let revokes = Policy { dispute: Consequence::Revoke, ..Policy::default() };
    assert_eq!(owns_by(revokes, &disputed, BOUGHT), None);
    // A dispute that is won is unremarkable again.
    assert_eq!(owns_by(revokes, &paid_once(vec![first]), BOUGHT), one_year);
}

#[test]
fn a_partial_refund_follows_the_policy_stripe_15_24_26() {
    let mut invoice = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
    invoice.payment = Payment::PartlyReturned;
    let state = paid_once(vec![invoice]);
    assert!(owns(&state, BOUGHT).is_some(), "kept by default");
    let revokes = Policy { partial_refund: Consequence::Revoke, ..Policy::default() };
    assert_eq!(owns_by(revokes, &state, BOUGHT), None);
}

#[test]
fn the_higher_plan_holds_and_the_lower_one_returns() {
    let once = payment("in_1", NOW - YEAR / 2, &[bills("price_studio_once", 1)]);
    let window = owns(&paid_once(vec![once.clone()]), NOW).unwrap().2;
    let team = subscription("sub_1", "active", &["price_team_month"]);
    let of_team = Invoice {
        lines: vec![line("price_team_month", PERIOD_END, 1000)],
        ..invoice("in_2", &team, InvoiceStatus::Paid, PERIOD_END)
    };
    let mut state = StripeState { invoices: vec![once, of_team], ..state(team, Vec::new()) };
    // The subscription ranks lower than the perpetual plan: it has no effect, which is reported.
    assert_eq!(owns(&state, NOW), Some(("studio".into(), 1, window)));
    let alerts = |state: &StripeState| assess(state, None, &selling(), at(NOW)).alerts;
    assert!(matches!(alerts(&state)[..], [Alert::WithoutEffect { .. }]), "{:?}", alerts(&state));
    // The same plan by subscription has no limit of builds.
    state.subscriptions[0].items[0].price = "price_studio_month".into();
    state.invoices[1].lines[0].price = Some("price_studio_month".into());
    assert_eq!(owns(&state, NOW), Some(("studio".into(), 1, None)));
    assert_eq!(alerts(&state), []);
    state.subscriptions[0].status = Status::Canceled;
    assert_eq!(owns(&state, NOW), Some(("studio".into(), 1, window)), "nothing paid is lost");
}

#[test]
fn an_ended_window_hides_no_plan_that_is_paid_now() {
    let once = payment("in_1", NOW - 2 * YEAR, &[bills("price_studio_once", 1)]);
    let team = subscription("sub_1", "active", &["price_team_month"]);
    let of_team = Invoice {
        lines: vec![line("price_team_month", PERIOD_END, 1000)],
        ..invoice("in_2", &team, InvoiceStatus::Paid, PERIOD_END)
    };
    let mut state = StripeState { invoices: vec![once, of_team], ..state(team, Vec::new()) };
    assert_eq!(owns(&state, NOW).unwrap().0, "team", "it covers the builds of today");
    assert_eq!(
        assess(&state, None, &selling(), at(NOW)).entitlements.len(),
        2,
        "the old one stays"
    );
    state.subscriptions[0].status = Status::Canceled;
    assert_eq!(owns(&state, NOW).unwrap().0, "studio");
}

#[test]
fn session_and_invoice_of_one_payment_are_one_purchase_stripe_8() {
    let invoice = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
    let session = PaidSession {
        id: "cs_1".parse().unwrap(),
        created: at(BOUGHT - 60),
        total: SessionTotal { amount: 30_000, currency: "usd".into(), ..SessionTotal::default() },
        lines: invoice.lines.clone(),
        payment_intent: invoice.payment_intent.clone(),
        payment: Payment::Unremarkable,
        returned: 0,
        charged_at: Some(at(BOUGHT)),
        receipt_url: None,
    };
    let until = studio(time("2027-01-31T12:00:00Z"));
    let alone = StripeState { paid_sessions: vec![session.clone()], ..StripeState::default() };
    assert_eq!(owns(&alone, BOUGHT), until, "the invoice may never come");
    let gone = StripeState { is_deleted: true, ..alone.clone() };
    assert_eq!(owns(&gone, BOUGHT), until, "a guest needs no Stripe customer");
    let mut both = StripeState { invoices: vec![invoice], ..alone };
    assert_eq!(owns(&both, BOUGHT), until);
    let invoices = both.invoices.clone();
    let gone = StripeState { is_deleted: true, invoices, ..StripeState::default() };
    assert_eq!(owns(&gone, BOUGHT), None, "an invoice is that of a Stripe customer");
    both.invoices[0].status = InvoiceStatus::Open;
    assert_eq!(owns(&both, BOUGHT), until, "the invoice is not paid yet");
    let mut refunded = StripeState { invoices: Vec::new(), ..both };
    refunded.paid_sessions[0].payment = Payment::Refunded;
    assert_eq!(owns(&refunded, BOUGHT), None);
}

#[test]
fn what_is_not_paid_grants_nothing_stripe_3() {
    use InvoiceStatus::{Draft, Open, Uncollectible, Void};
    for status in [Draft, Open, Void, Uncollectible] {
        let mut invoice = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
        (invoice.status, invoice.paid_at) = (status, None);
        assert_eq!(owns(&paid_once(vec![invoice]), BOUGHT), None, "{status:?}");
    }
    let mut credited = payment("in_1", BOUGHT, &[bills("price_studio_once", 1)]);
    (credited.credited, credited.amount) = (30_000, 0);
    assert_eq!(owns(&paid_once(vec![credited]), BOUGHT), None, "credited before it was paid");
    let nothing = payment("in_1", BOUGHT, &[bills("price_site_once", 0)]);
    assert_eq!(owns(&paid_once(vec![nothing]), BOUGHT), None, "no units");
}

/// Returns the texts of the alerts about purchases of these prices and units, a day apart.
fn alerts(catalog: &Catalog, purchases: &[(&str, u32)]) -> Vec<String> {
    let payments = purchases.iter().enumerate().map(|(n, (price, units))| {
        let time = BOUGHT + i64::try_from(n).unwrap() * DAY;
        payment(&format!("in_{n}"), time, &[bills(price, *units)])
    });
    let state = paid_once(payments.collect());
    assess(&state, None, catalog, at(BOUGHT)).alerts.iter().map(Alert::to_string).collect()
}

#[test]
fn a_purchase_of_what_the_customer_owns_is_reported() {
    let mut catalog = selling();
    let site = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "site").unwrap();
    let updates = Price {
        id: "price_site_updates".into(),
        interval: crate::domain::sale::plan::Interval::Updates,
        updates_months: Some(12),
        ..site.prices[0].clone()
    };
    site.prices.push(updates);
    let of = |purchases: &[(&str, u32)]| alerts(&catalog, purchases);
    let owned = |item: &str| {
        vec![format!(
            "the customer paid for `{item}` at 2026-02-01T12:00:00Z and owned all of it, or a \
             higher plan, before, so the payment has no effect; refund it if it was a mistake"
        )]
    };
    let (site, studio) = (("price_site_once", 2), ("price_studio_once", 1));
    assert_eq!(of(&[site, ("price_site_updates", 2)]), owned("site"), "it covers all builds");
    assert_eq!(of(&[site, studio]), owned("studio"), "a lower plan");
    assert_eq!(of(&[site, site]), [""; 0], "more units");
    assert_eq!(of(&[studio, site]), [""; 0], "a higher plan");
    assert_eq!(of(&[studio, studio]), [""; 0], "more updates");
    let pdf = ("price_pdf_once", 1);
    let of_pdf = of(&[pdf, pdf, studio]);
    assert_eq!(of_pdf, owned("pdf"));
    let [units] = &of(&[studio, ("price_pdf_once", 3)])[..] else { panic!() };
    assert!(units.contains("paid once for 3 units of `pdf`"), "{units}");
    assert!(units.contains("which is sold in exactly 1 unit; the license"), "{units}");
    // The same plan for all builds, which is not sold by the unit.
    let mut endless = selling();
    endless.plans.iter_mut().for_each(|plan| {
        plan.prices.iter_mut().for_each(|price| price.updates_months = None);
    });
    assert_eq!(alerts(&endless, &[studio, studio]), owned("studio"));
}

#[test]
fn updates_for_another_number_of_units_are_reported() {
    let mut catalog = selling();
    let site = catalog.plans.iter_mut().find(|plan| plan.id.as_str() == "site").unwrap();
    site.prices[0].updates_months = Some(12);
    let updates = Price {
        id: "price_site_updates".into(),
        interval: crate::domain::sale::plan::Interval::Updates,
        ..site.prices[0].clone()
    };
    site.prices.push(updates);
    let of = |units| alerts(&catalog, &[("price_site_once", 3), ("price_site_updates", units)]);
    let about = |paid: &str, effect: &str| {
        vec![format!(
            "the customer paid for updates of {paid} of `site` at 2026-02-01T12:00:00Z and \
             had 3 units: {effect}; refund what has no effect, or grant a license"
        )]
    };
    let none = "updates are sold for all units at once, so these have no effect";
    assert_eq!(of(1), about("1 unit", none));
    assert_eq!(of(3), [""; 0]);
    assert_eq!(of(4), about("4 units", "the updates of 1 unit have no effect"));
    assert_eq!(of(9), about("9 units", "the updates of 6 units have no effect"));
}

#[test]
fn an_add_on_that_is_owned_and_billed_needs_action() {
    let catalog = selling();
    let team = subscription("sub_1", "active", &["price_team_month", "price_pdf_month"]);
    let owned = payment("in_1", BOUGHT, &[bills("price_pdf_once", 1)]);
    let of = |subscriptions: &[Subscription]| {
        let state = StripeState {
            subscriptions: subscriptions.to_vec(),
            invoices: vec![owned.clone()],
            ..StripeState::default()
        };
        let alerts = assess(&state, None, &catalog, at(NOW)).alerts;
        alerts.iter().map(Alert::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(
        of(std::slice::from_ref(&team)).contains("bills the add-on `pdf`, which the customer owns")
    );
    let without = subscription("sub_1", "active", &["price_team_month"]);
    assert!(!of(&[without]).contains("owns"), "the license has it, and it is billed once");
}
