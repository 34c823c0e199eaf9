//! Plan changes: which plan is granted once a change is billed, paid, credited or refunded.

use super::*;

#[test]
fn an_unpaid_upgrade_grants_the_plan_that_was_paid() {
    let mut state = paid("past_due");
    state.invoices[0].lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    let mut upgrade =
        invoice("in_2", &state.subscriptions[0], InvoiceStatus::Open, PERIOD_END + MONTH);
    upgrade.lines = vec![line("price_pro_monthly", PERIOD_END, 1500)];
    state.invoices.push(upgrade);
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
    state.invoices[1].status = InvoiceStatus::Paid;
    state.subscriptions[0].status = Status::Active;
    assert_eq!(entitlement(&state, NOW).unwrap().0, "professional");
    // An upgrade that is billed with the next renewal is granted immediately.
    state.invoices.truncate(1);
    assert_eq!(entitlement(&state, NOW).unwrap().0, "professional");
}

#[test]
fn a_refunded_upgrade_leaves_the_plan_that_was_paid_before() {
    let mut state = paid("active");
    state.subscriptions[0].items[0].price = "price_starter_monthly".into();
    state.invoices[0].lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    let mut change =
        invoice("in_2", &state.subscriptions[0], InvoiceStatus::Paid, PERIOD_END + MONTH);
    change.lines = vec![line("price_pro_monthly", PERIOD_END, 1500)];
    change.payment = Payment::Refunded;
    state.invoices.push(change);
    assert_eq!(entitlement(&state, NOW), Some(("starter".into(), PERIOD_END, None)));
}

#[test]
fn a_credited_period_and_an_add_on_cover_nothing() {
    let year = PERIOD_END + 300 * DAY;
    let mut state = unpaid_renewal("past_due");
    // A year was paid, then changed to a month and credited. An add-on was paid for a year.
    let mut first =
        invoice("in_0", &state.subscriptions[0], InvoiceStatus::Paid, PERIOD_START - MONTH);
    first.lines = vec![line("price_starter_yearly", year, 19000)];
    state.invoices.push(first);
    state.invoices[1].lines = vec![
        line("price_starter_yearly", year, -18000),
        line("price_pro_monthly", PERIOD_START, 4900),
        line("price_support_yearly", year, 9900),
    ];
    let expected = professional(PERIOD_START, Some(PERIOD_START + 7 * DAY));
    assert_eq!(entitlement(&state, PERIOD_START + DAY), expected);
}

#[test]
fn a_change_to_another_plan_and_back_grants_the_last_one() {
    let mut state = paid("active");
    let base = state.subscriptions[0].clone();
    let before = invoice("in_0", &base, InvoiceStatus::Paid, PERIOD_START);
    state.invoices[0].lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    let change = |id: &str, at: i64, lines: Vec<Line>| {
        let mut made = invoice(id, &base, InvoiceStatus::Paid, at + MONTH);
        made.lines = lines;
        made
    };
    let down = vec![
        line("price_pro_monthly", PERIOD_END, -4000),
        line("price_starter_monthly", PERIOD_END, 1500),
    ];
    let up = vec![
        line("price_starter_monthly", PERIOD_END, -1400),
        line("price_pro_monthly", PERIOD_END, 3900),
    ];
    let twice = vec![
        line("price_pro_monthly", PERIOD_END, -3800),
        line("price_pro_monthly", PERIOD_END, 7600),
    ];
    let day = PERIOD_START + DAY;
    state.invoices.push(before);
    state.invoices.push(change("in_2", day, down));
    state.invoices.push(change("in_3", day + 1, up));
    state.invoices.push(change("in_4", day + 2, twice));
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
}

