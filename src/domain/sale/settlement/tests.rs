//! Tests of settlements, without a database: tables of when licenses are replaced, revoked and
//! restored, and which mail is sent. Orders are in `orders`, property tests in `properties`,
//! closed invoices in `closed_invoices`, that nothing paid or granted is lost in `holds`, which
//! mail a payment causes in `mails`, and payments for prices that the plans file lacks in
//! `unknown`.

mod closed_invoices;
mod holds;
mod mails;
mod orders;
mod properties;
mod unknown;

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::domain::license::grant::tests::license as sample;
use crate::domain::license::{Extras, RevocationReason, Term};
use crate::domain::sale::entitlement::tests::{
    DAY, MONTH, NOW, PERIOD_END, PERIOD_START, at, catalog, invoice, line, paid, selling,
    subscription, unpaid_renewal,
};
use crate::domain::sale::invoice::{Invoice, InvoiceStatus, Line, OrderStatus, Payment};
use crate::domain::sale::stripe_state::{PaidSession, SessionTotal};

/// The next id. Ids are unique within a test run.
static NEXT_ID: AtomicU64 = AtomicU64::new(1000);

/// Returns a customer that is linked to a Stripe customer and has nothing else.
fn record() -> Record {
    Record {
        customer: Customer {
            customer_id: "cust_00000000000000000000000000000001".parse().unwrap(),
            user_id: "user_00000000000000000000000000000001".parse().unwrap(),
            email: "ada@example.com".parse().unwrap(),
            name: None,
            company_name: None,
            language: None,
            stripe_customer_id: Some("cus_1".parse().unwrap()),
            stripe_sync_status: None,
            stripe_closed_invoice_id: None,
            email_verified_at: None,
            pending_email: None,
            reset_required_at: None,
            created_at: at(0),
            updated_at: at(0),
        },
        subscription: None,
        orders: Vec::new(),
        current_license: None,
        paid_licenses: Vec::new(),
        last_grant: None,
        accepted_losses: AcceptedLosses::default(),
        has_password: true,
        had_trial: false,
        sent_notices: BTreeSet::new(),
    }
}

/// Returns the record after a license was issued, which supersedes the current one.
fn with_license(mut record: Record, source: Source, plan: &str, expires: Option<i64>) -> Record {
    let seq = record.current_license.as_ref().map_or(1, |license| license.seq + 1);
    let term = Term { expires: expires.map(at), grace_until: None };
    let id = LicenseId::from_random(seq.unsigned_abs().into());
    hold(&mut record, license(id, seq, source, plan, term), at(NOW));
    record
}

fn license(id: LicenseId, seq: i64, source: Source, plan: &str, term: Term) -> IssuedLicense {
    IssuedLicense {
        license_id: id,
        customer_id: record().customer.customer_id,
        seq,
        issued_at: at(PERIOD_START),
        token_expires_at: at(PERIOD_END),
        expires_at: term.expires,
        grace_until: term.grace_until,
        ..sample(source, plan, None)
    }
}

/// Returns the license that is issued for an entitlement.
fn license_for(id: LicenseId, seq: i64, entitlement: &Entitlement<'_>) -> IssuedLicense {
    let (plan, term) = (entitlement.plan.id.as_str(), entitlement.term);
    IssuedLicense {
        basis: entitlement.basis,
        quantity: entitlement.quantity,
        addons: entitlement.addon_ids(),
        updates_until: entitlement.updates_until,
        extras: entitlement.extras.clone(),
        ..license(id, seq, entitlement.source, plan, term)
    }
}

/// Makes a license the current one.
fn hold(record: &mut Record, license: IssuedLicense, now: Timestamp) {
    for former in &mut record.paid_licenses {
        former.superseded_at.get_or_insert(now);
    }
    match license.source {
        Source::Paid => record.paid_licenses.push(license.clone()),
        Source::Operator => record.last_grant = Some(license.clone()),
        Source::Trial => {}
    }
    record.current_license = Some(license);
}

