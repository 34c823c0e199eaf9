//! Tests of the assessment: tables of states here; property tests in `properties`, the vendor's
//! policy in `policy`, grace periods in `grace`, plan changes in `changes`, credits for unpaid
//! invoices in `credits`, forgiven renewals in `forgiven`, late payments in `late`, units in
//! `quantity` and `running_sums`, add-ons in `addons`, single payments in `once`, those for several
//! plans in `several_plans`, what remains of subscriptions in `fallback`, and what was paid for and
//! the license does not have in `without_effect`.

mod addons;
mod changes;
mod credits;
mod fallback;
mod forgiven;
mod grace;
mod late;
mod once;
mod policy;
pub(crate) mod properties;
mod quantity;
mod running_sums;
mod several_plans;
mod without_effect;

use chrono::TimeDelta;

use super::*;
use crate::domain::sale::invoice::{BillingReason, Invoice, InvoiceStatus, Line, Payment};
use crate::domain::sale::plan::Slug;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::subscription::{Item, Status};

pub(crate) const NOW: i64 = 1_795_186_800;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const MONTH: i64 = 30 * DAY;
pub(crate) const PERIOD_END: i64 = NOW + MONTH / 2;
pub(crate) const PERIOD_START: i64 = PERIOD_END - MONTH;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::saturating(seconds)
}

pub(crate) fn catalog() -> Catalog {
    crate::plans::load(None).unwrap()
}

/// Returns a catalog with plans of every kind: those of the suite's shops.
pub(crate) fn selling() -> Catalog {
    catalog_of(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/suite/harness/selling.toml"
    )))
}

/// Returns the catalog of a plans file.
pub(crate) fn catalog_of(plans: &str) -> Catalog {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, plans).unwrap();
    crate::plans::load(Some(file.path())).unwrap()
}

pub(crate) fn subscription(id: &str, status: &str, prices: &[&str]) -> Subscription {
    let item = |price: &&str| Item {
        id: format!("si_{price}"),
        quantity: Some(1),
        price: (*price).to_owned(),
        period_start: Some(at(PERIOD_START)),
        period_end: Some(at(PERIOD_END)),
    };
    Subscription {
        id: id.parse().unwrap(),
        status: Status::from_name(status),
        items: prices.iter().map(item).collect(),
        currency: Some("usd".into()),
        cancel_at: None,
        cancel_at_period_end: false,
        canceled_at: None,
        ended_at: None,
        trial_end: None,
        latest_invoice: None,
        awaits_payment: false,
        card: None,
        is_trial_refused: false,
        collection_paused: false,
        is_ours: true,
        pending_until: None,
        discounts: Vec::new(),
        schedule: None,
        has_sent_invoices: false,
        default_payment_method: None,
        created: at(PERIOD_START),
    }
}

/// Returns an invoice for the month until `end`.
pub(crate) fn invoice(id: &str, of: &Subscription, status: InvoiceStatus, end: i64) -> Invoice {
    Invoice {
        id: id.parse().unwrap(),
        subscription: Some(of.id.clone()),
        reason: BillingReason::Renewal,
        is_written_off_by_hand: false,
        credited: 0,
        balance_before: 0,
        balance_after: 0,
        status,
        amount: 4900,
        tax: 0,
        added_tax: 0,
        discount: 0,
        currency: "usd".into(),
        created: at(end - MONTH),
        due: None,
        paid_at: None,
        charged_at: None,
        url: None,
        receipt_url: None,
        payment_intent: None,
        payment: Payment::Unremarkable,
        returned: 0,
        lines: vec![Line { price: None, ..line("", end, 4900) }],
    }
}

/// Returns the plan, the end and the end of the grace period; `None` without an entitlement.
fn entitlement(state: &StripeState, now: i64) -> Option<(String, i64, Option<i64>)> {
    entitlement_by(Policy::default(), state, now)
}

/// Returns the same with this policy.
fn entitlement_by(
    policy: Policy,
    state: &StripeState,
    now: i64,
) -> Option<(String, i64, Option<i64>)> {
    let catalog = Catalog { policy, ..catalog() };
    let assessment = assess(state, None, &catalog, at(now));
    assessment.entitlement.map(|granted| {
        let expires = granted.term.expires.unwrap().epoch_seconds();
        let grace = granted.term.grace_until.map(Timestamp::epoch_seconds);
        (granted.plan.id.to_string(), expires, grace)
    })
}

