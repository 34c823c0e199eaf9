//! Add-ons beside a plan: they count when they are paid, and decide nothing about the plan.

use super::*;

/// Returns a subscription to these prices whose invoices have these lines.
fn with_addon(prices: &[&str], invoices: &[(&str, InvoiceStatus, Vec<Line>)]) -> StripeState {
    let sub = subscription("sub_1", "active", prices);
    let made = invoices.iter().enumerate().map(|(n, (id, status, lines))| Invoice {
        created: at(PERIOD_START + i64::try_from(n).unwrap()),
        reason: BillingReason::Other,
        lines: lines.clone(),
        ..invoice(id, &sub, *status, PERIOD_END)
    });
    let invoices = made.collect();
    state(sub, invoices)
}

/// Returns the plan, the ids of the add-ons, and the alerts.
fn has(state: &StripeState) -> (Option<String>, Vec<String>, Vec<Alert>) {
    let catalog = selling();
    let assessment = assess(state, None, &catalog, at(NOW));
    let entitlement = assessment.entitlement;
    let addons = entitlement.as_ref().map(|has| has.addon_ids().texts()).unwrap_or_default();
    (entitlement.map(|has| has.plan.id.to_string()), addons, assessment.alerts)
}

fn team(addons: &[&str]) -> (Option<String>, Vec<String>, Vec<Alert>) {
    let addons = addons.iter().map(|id| (*id).to_owned()).collect();
    (Some("team".into()), addons, Vec::new())
}

fn plan() -> Line {
    line("price_team_month", PERIOD_END, 1000)
}

fn pdf() -> Line {
    line("price_pdf_month", PERIOD_END, 300)
}

const BOTH: [&str; 2] = ["price_team_month", "price_pdf_month"];

use InvoiceStatus::{Open, Paid};

#[test]
fn an_add_on_counts_when_it_is_paid() {
    let alone = ("in_1", Paid, vec![plan()]);
    assert_eq!(has(&with_addon(&BOTH, &[("in_1", Paid, vec![plan(), pdf()])])), team(&["pdf"]));
    assert_eq!(has(&with_addon(&BOTH, std::slice::from_ref(&alone))), team(&[]), "not billed yet");
    let added = |status| ("in_2", status, vec![pdf()]);
    assert_eq!(has(&with_addon(&BOTH, &[alone.clone(), added(Open)])), team(&[]));
    assert_eq!(has(&with_addon(&BOTH, &[alone, added(Paid)])), team(&["pdf"]));
}

#[test]
fn a_credit_for_a_refunded_add_on_pays_for_no_higher_plan() {
    let starter = |amount| line("price_starter_month", PERIOD_END, amount);
    let bought = ("in_1", Paid, vec![starter(900)]);
    let added = ("in_2", Paid, vec![pdf()]);
    let credit = Line { amount: -300, ..pdf() };
    let raised = ("in_3", Paid, vec![starter(-900), credit, plan()]);
    let mut state = with_addon(&["price_team_month"], &[bought, added, raised]);
    state.invoices[2].amount = 0;
    assert_eq!(has(&state), team(&[]));
    state.invoices[1].payment = Payment::Refunded;
    assert_eq!(has(&state).0.as_deref(), Some("starter"));
}

#[test]
fn an_add_on_works_to_the_end_of_its_period_unless_stripe_credits_it() {
    let bought = ("in_1", Paid, vec![plan(), pdf()]);
    let removed = ["price_team_month"];
    assert_eq!(has(&with_addon(&removed, std::slice::from_ref(&bought))), team(&["pdf"]));
    let credit = Line { amount: -200, ..pdf() };
    let credited = ("in_2", Paid, vec![credit]);
    assert_eq!(has(&with_addon(&removed, &[bought, credited])), team(&[]));
}

#[test]
fn an_unpaid_add_on_does_not_disturb_the_plan() {
    let bought = ("in_1", Paid, vec![plan()]);
    let mut state = with_addon(&BOTH, &[bought, ("in_2", Open, vec![pdf()])]);
    let term = |state: &StripeState| {
        assess(state, None, &selling(), at(NOW)).entitlement.map(|has| has.term)
    };
    let with_unpaid = term(&state);
    state.invoices.pop();
    assert_eq!(with_unpaid, term(&state));
    assert!(with_unpaid.is_some());
}

#[test]
fn a_paid_add_on_does_not_pay_for_the_plan() {
    // The vendor removes an add-on whose first payment, by bank debit, is still on its way.
    let first = ("in_1", Open, vec![plan(), pdf()]);
    let removed = Line { id: "il_3".into(), credits: vec!["il_2".into()], amount: -300, ..pdf() };
    let mut state = with_addon(&BOTH[..1], &[first, ("in_2", Paid, vec![removed])]);
    (state.invoices[0].payment, state.invoices[1].amount) = (Payment::Processing, 0);
    let catalog = selling();
    let entitlement = assess(&state, None, &catalog, at(PERIOD_START + DAY)).entitlement;
    assert!(entitlement.is_none(), "{entitlement:?}");
}

#[test]
fn an_add_on_of_another_plan_has_no_effect_and_is_reported() {
    let lines = vec![line("price_starter_month", PERIOD_END, 1900), pdf()];
    let prices = ["price_starter_month", "price_pdf_month"];
    let addon: Slug = "pdf".parse().unwrap();
    let (plan, addons, alerts) = has(&with_addon(&prices, &[("in_1", Paid, lines)]));
    assert_eq!((plan.as_deref(), addons.len()), (Some("starter"), 0));
    assert_eq!(alerts, [Alert::AddonWithoutPlan { addon, paid_at: None }]);
}