/// Returns the record after the settlement was applied, like the flow does.
fn apply(mut record: Record, settlement: &Settlement<'_>, now: Timestamp) -> Record {
    for change in &settlement.changes {
        match change {
            Change::Subscription { after, .. } => record.subscription = Some(after.clone()),
            Change::DeleteOrder(id) => record.orders.retain(|order| order.order_id != *id),
            Change::Order { after, .. } => {
                record.orders.retain(|order| order.order_id != after.order_id);
                record.orders.push((**after).clone());
            }
            Change::Issue { license_id, entitlement } => {
                let seq = record.current_license.as_ref().map_or(1, |license| license.seq + 1);
                hold(&mut record, license_for(license_id.clone(), seq, entitlement), now);
            }
            Change::Revoke(revoked) => {
                let id = &revoked.license_id;
                record.paid_licenses.retain(|license| license.license_id != *id);
                let current = record.current_license.as_mut();
                if let Some(current) = current.filter(|license| license.license_id == *id) {
                    current.revoked_at = Some(now);
                }
                record.last_grant = record.last_grant.filter(|license| license.license_id != *id);
            }
            Change::Mail { .. } => {}
            Change::FirstTrial => record.had_trial = true,
            Change::Notice { notice, .. } => {
                record.sent_notices.insert(notice.key());
            }
            Change::Unlink(_) => record.customer.stripe_customer_id = None,
        }
    }
    record.paid_licenses.retain(|license| license.works(now));
    record
}

fn settle_at(record: &Record, state: &StripeState, now: i64) -> Settlement<'static> {
    settle_by(catalog(), record, state, now)
}

/// Returns the settlement by this catalog.
fn settle_by(
    catalog: Catalog,
    record: &Record,
    state: &StripeState,
    now: i64,
) -> Settlement<'static> {
    // The catalog and the state outlive the test.
    let catalog: &'static Catalog = Box::leak(Box::new(catalog));
    let state: &'static StripeState = Box::leak(Box::new(state.clone()));
    settle(record, state, catalog, at(now), || NEXT_ID.fetch_add(1, Ordering::Relaxed).into())
}

/// Returns a paid session for one unit of a price, without an invoice.
fn paid_session(id: &str, price: &str) -> PaidSession {
    PaidSession {
        id: id.parse().unwrap(),
        created: at(NOW - DAY),
        total: SessionTotal { amount: 30_000, currency: "usd".into(), ..SessionTotal::default() },
        lines: vec![Line { period_start: None, period_end: None, ..line(price, 0, 30_000) }],
        payment_intent: Some("pi_1".parse().unwrap()),
        payment: Payment::Unremarkable,
        returned: 0,
        charged_at: None,
        receipt_url: None,
    }
}

/// Returns the plan of the license that a settlement issues, the number of licenses that it
/// revokes, and the kind of its mail.
fn outcome(record: &Record, state: &StripeState) -> (Option<String>, usize, Option<Kind>) {
    outcome_at(record, state, NOW)
}

fn outcome_at(
    record: &Record,
    state: &StripeState,
    now: i64,
) -> (Option<String>, usize, Option<Kind>) {
    let settlement = settle_at(record, state, now);
    let changes = || settlement.changes.iter();
    let issued = changes().find_map(|change| match change {
        Change::Issue { entitlement, .. } => Some(entitlement.plan.id.to_string()),
        _ => None,
    });
    let mail = changes().find_map(|change| match change {
        Change::Mail { kind, .. } => Some(*kind),
        _ => None,
    });
    (issued, changes().filter(|change| matches!(change, Change::Revoke(_))).count(), mail)
}

/// Returns a customer with a paid license that replaced a trial, and with a current subscription.
fn subscriber(state: &StripeState) -> Record {
    let trial = with_license(record(), Source::Trial, "trial", Some(PERIOD_END));
    let record = apply(trial.clone(), &settle_at(&trial, state, NOW), at(NOW));
    assert_eq!(record.current_license.as_ref().unwrap().source, Source::Paid);
    record
}

#[test]
fn a_first_payment_issues_a_license_an_order_and_one_mail() {
    let trial = with_license(record(), Source::Trial, "trial", Some(PERIOD_END));
    let settlement = settle_at(&trial, &paid("active"), NOW);
    let kinds = settlement.changes.iter().map(|change| match change {
        Change::Subscription { after, .. } => after.status.to_string(),
        Change::Order { before: None, after } => after.status.to_string(),
        Change::Issue { entitlement, .. } => entitlement.plan.id.to_string(),
        Change::Mail { kind, .. } => kind.to_string(),
        other => panic!("{other:?}"),
    });
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, ["active", "succeeded", "professional", "upgrade"]);
    assert!(settlement.alerts.is_empty() && !settlement.needs_action);
}

