//! Units: they count when they are paid, until the period that was paid ends.

use super::*;
use crate::domain::sale::plan::Quantity;

/// Returns a subscription to this many units at Stripe, whose invoices have these lines: id, status
/// and lines of each, the oldest first.
fn team(at_stripe: u32, invoices: &[(&str, InvoiceStatus, Vec<Line>)]) -> StripeState {
    let mut sub = subscription("sub_1", "active", &["price_team_month"]);
    sub.items[0].quantity = Some(at_stripe);
    let made = invoices.iter().enumerate().map(|(n, (id, status, lines))| {
        let second = i64::try_from(n).unwrap();
        let amount = lines.iter().map(|line| line.amount).sum::<i64>().max(0);
        Invoice {
            created: at(PERIOD_START + second),
            reason: BillingReason::Other,
            amount,
            lines: lines.clone(),
            ..invoice(id, &sub, *status, PERIOD_END)
        }
    });
    let invoices = made.collect();
    state(sub, invoices)
}

/// Returns a line for these units, from the beginning of the period.
fn units(id: &str, units: u32) -> Line {
    Line {
        id: id.to_owned(),
        quantity: Some(units),
        ..line("price_team_month", PERIOD_END, i64::from(units) * 1000)
    }
}

/// Returns a line that credits these units of a line.
fn credit(of: &str, units: u32) -> Line {
    Line {
        id: format!("credit_{of}"),
        quantity: Some(units),
        credits: if of.is_empty() { Vec::new() } else { vec![of.to_owned()] },
        ..line("price_team_month", PERIOD_END, -i64::from(units) * 1000)
    }
}

/// Returns the units and the number of alerts.
fn counted(state: &StripeState) -> (Option<u32>, usize) {
    let catalog = selling();
    let assessment = assess(state, None, &catalog, at(NOW));
    (assessment.entitlement.map(|entitlement| entitlement.quantity), assessment.alerts.len())
}

use InvoiceStatus::{Open, Paid};

#[test]
fn a_raise_counts_when_it_is_paid_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 5)]);
    let raise = |status| ("in_2", status, vec![credit("il_1", 5), units("il_2", 8)]);
    assert_eq!(counted(&team(5, std::slice::from_ref(&bought))), (Some(5), 0));
    assert_eq!(
        counted(&team(8, std::slice::from_ref(&bought))),
        (Some(5), 0),
        "nothing is billed yet"
    );
    assert_eq!(counted(&team(8, &[bought.clone(), raise(Open)])), (Some(5), 0));
    assert_eq!(counted(&team(8, &[bought.clone(), raise(Paid)])), (Some(8), 0));
    let mut refunded = team(8, &[bought, raise(Paid)]);
    refunded.invoices[1].payment = Payment::Refunded;
    assert_eq!(counted(&refunded).0, Some(5));
}

#[test]
fn a_decrease_waits_for_the_end_of_the_period_unless_stripe_credits_it_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 8)]);
    assert_eq!(counted(&team(5, std::slice::from_ref(&bought))), (Some(8), 0));
    let credited = ("in_2", Paid, vec![credit("il_1", 8), units("il_2", 5)]);
    assert_eq!(counted(&team(5, &[bought, credited])), (Some(5), 0));
}

#[test]
fn a_credit_removes_the_lines_that_it_names_or_the_newest_units_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 5)]);
    // Units that were added without a credit of the others: each line counts.
    let added = ("in_2", Paid, vec![units("il_2", 3)]);
    assert_eq!(counted(&team(8, &[bought.clone(), added.clone()])), (Some(8), 0));
    let flexible = ("in_3", Paid, vec![credit("il_1", 5)]);
    assert_eq!(counted(&team(3, &[bought.clone(), added.clone(), flexible])), (Some(3), 0));
    let classic = ("in_3", Paid, vec![credit("", 4)]);
    assert_eq!(counted(&team(4, &[bought, added, classic])), (Some(4), 0));
}

#[test]
fn a_credit_for_nothing_after_a_discount_of_all_removes_what_it_names_stripe_34() {
    let free = |line: Line| Line { amount: 0, ..line };
    let bought = ("in_1", Paid, vec![free(units("il_1", 5))]);
    let lowered = ("in_2", Paid, vec![free(credit("il_1", 5)), free(units("il_2", 3))]);
    assert_eq!(counted(&team(3, &[bought, lowered])), (Some(3), 0));
}

