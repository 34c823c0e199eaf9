//! A table of what was paid before and after, and the mail that a settlement sends about it.

use super::*;
use crate::domain::sale::subscription::Status;

/// Returns a subscription to so many seats of `team`, at this price, paid until `end`.
fn seats(status: &str, units: u32, end: i64) -> StripeState {
    let mut subscription = subscription("sub_1", status, &["price_team_month"]);
    subscription.items[0].quantity = Some(units);
    (subscription.items[0].period_start, subscription.items[0].period_end) =
        (Some(at(end - MONTH)), Some(at(end)));
    let line = Line { quantity: Some(units), ..line("price_team_month", end, 1000) };
    let paid = invoice(&format!("in_{end}"), &subscription, InvoiceStatus::Paid, end);
    StripeState {
        invoices: vec![Invoice { lines: vec![line], ..paid }],
        subscriptions: vec![subscription],
        ..StripeState::default()
    }
}

/// Returns single payments for one unit of each of these prices.
fn once(prices: &[&str]) -> StripeState {
    let session = |(number, price): (usize, &&str)| PaidSession {
        payment_intent: Some(format!("pi_{number}").parse().unwrap()),
        ..paid_session(&format!("cs_{number}"), price)
    };
    let paid_sessions = prices.iter().enumerate().map(session).collect();
    StripeState { paid_sessions, ..StripeState::default() }
}

/// Returns a subscription that was paid for a year, by the month, and has ended.
fn year_of_team() -> StripeState {
    let mut year = seats("canceled", 1, PERIOD_END);
    year.subscriptions[0].created = at(PERIOD_END - 13 * MONTH);
    year.subscriptions[0].ended_at = Some(at(NOW));
    let month = |n| {
        let mut one = seats("canceled", 1, PERIOD_END - n * MONTH).invoices.remove(0);
        one.lines[0].id = format!("il_{n}");
        one
    };
    year.invoices = (0..13).map(month).collect();
    year
}

/// Returns the mails about a state at Stripe that follows another one, which was settled at its
/// time. `None` is a customer who was linked by a purchase, and has neither a password nor a
/// license.
fn mails(before: Option<(i64, StripeState)>, after: &StripeState) -> Vec<Kind> {
    let record = match before {
        None => Record { has_password: false, ..record() },
        Some((then, before)) => {
            let trial = with_license(record(), Source::Trial, "trial", Some(PERIOD_END));
            apply(trial.clone(), &settle_by(selling(), &trial, &before, then), at(then))
        }
    };
    let settlement = settle_by(selling(), &record, after, NOW);
    let mails = settlement.changes.iter().filter_map(|change| match change {
        Change::Mail { kind, .. } => Some(*kind),
        _ => None,
    });
    mails.collect()
}

#[test]
fn what_was_paid_of_a_subscription_before_and_after_decides_the_mail() {
    let five = || Some((NOW, seats("active", 5, PERIOD_END)));
    let earlier = || Some((PERIOD_START - DAY, seats("active", 5, PERIOD_START)));
    let now = |units| seats("active", units, PERIOD_END);
    let mut year = year_of_team();
    (year.subscriptions[0].status, year.subscriptions[0].ended_at) = (Status::Active, None);
    let mut ending = now(5);
    ending.subscriptions[0].cancel_at_period_end = true;
    let ended = seats("canceled", 5, PERIOD_END);
    for (what, before, after, expected) in [
        ("a first license", None, now(5), Kind::Bought),
        ("a subscription", Some((NOW, StripeState::default())), now(5), Kind::Upgrade),
        ("more seats", five(), now(8), Kind::QuantityChanged),
        ("fewer seats", five(), now(3), Kind::QuantityChanged),
        ("another period", earlier(), now(5), Kind::Renewal),
        ("more seats and another period", earlier(), now(8), Kind::Renewal),
        ("a scheduled end", five(), ending, Kind::Cancellation),
        ("an end within a year", five(), ended, Kind::Cancellation),
        ("the end after a paid year", Some((NOW, year)), year_of_team(), Kind::Fallback),
    ] {
        assert_eq!(mails(before, &after), [expected], "{what}");
    }
    assert_eq!(mails(five(), &now(5)), [], "nothing new");
}

#[test]
fn what_was_paid_once_before_and_after_decides_the_mail() {
    let bought = |prices: &[&str]| Some((NOW, once(prices)));
    let (studio, updates, pdf) = ("price_studio_once", "price_studio_updates", "price_pdf_once");
    let team = seats("active", 5, PERIOD_END);
    let beside = StripeState { paid_sessions: once(&[studio]).paid_sessions, ..team.clone() };
    for (what, before, after, expected) in [
        ("a first license", None, once(&[studio]), Kind::Bought),
        ("a purchase", Some((NOW, StripeState::default())), once(&[studio]), Kind::Upgrade),
        ("a higher plan than the subscription's", Some((NOW, team)), beside, Kind::Upgrade),
        ("updates", bought(&[studio]), once(&[studio, updates]), Kind::UpdatesExtended),
        ("an add-on", bought(&[studio]), once(&[studio, pdf]), Kind::QuantityChanged),
    ] {
        assert_eq!(mails(before, &after), [expected], "{what}");
    }
    assert_eq!(mails(bought(&[studio, updates]), &once(&[studio, updates])), [], "nothing new");
}