#[test]
fn an_upgrade_billed_with_the_renewal_is_granted_while_the_renewal_is_collected() {
    let mut state = unpaid_renewal("active");
    state.invoices[0].status = InvoiceStatus::Draft;
    state.invoices[0].lines = vec![
        line("price_pro_monthly", PERIOD_START, 1500),
        line("price_pro_monthly", PERIOD_END, 4900),
    ];
    state.invoices[1].lines = vec![line("price_starter_monthly", PERIOD_START, 1900)];
    assert_eq!(entitlement(&state, PERIOD_START + DAY).unwrap().0, "professional");
    state.subscriptions[0].status = Status::PastDue;
    assert_eq!(entitlement(&state, PERIOD_START + DAY).unwrap().0, "starter");
}

#[test]
fn an_upgrade_that_begins_with_the_period_is_granted_when_that_is_paid_stripe_13() {
    let mut state = unpaid_renewal("active");
    state.invoices[0].lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    state.invoices[0].payment = Payment::Processing;
    state.invoices[1].lines = vec![line("price_starter_monthly", PERIOD_START, 1900)];
    assert_eq!(entitlement(&state, PERIOD_START + DAY).unwrap().0, "starter");
    state.invoices[0].status = InvoiceStatus::Paid;
    assert_eq!(entitlement(&state, PERIOD_START + DAY).unwrap().0, "professional");
}

#[test]
fn a_paid_period_stays_when_unpaid_changes_credited_it() {
    let mut state = paid("active");
    state.invoices[0].lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    let (year, month) = (PERIOD_START + 365 * DAY, PERIOD_END + DAY);
    // First to a year, which is not paid. Then to a lower plan, paid only by the credit for the
    // unpaid year. Then back.
    let to_year =
        [line("price_pro_monthly", PERIOD_END, -4800), line("price_pro_yearly", year, 49000)];
    let lower =
        [line("price_pro_yearly", year, -49000), line("price_starter_monthly", month, 1900)];
    let back =
        [line("price_starter_monthly", month, -1900), line("price_pro_monthly", month, 4900)];
    state.invoices.push(change("in_2", InvoiceStatus::Open, 0, to_year));
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 1, lower));
    state.invoices.push(change("in_4", InvoiceStatus::Open, 2, back));
    state.subscriptions[0].items[0].period_end = Some(at(month));
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
}

#[test]
fn the_rest_of_a_higher_plan_does_not_shorten_a_lower_one_that_was_paid() {
    let mut state = paid("active");
    state.invoices[0].lines = vec![line("price_pro_monthly", PERIOD_END, 4900)];
    let year = PERIOD_START + 365 * DAY;
    // A downgrade within the month, for which Stripe bills nothing, and then to a year of that
    // plan.
    let to_year = [
        line("price_starter_monthly", PERIOD_END, -1800),
        line("price_starter_yearly", year, 19000),
    ];
    state.invoices.push(change("in_2", InvoiceStatus::Paid, 0, to_year));
    let item = &mut state.subscriptions[0].items[0];
    (item.price, item.period_end) = ("price_starter_yearly".into(), Some(at(year)));
    assert_eq!(entitlement(&state, NOW), Some(("starter".into(), year, Some(year + 7 * DAY))));
}

#[test]
fn the_last_of_several_changes_in_one_second_counts() {
    let mut state = paid("active");
    state.invoices[0].lines = vec![line("price_starter_monthly", PERIOD_END, 1900)];
    let swap = |from: &str, to: &str| [line(from, PERIOD_END, -1800), line(to, PERIOD_END, 4800)];
    let (starter, pro) = ("price_starter_monthly", "price_pro_monthly");
    // The order of the ids has no meaning.
    state.invoices.push(change("in_9", InvoiceStatus::Paid, 0, swap(starter, pro)));
    state.invoices.push(change("in_3", InvoiceStatus::Paid, 0, swap(pro, starter)));
    state.invoices.push(change("in_5", InvoiceStatus::Paid, 0, swap(starter, pro)));
    assert_eq!(entitlement(&state, NOW), professional(PERIOD_END, Some(PERIOD_END + 7 * DAY)));
    state.subscriptions[0].status = Status::PastDue;
    state.invoices.push(change("in_1", InvoiceStatus::Paid, 0, swap(pro, starter)));
    assert_eq!(entitlement(&state, NOW).unwrap().0, "starter");
}