#[test]
fn a_metered_item_beside_the_plan_disturbs_nothing_stripe_19() {
    let mut state =
        with_addon(&["price_team_month", "price_usage"], &[("in_1", Paid, vec![plan()])]);
    state.subscriptions[0].items[1].quantity = None;
    assert_eq!(has(&state), team(&[]));
    let usage = Line { quantity: Some(7_000), ..line("price_usage", PERIOD_END, 70) };
    let beside = state.invoices[0].clone();
    state.invoices.push(Invoice {
        id: "in_2".parse().unwrap(),
        status: Open,
        lines: vec![usage],
        created: at(PERIOD_START + DAY),
        ..beside
    });
    let (plan, addons, alerts) = has(&state);
    assert_eq!((plan.as_deref(), addons.len(), alerts.len()), (Some("team"), 0, 0));
}

#[test]
fn an_add_on_that_was_paid_once_belongs_to_every_plan_that_it_is_sold_with() {
    let mut state = with_addon(&["price_team_month"], &[("in_1", Paid, vec![plan()])]);
    let once = Line { period_start: None, period_end: None, ..line("price_pdf_once", 0, 5000) };
    let mut payment = state.invoices[0].clone();
    payment.id = "in_2".parse().unwrap();
    (payment.subscription, payment.lines) = (None, vec![once]);
    state.invoices.push(payment);
    assert_eq!(has(&state), team(&["pdf"]));
    state.subscriptions[0].status = Status::Canceled;
    let addon: Slug = "pdf".parse().unwrap();
    let paid_at = Some(state.invoices[1].created);
    let alert = Alert::AddonWithoutPlan { addon, paid_at };
    assert_eq!(has(&state), (None, Vec::new(), vec![alert]));
}

/// A removal is paid by what it credits: at once for Stripe, but here by the late payment.
#[test]
fn what_was_removed_before_a_late_payment_is_not_licensed_stripe_22() {
    let bought = Line { id: "il_pdf".into(), ..pdf() };
    let removed = Line { amount: -200, credits: vec!["il_pdf".into()], ..pdf() };
    let ended = PERIOD_START + 3 * DAY;
    let licensed = |charged_at: Option<i64>| {
        let invoices = [("in_1", Paid, vec![plan(), bought.clone()])];
        let mut state = with_addon(&["price_team_month"], &invoices);
        let first = &mut state.invoices[0];
        (first.amount, first.charged_at) = (1300, Some(at(ended + DAY)));
        first.paid_at = first.charged_at;
        let of = &mut state.subscriptions[0];
        (of.status, of.ended_at) = (Status::Canceled, Some(at(ended)));
        state.invoices.push(Invoice {
            created: at(ended),
            paid_at: Some(at(ended)),
            charged_at: charged_at.map(at),
            amount: 0,
            lines: vec![removed.clone()],
            ..invoice("in_2", &state.subscriptions[0], Paid, PERIOD_END)
        });
        let (plan, addons, _) = has(&state);
        (plan, addons)
    };
    let team = |addons: &[&str]| (team(addons).0, team(addons).1);
    assert_eq!(licensed(None), team(&[]));
    assert_eq!(licensed(Some(ended)), team(&[]), "a final invoice credits like any other");
}

/// The plan that the customer changed to is not paid, but the add-on is credited and gone.
#[test]
fn an_add_on_is_removed_by_a_change_that_does_not_count_stripe_36() {
    let credit =
        |of: &str, line: Line| Line { amount: -line.amount, credits: vec![of.to_owned()], ..line };
    let eight = |id: &str| Line { id: id.into(), quantity: Some(8), amount: 8000, ..plan() };
    let bought = Line { id: "il_pdf".into(), ..pdf() };
    let raise = vec![credit("il_team", plan()), eight("il_8")];
    let year = Line { amount: 5000, ..line("price_team_year", PERIOD_END + MONTH, 0) };
    let last = vec![credit("il_pdf", pdf()), credit("il_8", eight("")), year];
    let invoices = [
        ("in_1", Paid, vec![Line { id: "il_team".into(), ..plan() }, bought]),
        ("in_2", Open, raise),
        ("in_3", Paid, last),
    ];
    let mut state = with_addon(&["price_team_year"], &invoices);
    for (place, amount) in [1300, 7000, 0].into_iter().enumerate() {
        state.invoices[place].amount = amount;
    }
    assert_eq!(has(&state), team(&[]));
    let unpaid = std::mem::take(&mut state.invoices[2].lines[0]);
    assert!(has(&state).1 == ["pdf"], "it was not credited: {unpaid:?}");
}

/// Stripe credits an add-on that is removed, whether it was paid for or not.
#[test]
fn an_add_on_that_the_credit_for_an_unpaid_one_bought_is_not_licensed_stripe_36() {
    let credit = Line { amount: -280, ..pdf() };
    let again = Line { amount: 246, ..pdf() };
    let licensed = |first: InvoiceStatus| {
        let invoices = [
            ("in_1", Paid, vec![plan()]),
            ("in_2", first, vec![Line { amount: 280, ..pdf() }]),
            ("in_3", Paid, vec![credit.clone(), again.clone()]),
        ];
        let mut state = with_addon(&BOTH, &invoices);
        for (place, amount) in [1000, 280, 0].into_iter().enumerate() {
            state.invoices[place].amount = amount;
        }
        has(&state)
    };
    assert_eq!(licensed(Open), team(&[]));
    assert_eq!(licensed(Paid), team(&["pdf"]));
}