fn state(subscription: Subscription, invoices: Vec<Invoice>) -> StripeState {
    StripeState { subscriptions: vec![subscription], invoices, ..StripeState::default() }
}

/// Returns a subscription in this status whose current period is paid.
pub(crate) fn paid(status: &str) -> StripeState {
    let subscription = subscription("sub_1", status, &["price_pro_monthly"]);
    let invoice = invoice("in_1", &subscription, InvoiceStatus::Paid, PERIOD_END);
    state(subscription, vec![invoice])
}

/// Returns a subscription in this status whose previous period is paid and whose current one is
/// not.
pub(crate) fn unpaid_renewal(status: &str) -> StripeState {
    let subscription = subscription("sub_1", status, &["price_pro_monthly"]);
    let before = invoice("in_1", &subscription, InvoiceStatus::Paid, PERIOD_START);
    let renewal = invoice("in_2", &subscription, InvoiceStatus::Open, PERIOD_END);
    state(subscription, vec![renewal, before])
}

fn professional(expires: i64, grace: Option<i64>) -> Option<(String, i64, Option<i64>)> {
    Some(("professional".into(), expires, grace))
}

#[test]
fn each_status_of_a_paid_subscription() {
    let grace = Some(PERIOD_END + 7 * DAY);
    for (status, expected) in [
        ("active", professional(PERIOD_END, grace)),
        ("trialing", professional(PERIOD_END, Some(PERIOD_END + DAY))),
        ("past_due", professional(PERIOD_END, grace)),
        ("incomplete", None),
        ("incomplete_expired", None),
        ("unpaid", None),
        ("canceled", None),
        ("paused", None),
    ] {
        assert_eq!(entitlement(&paid(status), NOW), expected, "{status}");
    }
}

#[test]
fn a_refused_trial_is_licensed_once_its_first_period_is_paid_even_if_it_is_free_stripe_36() {
    let mut state = paid("active");
    let refused = &mut state.subscriptions[0];
    (refused.is_trial_refused, refused.trial_end) = (true, Some(at(PERIOD_START)));
    (state.invoices[0].reason, state.invoices[0].amount) = (BillingReason::Change, 0);
    let licensed = professional(PERIOD_END, Some(PERIOD_END + 7 * DAY));
    assert_eq!(entitlement(&state, NOW), licensed);
    state.invoices[0].status = InvoiceStatus::Open;
    assert_eq!(entitlement(&state, NOW), None, "it is not paid yet");
    let of_trial = &mut state.invoices[0];
    (of_trial.status, of_trial.lines[0].period_end) = (InvoiceStatus::Paid, Some(at(PERIOD_START)));
    assert_eq!(entitlement(&state, NOW), None, "only the trial is billed");
}

/// Returns a line for a price, for the period until `end`.
pub(crate) fn line(price: &str, end: i64, amount: i64) -> Line {
    Line {
        price: Some(price.to_owned()),
        period_start: Some(at(end - MONTH)),
        period_end: Some(at(end)),
        amount,
        quantity: Some(1),
        ..Line::default()
    }
}

/// Returns the invoice of a plan change: it credits the rest of one plan and bills the other.
fn change(id: &str, status: InvoiceStatus, second: i64, lines: [Line; 2]) -> Invoice {
    let state = paid("active");
    let amount = lines.iter().map(|line| line.amount).sum::<i64>().max(0);
    let invoice = invoice(id, &state.subscriptions[0], status, PERIOD_END);
    let created = at(PERIOD_START + DAY + second);
    Invoice { created, amount, lines: lines.into(), ..invoice }
}