#[test]
fn each_state_at_stripe_decides_about_a_paid_license() {
    let mut ending = paid("active");
    ending.subscriptions[0].cancel_at_period_end = true;
    let mut deleted = paid("active");
    deleted.is_deleted = true;
    let mut other_price = paid("active");
    other_price.subscriptions[0].items[0].price = "price_gone".into();
    let issued = |plan: &str| Some(plan.to_owned());
    for (what, state, expected) in [
        ("nothing changed", paid("active"), (None, 0, None)),
        ("canceled immediately", paid("canceled"), (None, 1, Some(Kind::Cancellation))),
        ("unpaid", paid("unpaid"), (None, 1, Some(Kind::Cancellation))),
        ("paused", paid("paused"), (None, 1, Some(Kind::PaymentProblem))),
        ("scheduled end", ending, (issued("professional"), 0, Some(Kind::Cancellation))),
        ("deleted at Stripe", deleted, (None, 1, Some(Kind::Cancellation))),
        ("unknown status", paid("odd"), (None, 0, None)),
        ("unknown price", other_price, (None, 0, None)),
    ] {
        assert_eq!(outcome(&subscriber(&paid("active")), &state), expected, "{what}");
    }
}

#[test]
fn a_late_payment_for_an_ended_subscription_is_not_announced_as_a_renewal_stripe_22() {
    let record = with_license(record(), Source::Paid, "professional", Some(PERIOD_START));
    let mut state = unpaid_renewal("canceled");
    state.subscriptions[0].ended_at = Some(at(PERIOD_START + 3 * DAY));
    state.invoices[0].status = InvoiceStatus::Paid;
    state.invoices[0].paid_at = Some(at(PERIOD_START + 5 * DAY));
    let issued = (Some("professional".to_owned()), 0, Some(Kind::Granted));
    assert_eq!(outcome(&record, &state), issued);
}

#[test]
fn a_renewal_issues_a_license_and_a_failed_payment_sends_a_mail() {
    let now = PERIOD_START + DAY;
    let record = with_license(record(), Source::Paid, "professional", Some(PERIOD_START));
    let due = unpaid_renewal("active");
    let professional = Some("professional".to_owned());
    let pending = (professional.clone(), 0, Some(Kind::PaymentPending));
    assert_eq!(outcome_at(&record, &due, now), pending);
    let record = apply(record.clone(), &settle_at(&record, &due, now), at(now));
    let renewed = (professional, 0, Some(Kind::Renewal));
    assert_eq!(outcome_at(&record, &paid("active"), now), renewed);
    let failed = outcome_at(&record, &unpaid_renewal("past_due"), now);
    assert_eq!(failed, (None, 0, Some(Kind::PaymentProblem)));
    let given_up = outcome_at(&record, &unpaid_renewal("unpaid"), now);
    assert_eq!(given_up, (None, 1, Some(Kind::Cancellation)));
}

#[test]
fn a_lower_plan_revokes_the_licenses_of_a_higher_one() {
    let record = subscriber(&paid("active"));
    let mut lower = paid("active");
    lower.subscriptions[0].items[0].price = "price_starter_monthly".into();
    let issued = Some("starter".to_owned());
    assert_eq!(outcome(&record, &lower), (issued, 1, Some(Kind::LowerPlan)));
}

#[test]
fn a_grant_stays_if_it_is_worth_more_and_is_restored_after_the_last_paid_license() {
    let forever = with_license(record(), Source::Operator, "professional", None);
    assert_eq!(outcome(&forever, &paid("active")), (None, 0, None), "worth more");
    let short = with_license(record(), Source::Operator, "professional", Some(NOW + DAY));
    let issued = Some("professional".to_owned());
    assert_eq!(outcome(&short, &paid("active")), (issued.clone(), 0, Some(Kind::Upgrade)));
    let state = paid("active");
    let paid_since = apply(short.clone(), &settle_at(&short, &state, NOW), at(NOW));
    let restored = outcome(&paid_since, &paid("canceled"));
    assert_eq!(restored, (issued, 1, Some(Kind::Granted)), "it still works for a day");
}

#[test]
fn a_trial_stays_while_nothing_is_paid() {
    let trial = with_license(record(), Source::Trial, "trial", Some(PERIOD_END));
    for status in ["incomplete", "incomplete_expired", "canceled", "paused"] {
        assert_eq!(outcome(&trial, &paid(status)), (None, 0, None), "{status}");
    }
}