#[test]
fn changes_that_are_billed_together_credit_each_other_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 5)]);
    let first = [credit("il_1", 5), units("il_2", 8)];
    let second = [credit("il_2", 8), units("il_3", 10)];
    let changed = ("in_2", Paid, [first, second].concat());
    assert_eq!(counted(&team(10, &[bought, changed])), (Some(10), 0));
}

#[test]
fn units_that_were_refunded_do_not_pay_for_others_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 5)]);
    let raised = ("in_2", Paid, vec![credit("il_1", 5), units("il_2", 15)]);
    let mut state = team(15, &[bought, raised]);
    state.invoices[0].payment = Payment::Refunded;
    assert_eq!(counted(&state).0, Some(10), "the refunded five did not pay for five of fifteen");
    let bought = ("in_1", Paid, vec![units("il_1", 8)]);
    let raised = ("in_2", Paid, vec![credit("il_1", 8), units("il_2", 14)]);
    let again = ("in_3", Paid, vec![credit("il_2", 14), units("il_3", 20)]);
    let mut state = team(20, &[bought, raised, again]);
    state.invoices[1].payment = Payment::Refunded;
    assert_eq!(counted(&state).0, Some(14), "the eight were credited with the refunded fourteen");
}

#[test]
fn a_decrease_after_an_unpaid_raise_counts_if_paid_units_cover_it_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 15)]);
    let raised = |status| ("in_2", status, vec![credit("il_1", 15), units("il_2", 20)]);
    let lowered = |of: &str, to| ("in_3", Paid, vec![credit(of, 20), units("il_3", to)]);
    for of in ["il_2", ""] {
        let open = team(4, &[bought.clone(), raised(Open), lowered(of, 4)]);
        assert_eq!(counted(&open), (Some(4), 0), "{of:?}");
        let mut refunded = team(4, &[bought.clone(), raised(Paid), lowered(of, 4)]);
        refunded.invoices[1].payment = Payment::Refunded;
        assert_eq!(counted(&refunded), (Some(4), 0), "{of:?}");
        // The fifteen do not pay for sixteen.
        let mut above = team(16, &[bought.clone(), raised(Paid), lowered(of, 16)]);
        above.invoices[1].payment = Payment::Refunded;
        assert_eq!(counted(&above), (Some(15), 0), "{of:?}");
        // The unpaid credit went to the balance, and pays for nothing later.
        let balance = |state: &mut StripeState, invoice: usize, before, after| {
            let invoice = &mut state.invoices[invoice];
            (invoice.balance_before, invoice.balance_after) = (before, after);
        };
        let again = ("in_4", Paid, vec![credit("il_3", 4), units("il_4", 9)]);
        let mut state = team(9, &[bought.clone(), raised(Open), lowered(of, 4), again]);
        balance(&mut state, 2, 0, -16_000);
        balance(&mut state, 3, -16_000, -11_000);
        assert_eq!(counted(&state), (Some(9), 0), "{of:?}: the paid eleven went there too");
        balance(&mut state, 2, 0, -5000);
        balance(&mut state, 3, -5000, 0);
        assert_eq!(counted(&state), (Some(4), 0), "{of:?}");
    }
}

#[test]
fn changes_billed_together_after_an_unpaid_raise_are_free_only_as_far_as_units_are_paid_stripe_34()
{
    let bought = ("in_1", Paid, vec![units("il_1", 3)]);
    let raised = ("in_2", Paid, vec![credit("il_1", 3), units("il_2", 18)]);
    let both = |to| [credit("il_2", 18), units("il_3", 13), credit("il_3", 13), units("il_4", to)];
    for (to, expected) in [(2, 2), (3, 3), (5, 3)] {
        let lowered = ("in_3", Paid, both(to).to_vec());
        let mut state = team(to, &[bought.clone(), raised.clone(), lowered]);
        state.invoices[1].payment = Payment::Refunded;
        assert_eq!(counted(&state).0, Some(expected), "{to}");
    }
}