#[test]
fn while_collection_is_paused_the_license_follows_the_status() {
    let mut state = unpaid_renewal("active");
    state.invoices[0].status = InvoiceStatus::Uncollectible;
    state.subscriptions[0].collection_paused = true;
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
    // A higher plan must be paid for.
    let lines = std::mem::replace(
        &mut state.invoices[1].lines,
        vec![line("price_starter_monthly", PERIOD_START, 1900)],
    );
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
    state.invoices[1].lines = lines;
    state.subscriptions[0].status = Status::Paused;
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn a_missing_invoice_makes_the_assessment_unclear() {
    let mut state = paid("active");
    state.invoices.clear();
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
    state.subscriptions[0].latest_invoice = Some("in_1".parse().unwrap());
    let catalog = catalog();
    let assessment = assess(&state, None, &catalog, at(NOW));
    assert!(assessment.is_unclear && assessment.entitlement.is_none());
}

#[test]
fn a_subscription_that_was_read_before_its_newest_invoice_is_unclear() {
    let mut state = paid("active");
    let of = &state.subscriptions[0];
    let lower = change(
        "in_2",
        InvoiceStatus::Paid,
        1,
        [
            line("price_pro_monthly", PERIOD_END, -4900),
            line("price_starter_yearly", PERIOD_END, 19000),
        ],
    );
    let by_hand = Invoice {
        reason: BillingReason::Manual,
        ..invoice("in_3", of, InvoiceStatus::Paid, PERIOD_END)
    };
    state.subscriptions[0].latest_invoice = Some("in_1".parse().unwrap());
    state.invoices.push(by_hand);
    let (catalog, is_unclear) = (catalog(), |state: &StripeState, catalog: &Catalog| {
        assess(state, None, catalog, at(NOW)).is_unclear
    });
    assert!(!is_unclear(&state, &catalog));
    // A plan change between the two calls.
    state.invoices.push(lower);
    assert!(is_unclear(&state, &catalog));
    assert_eq!(entitlement(&state, NOW), None);
    state.subscriptions[0].latest_invoice = Some("in_2".parse().unwrap());
    assert!(!is_unclear(&state, &catalog));
}

#[test]
fn a_subscription_to_something_else_is_ignored() {
    let mut state = state(subscription("sub_1", "active", &["price_support"]), Vec::new());
    state.subscriptions[0].is_ours = false;
    let catalog = catalog();
    let assessment = assess(&state, None, &catalog, at(NOW));
    assert!(assessment.subscription.is_none(), "it would block a checkout");
    assert!(!assessment.is_unclear, "it would block revocations");
}

#[test]
fn other_prices_raise_no_alert() {
    let mut state = state(subscription("sub_1", "active", &["price_support"]), Vec::new());
    state.subscriptions[0].is_ours = false;
    let mut catalog = catalog();
    let alerts =
        |state: &StripeState, catalog: &Catalog| assess(state, None, catalog, at(NOW)).alerts.len();
    assert_eq!(alerts(&state, &catalog), 1);
    catalog.other_prices.push("price_support".into());
    assert_eq!(alerts(&state, &catalog), 0);
    // Without items, a subscription is not one to other prices.
    state.subscriptions[0].items.clear();
    state.subscriptions[0].is_ours = true;
    assert!(assess(&state, None, &catalog, at(NOW)).is_unclear);
}

#[test]
fn a_current_subscription_that_is_unclear_stays_current() {
    let mut state = paid("active");
    let mut former = subscription("sub_0", "active", &["price_gone"]);
    former.is_ours = false;
    let held = former.id.clone();
    state.subscriptions.push(former);
    let catalog = catalog();
    let assessment = assess(&state, Some(&held), &catalog, at(NOW));
    assert_eq!(assessment.subscription.map(|current| &current.id), Some(&held));
    assert!(assessment.is_unclear && assessment.entitlement.is_some());
}

#[test]
fn the_current_subscription_stays_current_when_its_price_is_removed() {
    let mut state = state(subscription("sub_1", "active", &["price_gone"]), Vec::new());
    state.subscriptions[0].is_ours = false;
    let (catalog, held) = (catalog(), state.subscriptions[0].id.clone());
    let assessment = assess(&state, Some(&held), &catalog, at(NOW));
    assert!(assessment.is_unclear && assessment.subscription.is_some());
    state.subscriptions[0].status = Status::Canceled;
    let assessment = assess(&state, Some(&held), &catalog, at(NOW));
    assert_eq!(assessment.subscription.map(|current| &current.status), Some(&Status::Canceled));
    assert!(!assessment.is_unclear && assessment.entitlement.is_none());
}

#[test]
fn a_former_price_keeps_the_plan() {
    let mut catalog = catalog();
    catalog.plans[2].former_prices.push("price_pro_2025".into());
    let state = state(subscription("sub_1", "active", &["price_pro_2025"]), Vec::new());
    let assessment = assess(&state, None, &catalog, at(NOW));
    assert_eq!(assessment.entitlement.unwrap().plan.id.as_str(), "professional");
    assert!(assessment.alerts.is_empty());
}

#[test]
fn a_first_payment_that_is_missing_grants_nothing_whatever_the_state_stripe_3() {
    for status in ["active", "past_due"] {
        use InvoiceStatus::{Draft, Open, Uncollectible, Void};
        for status_of_invoice in [Draft, Open, Void, Uncollectible] {
            let mut state = paid(status);
            state.invoices[0].status = status_of_invoice;
            state.invoices[0].reason = BillingReason::Other;
            assert_eq!(entitlement(&state, NOW), None, "{status} {status_of_invoice:?}");
        }
    }
}

#[test]
fn a_cancellation_by_either_field_ends_without_grace_stripe_12() {
    let mut by_flag = paid("active");
    by_flag.subscriptions[0].cancel_at_period_end = true;
    let mut by_time = paid("active");
    by_time.subscriptions[0].cancel_at = Some(at(PERIOD_END));
    let mut sooner = paid("active");
    sooner.subscriptions[0].cancel_at = Some(at(NOW + DAY));
    assert_eq!(entitlement(&by_flag, NOW), professional(PERIOD_END, None));
    assert_eq!(entitlement(&by_time, NOW), professional(PERIOD_END, None));
    assert_eq!(entitlement(&sooner, NOW), professional(NOW + DAY, None));
    assert_eq!(entitlement(&by_time, PERIOD_END), None);
    // Past due and canceled: the grace period ends with the subscription.
    let mut late = unpaid_renewal("past_due");
    late.subscriptions[0].cancel_at = Some(at(PERIOD_START + 2 * DAY));
    let expected = professional(PERIOD_START, Some(PERIOD_START + 2 * DAY));
    assert_eq!(entitlement(&late, PERIOD_START + DAY), expected);
}

#[test]
fn the_higher_of_two_holds_and_the_other_takes_over_stripe_7() {
    let starter = subscription("sub_1", "active", &["price_starter_monthly"]);
    let higher = subscription("sub_2", "active", &["price_pro_monthly"]);
    let invoices = vec![
        invoice("in_1", &starter, InvoiceStatus::Paid, PERIOD_END),
        invoice("in_2", &higher, InvoiceStatus::Paid, PERIOD_END),
    ];
    let mut state =
        StripeState { subscriptions: vec![starter, higher], invoices, ..StripeState::default() };
    let catalog = catalog();
    let both = assess(&state, None, &catalog, at(NOW));
    assert_eq!(both.alerts, [Alert::SeveralLive]);
    assert_eq!(both.subscription.unwrap().id.as_str(), "sub_2");
    assert_eq!(entitlement(&state, NOW).unwrap().0, "professional");
    state.subscriptions[1].status = Status::Canceled;
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
}

#[test]
fn an_unknown_status_or_price_revokes_nothing() {
    let catalog = catalog();
    for (status, price) in [("active", "price_gold"), ("frozen", "price_pro_monthly")] {
        let state = state(subscription("sub_1", status, &[price]), Vec::new());
        let assessment = assess(&state, None, &catalog, at(NOW));
        assert!(assessment.is_unclear && assessment.entitlement.is_none(), "{status} {price}");
        assert_eq!(assessment.alerts.len(), 1);
    }
}

#[test]
fn a_deleted_customer_has_nothing_stripe_16() {
    let state = StripeState { is_deleted: true, ..paid("active") };
    assert_eq!(entitlement(&state, NOW), None);
}

#[test]
fn several_items_are_decided_the_same_way_in_any_order_stripe_19() {
    let prices = ["price_starter_monthly", "price_seats", "price_pro_monthly"];
    let mut state = state(subscription("sub_1", "active", &prices), Vec::new());
    let first = entitlement(&state, NOW);
    assert_eq!(first.as_ref().unwrap().0, "professional");
    state.subscriptions[0].items.reverse();
    assert_eq!(entitlement(&state, NOW), first);
    let plan = |id: &str| id.parse().unwrap();
    let second = Alert::SecondPlan { plan: plan("starter"), granted: plan("professional") };
    let unknown = Alert::UnknownPrice("price_seats".into());
    let mut catalog = catalog();
    let alerts =
        |state: &StripeState, catalog: &Catalog| assess(state, None, catalog, at(NOW)).alerts;
    assert_eq!(alerts(&state, &catalog), [unknown, second.clone()]);
    state.subscriptions[0].items[1].quantity = None;
    assert_eq!(alerts(&state, &catalog), std::slice::from_ref(&second), "it is metered");
    state.subscriptions[0].items[1].quantity = Some(2);
    catalog.other_prices.push("price_seats".into());
    assert_eq!(alerts(&state, &catalog), [second]);
}