/// Returns the kind of the mail of a settlement, and the amount of the order that it reports.
fn mail_and_payment(record: &Record, state: &StripeState) -> Option<(Kind, Option<i64>)> {
    mail_and_payment_at(record, state, NOW)
}

fn mail_and_payment_at(
    record: &Record,
    state: &StripeState,
    now: i64,
) -> Option<(Kind, Option<i64>)> {
    let settlement = settle_at(record, state, now);
    let after = apply(record.clone(), &settlement, at(now));
    settlement.changes.iter().find_map(|change| match change {
        Change::Mail { kind, order_id, .. } => {
            let own = after.orders.iter().find(|order| Some(&order.order_id) == order_id.as_ref());
            Some((*kind, own.map(|order| order.amount)))
        }
        _ => None,
    })
}

#[test]
fn one_mail_reports_a_license_and_its_payment_stripe_8() {
    let just_paid = |status: &str| {
        let mut state = paid(status);
        state.invoices[0].paid_at = Some(at(NOW - DAY));
        state
    };
    let trial = with_license(record(), Source::Trial, "trial", Some(PERIOD_END));
    let upgrade = mail_and_payment(&trial, &just_paid("active"));
    assert_eq!(upgrade, Some((Kind::Upgrade, Some(4900))));
    let paid_since = apply(trial.clone(), &settle_at(&trial, &just_paid("active"), NOW), at(NOW));
    assert_eq!(mail_and_payment(&paid_since, &just_paid("active")), None, "reported again");
    // No license follows from this payment.
    let grant = with_license(record(), Source::Operator, "professional", None);
    let receipt = mail_and_payment(&grant, &just_paid("active"));
    assert_eq!(receipt, Some((Kind::Receipt, Some(4900))));
    // A customer who is linked later has payments of former times.
    let mut long_ago = just_paid("active");
    long_ago.invoices[0].paid_at = Some(at(NOW - 8 * DAY));
    assert_eq!(mail_and_payment(&trial, &long_ago), Some((Kind::Upgrade, None)));
    assert_eq!(mail_and_payment(&grant, &long_ago), None);
    // The invoice that is not paid can be paid by a link.
    let due = with_license(record(), Source::Paid, "professional", Some(PERIOD_START));
    let problem = mail_and_payment_at(&due, &unpaid_renewal("past_due"), PERIOD_START + DAY);
    assert_eq!(problem, Some((Kind::PaymentProblem, Some(4900))));
}

#[test]
fn the_page_of_an_invoice_is_stored_with_another_change_only() {
    let mut state = paid("active");
    let url = |n: u32| Some(format!("https://invoice.stripe.com/i/{n}").parse().unwrap());
    state.invoices[0].url = url(1);
    let record = subscriber(&state);
    assert_eq!(record.orders[0].invoice_url, url(1));
    // URLs expire, so Stripe returns new ones.
    state.invoices[0].url = url(2);
    assert_eq!(settle_at(&record, &state, NOW).changes, []);
    state.invoices[0].payment = Payment::Refunded;
    let after = apply(record.clone(), &settle_at(&record, &state, NOW), at(NOW));
    assert_eq!(after.orders[0].invoice_url, url(2));
}

#[test]
fn a_deletion_at_stripe_is_settled_once_stripe_16() {
    let record = subscriber(&paid("active"));
    let gone = StripeState { is_deleted: true, ..StripeState::default() };
    let settlement = settle_at(&record, &gone, NOW);
    let unlinked = settlement.changes.iter().any(|change| matches!(change, Change::Unlink(_)));
    assert!(unlinked, "{settlement:?}");
    let after = apply(record, &settlement, at(NOW));
    assert_eq!(after.subscription.as_ref().unwrap().status, Status::Canceled);
    assert_eq!(settle_at(&after, &gone, NOW).changes, []);
}

#[test]
fn two_live_subscriptions_need_action_and_an_unknown_price_only_without_a_license_stripe_7() {
    let mut two = paid("active");
    let second = subscription("sub_2", "active", &["price_starter_monthly"]);
    two.invoices.push(invoice("in_9", &second, InvoiceStatus::Paid, PERIOD_END));
    two.subscriptions.push(second);
    assert!(settle_at(&record(), &two, NOW).needs_action);
    let mut unknown = paid("active");
    unknown.subscriptions[0].items[0].price = "price_gone".into();
    assert!(settle_at(&record(), &unknown, NOW).needs_action);
    let granted = with_license(record(), Source::Operator, "professional", None);
    let settlement = settle_at(&granted, &unknown, NOW);
    assert!(!settlement.needs_action && settlement.alerts.len() == 1);
}