#[test]
fn a_balance_from_an_unpaid_raise_buys_no_units_stripe_36() {
    let bought = ("in_1", Paid, vec![units("il_1", 1)]);
    let raised = ("in_2", InvoiceStatus::Uncollectible, vec![credit("il_1", 1), units("il_2", 11)]);
    let both = [credit("il_2", 11), units("il_3", 13), credit("il_3", 13), units("il_4", 1)];
    let lowered = ("in_3", Paid, both.to_vec());
    let again = ("in_4", Paid, vec![credit("il_4", 1), units("il_5", 9)]);
    let mut state = team(9, &[bought, raised, lowered, again]);
    state.invoices[1].reason = BillingReason::Change;
    (state.invoices[2].balance_before, state.invoices[2].balance_after) = (0, -10_000);
    (state.invoices[3].balance_before, state.invoices[3].balance_after) = (-10_000, -2000);
    assert_eq!(counted(&state).0, Some(1));
    state.invoices[1].status = Paid;
    assert_eq!(counted(&state).0, Some(9));
}

#[test]
fn a_change_of_a_renewal_that_is_still_a_draft_sells_nothing_stripe_3() {
    let first = ("in_1", InvoiceStatus::Uncollectible, vec![units("il_1", 14)]);
    let change = ("in_3", Paid, vec![credit("il_2", 14), units("il_3", 11)]);
    let mut state =
        team(11, &[first, ("in_2", InvoiceStatus::Draft, vec![units("il_2", 14)]), change]);
    assert_eq!(counted(&state).0, None);
    state.invoices[1].status = Paid;
    assert_eq!(counted(&state).0, Some(11));
}

#[test]
fn a_late_payment_leaves_nothing_if_a_change_before_the_end_credited_it_all_stripe_22() {
    let late = ("in_1", Paid, vec![units("il_1", 15)]);
    let year = Line { id: "il_2".into(), ..line("price_team_year", PERIOD_END + MONTH, 90_000) };
    let licensed = |second: i64, charged_at: Option<i64>| {
        let changed = ("in_2", Paid, vec![credit("il_1", 15), year.clone()]);
        let mut state = team(1, &[late.clone(), changed]);
        let ended = PERIOD_START + DAY;
        let of = &mut state.subscriptions[0];
        (of.status, of.ended_at) = (Status::Canceled, Some(at(ended)));
        state.invoices[0].paid_at = Some(at(ended + DAY));
        let change = &mut state.invoices[1];
        change.created = at(ended + second);
        (change.paid_at, change.charged_at) = (Some(change.created), charged_at.map(at));
        counted(&state).0
    };
    let ended = PERIOD_START + DAY;
    assert_eq!(licensed(0, Some(ended)), None, "a final invoice");
    assert_eq!(licensed(-1, Some(ended - 1)), Some(1), "the late payment is a part of its price");
}

#[test]
fn a_renewal_that_was_paid_a_little_early_does_not_add_its_units_to_the_former_ones() {
    let next = |price: &str| Line {
        price: Some(price.to_owned()),
        period_start: Some(at(PERIOD_END)),
        period_end: Some(at(PERIOD_END + MONTH)),
        ..units("il_2", 5)
    };
    let catalog = selling();
    for price in ["price_team_month", "price_team_year"] {
        let invoices = [("in_1", Paid, vec![units("il_1", 8)]), ("in_2", Paid, vec![next(price)])];
        let state = team(5, &invoices);
        let has = |now| assess(&state, None, &catalog, at(now)).entitlement.unwrap().quantity;
        for (now, expected) in [(-3600, 8), (-60, 5), (-1, 5), (0, 5), (60, 5)] {
            assert_eq!(has(PERIOD_END + now), expected, "{price} {now}");
        }
    }
}

#[test]
fn an_unpaid_renewal_keeps_the_units_of_the_paid_period_in_grace() {
    let mut state = team(3, &[("in_1", Paid, vec![units("il_1", 5)])]);
    let renewal = units("il_2", 3);
    let end = PERIOD_END + MONTH;
    let renewal = Line { period_start: Some(at(PERIOD_END)), period_end: Some(at(end)), ..renewal };
    let sub = &mut state.subscriptions[0];
    sub.status = Status::PastDue;
    (sub.items[0].period_start, sub.items[0].period_end) = (Some(at(PERIOD_END)), Some(at(end)));
    let open = Invoice { lines: vec![renewal], ..invoice("in_2", sub, Open, end) };
    state.invoices.push(open);
    let catalog = selling();
    let in_grace = assess(&state, None, &catalog, at(PERIOD_END + DAY)).entitlement.unwrap();
    assert_eq!(in_grace.quantity, 3, "no more than what is billed next");
    state.subscriptions[0].items[0].quantity = Some(9);
    let in_grace = assess(&state, None, &catalog, at(PERIOD_END + DAY)).entitlement.unwrap();
    assert_eq!(in_grace.quantity, 5, "no more than what was paid");
}