/// Returns the license that the settlement issues: its source, plan and end.
fn issued(settlement: &Settlement<'_>) -> Option<(Source, String, Option<i64>)> {
    settlement.changes.iter().find_map(|change| match change {
        Change::Issue { entitlement, .. } => Some((
            entitlement.source,
            entitlement.plan.id.to_string(),
            entitlement.term.expires.map(Timestamp::epoch_seconds),
        )),
        _ => None,
    })
}

#[test]
fn a_license_that_an_operator_revoked_is_followed_only_by_a_payment() {
    let revoked_at = |time: i64, reason| {
        let mut record = with_license(record(), Source::Paid, "professional", Some(PERIOD_END));
        let license = record.current_license.as_mut().unwrap();
        (license.revoked_at, license.revocation_reason) = (Some(at(time)), Some(reason));
        record.paid_licenses.clear();
        record
    };
    let mut state = paid("active");
    state.invoices[0].paid_at = Some(at(PERIOD_START));
    let by_operator = revoked_at(PERIOD_START + DAY, RevocationReason::Operator);
    assert_eq!(issued(&settle_at(&by_operator, &state, NOW)), None);
    // One that was revoked because of a refund comes back with the entitlement.
    let by_refund = revoked_at(PERIOD_START + DAY, RevocationReason::Payment);
    assert!(issued(&settle_at(&by_refund, &state, NOW)).is_some());
    // The next payment brings a new one, whatever its period.
    state.invoices[0].paid_at = Some(at(PERIOD_START + 2 * DAY));
    let new = issued(&settle_at(&by_operator, &state, NOW));
    assert_eq!(new, Some((Source::Paid, "professional".into(), Some(PERIOD_END))));
}

#[test]
fn days_after_a_paid_term_end_with_the_payment_until_the_term_has_ended() {
    let extended = |paid_until: i64| {
        let end = Some(PERIOD_END + 14 * DAY);
        let mut record = with_license(record(), Source::Operator, "professional", end);
        let extras = Extras { paid_until: Some(at(paid_until)), ..Extras::default() };
        record.current_license.as_mut().unwrap().extras = extras.clone();
        record.last_grant.as_mut().unwrap().extras = extras;
        record
    };
    let revokes = |record: &Record, state: &StripeState| {
        let settlement = settle_at(record, state, NOW);
        assert_eq!(issued(&settlement), None);
        settlement.changes.iter().any(|change| matches!(change, Change::Revoke(_)))
    };
    assert!(!revokes(&extended(PERIOD_END), &paid("active")));
    assert!(revokes(&extended(PERIOD_END), &paid("canceled")));
    assert!(!revokes(&extended(NOW), &paid("canceled")), "the paid term has ended");
    let settlement = settle_at(&extended(PERIOD_END), &paid("canceled"), NOW);
    let mail = settlement
        .changes
        .iter()
        .any(|change| matches!(change, Change::Mail { kind: Kind::Cancellation, .. }));
    assert!(mail, "the customer is told");
}

#[test]
fn a_perpetual_license_after_a_grant_or_a_trial_is_not_mailed_as_after_a_subscription() {
    let payment = invoice_of_once();
    let state = StripeState { invoices: vec![payment], ..StripeState::default() };
    for (source, expected) in [
        (Source::Operator, Kind::Granted),
        (Source::Trial, Kind::Granted),
        (Source::Paid, Kind::PerpetualAgain),
    ] {
        let settled = settle_by(selling(), &record(), &state, NOW);
        let bought = apply(record(), &settled, at(NOW));
        let ended = with_license(bought, source, "site", Some(NOW - DAY));
        let settled = settle_by(selling(), &ended, &state, NOW);
        let kind = settled.changes.iter().find_map(|change| match change {
            Change::Mail { kind, .. } => Some(*kind),
            _ => None,
        });
        assert_eq!(kind, Some(expected), "{source:?}");
    }
}

/// Returns the paid invoice of a single payment for a plan.
fn invoice_of_once() -> Invoice {
    let of = subscription("sub_x", "active", &[]);
    let once = line("price_studio_once", PERIOD_END, 30_000);
    Invoice {
        subscription: None,
        lines: vec![Line { period_start: None, period_end: None, ..once }],
        ..invoice("in_once", &of, InvoiceStatus::Paid, PERIOD_START)
    }
}