#[test]
fn a_quantity_outside_the_plan_is_reported_and_followed_as_paid_stripe_34() {
    let state = team(50, &[("in_1", Paid, vec![units("il_1", 50)])]);
    let catalog = selling();
    let assessment = assess(&state, None, &catalog, at(NOW));
    let sold = Quantity { min: 1, max: 20 };
    let item = "team".parse().unwrap();
    assert_eq!(assessment.alerts, [Alert::Quantity { item, found: 50, sold, paid_at: None }]);
    assert_eq!(assessment.entitlement.unwrap().quantity, 50, "neither guessed nor clamped");
    assert_eq!(counted(&team(0, &[("in_1", Paid, vec![units("il_1", 0)])])), (None, 1));
}

#[test]
fn a_plan_that_is_not_sold_by_the_unit_has_one() {
    let mut sub = subscription("sub_1", "active", &["price_starter_month"]);
    sub.items[0].quantity = Some(3);
    let bought = Line { quantity: Some(3), ..line("price_starter_month", PERIOD_END, 5700) };
    let paid = Invoice { lines: vec![bought], ..invoice("in_1", &sub, Paid, PERIOD_END) };
    assert_eq!(counted(&state(sub, vec![paid])), (Some(1), 1));
}

#[test]
fn before_anything_is_billed_the_units_at_stripe_count() {
    assert_eq!(counted(&team(4, &[])), (Some(4), 0));
    let mut trial = team(4, &[("in_1", Paid, vec![Line { amount: 0, ..units("il_1", 2) }])]);
    trial.subscriptions[0].status = Status::Trialing;
    trial.subscriptions[0].trial_end = Some(at(PERIOD_END));
    assert_eq!(counted(&trial), (Some(4), 0));
}

#[test]
fn a_late_payment_after_the_end_counts_for_its_own_units_stripe_22() {
    let before = ("in_1", Paid, vec![units("il_1", 10)]);
    let late = ("in_2", Paid, vec![units("il_2", 7)]);
    let mut state = team(7, &[before, late]);
    state.subscriptions[0].status = Status::Canceled;
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + DAY));
    state.invoices[0].paid_at = Some(at(PERIOD_START));
    state.invoices[1].paid_at = Some(at(PERIOD_START + 2 * DAY));
    assert_eq!(counted(&state).0, Some(7));
    // What a later invoice credits was not bought.
    state.invoices[1].lines.push(credit("il_2", 3));
    assert_eq!(counted(&state).0, Some(4));
}

#[test]
fn what_is_credited_after_its_period_counts_until_its_end() {
    let late = Line { period_start: Some(at(PERIOD_END + DAY)), ..credit("il_1", 9) };
    let next = Line { period_end: Some(at(PERIOD_END + MONTH)), ..units("il_2", 9) };
    let state =
        team(9, &[("in_1", Paid, vec![units("il_1", 9)]), ("in_2", Paid, vec![late, next])]);
    let of = &state.subscriptions[0];
    let counted = counted::counted_invoices(of, &state.invoices, &selling(), &Policy::default());
    let ends = counted.spans().filter(|span| span.line.id == "il_1").map(|span| span.end);
    assert_eq!(ends.collect::<Vec<_>>(), [at(PERIOD_END)]);
}

#[test]
fn a_period_that_an_invoice_ends_is_over_by_a_clock_that_is_behind_too_stripe_34() {
    let bought = ("in_1", Paid, vec![units("il_1", 14)]);
    let renewal = ("in_2", InvoiceStatus::Draft, Vec::new());
    let mut state = team(12, &[bought, renewal]);
    let counted_at = |state: &StripeState, seconds: i64| {
        let catalog = selling();
        assess(state, None, &catalog, at(PERIOD_END + seconds)).entitlement.map(|one| one.quantity)
    };
    assert_eq!(counted_at(&state, -50), Some(14), "no invoice ends the period");
    state.invoices[1].created = at(PERIOD_END);
    for seconds in [-120, -50, -1, 0, 1, 50] {
        assert_eq!(counted_at(&state, seconds), Some(12), "{seconds}");
    }
    // So much later, the clock is wrong or Stripe's is a test clock.
    assert_eq!(counted_at(&state, -121), Some(14));
}
