//! The invariants A to G, which must hold when everything has settled. They are listed in
//! README.md. The entitlements from payments are computed in `truth`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use chrono::TimeDelta;
use licentia::domain::ids::CustomerId;
use licentia::domain::license::{Basis, IssuedLicense, Phase, Source};
use licentia::domain::operator::webhook_delivery::LeasedDelivery;
use licentia::domain::outbox::LeasedMail;
use licentia::domain::page::PageRequest;
use licentia::domain::retry;
use licentia::domain::sale::inbox::LeasedEvent;
use licentia::domain::sale::webhook::EVENT_TYPES;
use licentia::domain::time::Timestamp;
use licentia::error::Result;
use licentia::flows::operator::customers;
use licentia_verify::Rejection;

use crate::account_checks;
use crate::comparison;
use crate::database::{self, Item};
use crate::history::History;
use crate::invoices::Invoice;
use crate::mails;
use crate::people::Person;
use crate::truth::{self, Due, Truth};
use crate::unit_checks;
use crate::units::Paid;
use crate::webhooks;

/// Events are kept for 35 days, so those of the last 30 must be stored.
const KEPT: i64 = 30 * 86_400;

/// More licenses than a customer gets in a history.
pub const MANY: i64 = 10_000;

/// The largest error of a server's clock, in seconds.
pub const WRONG_CLOCK: i64 = 60;

/// The least attempts before work is given up.
const LEAST_TRIES: i64 = 20;

/// The newest entries of a customer's timeline that the trace of a violation has.
const SHOWN: usize = 60;

/// The largest age of work, when the faults stop, that must be done within a minute or two. In
/// seconds.
const FRESH: i64 = 3000;

/// Whether any work is due now.
pub async fn work_is_due(history: &History) -> Result<bool> {
    let now = Timestamp::saturating(history.latest_clock());
    let mut tx = history.ground.store.read().await?;
    Ok(tx.has_due::<LeasedEvent>(now).await?
        || tx.has_due::<LeasedMail>(now).await?
        || tx.has_due::<LeasedDelivery>(now).await?)
}

/// Whether any work is left, due now or later.
pub async fn work_is_left(history: &History) -> Result<bool> {
    Ok(database::undone(&history.ground.store).await? > 0)
}

/// Returns how many events were given up.
pub async fn given_up(history: &History) -> Result<usize> {
    let events = database::events(&history.ground.store).await?;
    Ok(events.iter().filter(|event| event.given_up_at.is_some()).count())
}

/// Returns every event and every mail.
async fn items(history: &History) -> Result<Vec<Item>> {
    let mut items = database::events(&history.ground.store).await?;
    let mails = database::mails(&history.ground.store).await?;
    items.extend(mails.into_iter().map(|(mail, _)| mail));
    Ok(items)
}

/// Whether the updates of somebody's license have ended: what else they paid may count from now on.
pub async fn updates_have_ended(history: &History) -> Result<bool> {
    let now = Timestamp::saturating(history.latest_clock());
    let mut tx = history.ground.store.read().await?;
    for id in history.people.iter().filter_map(|person| person.customer_id.as_ref()) {
        let license = tx.current_license(id).await?;
        let until = license.and_then(|license| license.updates_until);
        if history.sells && until.is_some_and(|until| until <= now) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that recent work is done within a minute or two after the faults stop.
pub async fn fresh_work_is_done(history: &mut History, since: i64) -> Result<()> {
    for item in items(history).await? {
        if item.is_open() && item.since > since - FRESH {
            let Item { id, kind, last_error, .. } = item;
            let late = format!("{id} {kind}: {last_error:?}");
            history.violation(format!("not done two minutes after the faults ended: {late}"));
        }
    }
    Ok(())
}

/// Checks that work is given up only after days and many attempts (A, C), or when the mail server
/// refused a mail permanently.
async fn given_up_late(history: &mut History) -> Result<()> {
    let refused =
        history.world.refused_mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for item in items(history).await? {
        let Some(at) = item.given_up_at else { continue };
        if refused.contains(&item.id) {
            continue;
        }
        let age = at - item.since;
        if age < retry::GIVE_UP_AFTER.num_seconds() - 2 * WRONG_CLOCK || item.attempts < LEAST_TRIES
        {
            let Item { id, kind, attempts, .. } = item;
            let what = format!("{id} {kind} was given up after {age} s and {attempts} tries");
            history.violation(what);
        }
    }
    Ok(())
}

/// Checks all invariants.
pub async fn everything(history: &mut History) -> Result<()> {
    if work_is_left(history).await? {
        history.violation("work is left that nobody does".to_owned());
    }
    let orders = orders(history).await?;
    if history.changes {
        history.note_claimed().await?;
        history.meet_buyers().await?;
        history.no_guest_is_missed().await?;
    }
    for who in 0..history.people.len() {
        person(history, who, &orders).await?;
    }
    if history.changes {
        history.no_second_trial();
    }
    given_up_late(history).await?;
    account_checks::all(history).await?;
    webhooks::all(history).await?;
    mails::all(history).await?;
    acknowledged(history).await?;
    comparison::finds_nothing(history).await?;
    comparison::nothing_drifts(history).await
}

/// The statuses of each invoice's orders.
type Orders = BTreeMap<String, Vec<String>>;

async fn orders(history: &History) -> Result<Orders> {
    let mut of_invoices = Orders::new();
    for (_, invoice, status) in database::orders(&history.ground.store).await? {
        if let Some(invoice) = invoice {
            of_invoices.entry(invoice).or_default().push(status);
        }
    }
    Ok(of_invoices)
}

async fn person(history: &mut History, who: usize, orders: &Orders) -> Result<()> {
    let Some(id) = history.people[who].customer_id.clone() else { return Ok(()) };
    let mut tx = history.ground.store.read().await?;
    let customer = tx.customer(&id).await?;
    let licenses = tx.licenses_of(&id, i64::MAX, MANY).await?;
    drop(tx);
    let counterparts = history.list("/v1/customers", "");
    let counterparts: Vec<String> = counterparts
        .iter()
        .filter(|found| found["metadata"]["customer_id"] == id.as_str())
        .map(crate::people::id_of)
        .collect();
    let Person { leaving, deleted: left, by_hand, sold_by_hand, helped, .. } = history.people[who];
    if counterparts.len() > 1 && !by_hand {
        history.violation(format!("{who} has several customers at Stripe: {counterparts:?}"));
    }
    let linked = customer.as_ref().and_then(|customer| customer.stripe_customer_id.as_ref());
    let linked = linked.map(ToString::to_string);
    // A Stripe customer or a sale that the vendor created counts from the time that it is linked.
    let own = if by_hand || sold_by_hand { linked.as_ref() } else { counterparts.first() };
    let truth = own.map(|stripe_id| Truth::of(history, stripe_id));
    if customer.is_none() {
        if !leaving {
            history.violation(format!("D: {who} was told to be {id}, and is not there"));
        }
        deleted(history, who, truth.as_ref());
        return Ok(());
    };
    if left {
        history.violation(format!("D: {who} was told to be deleted, and is there"));
    }
    let is_named = |linked: &String| {
        // A server may die between the creation of the account and that of the name at Stripe.
        counterparts.contains(linked) || history.people[who].bought_first
    };
    if linked.as_ref().is_some_and(|linked| Some(linked) != own || !is_named(linked)) {
        history
            .violation(format!("{who} is linked to {linked:?}, and Stripe has {counterparts:?}"));
    }
    let violations = history.ending.violations.len();
    sessions(history, who, own);
    series(history, who, &id, &licenses);
    if history.sells {
        units(history, who, &licenses, truth.as_ref().zip(own));
    }
    if !helped {
        entitlement(history, who, licenses.first(), truth.as_ref());
    }
    for invoice in truth.iter().flat_map(Truth::all_invoices) {
        ordered(history, who, invoice, orders);
    }
    let former = history.people[who].former.clone();
    let former = former.iter().map(|stripe_id| Truth::of(history, stripe_id));
    let truths: Vec<Truth> = former.chain(truth).collect();
    for license in &licenses {
        was_paid(history, who, license, &truths);
    }
    for license in &licenses {
        verifies(history, who, license);
    }
    if history.ending.violations.len() > violations {
        truth::show(history, &truths);
        show_record(history, &id).await?;
    }
    Ok(())
}

/// Writes what the service knows of a customer into the trace.
pub async fn show_record(history: &mut History, id: &CustomerId) -> Result<()> {
    let app = history.servers[0].app.clone();
    let reasons = customers::why(&app, id).await?.reasons;
    let newest = PageRequest { after: None, limit: SHOWN };
    let timeline = customers::timeline(&app, id, &newest).await?;
    for reason in reasons {
        history.tell(|| format!("  why: {} {}", reason.at, reason.text));
    }
    for entry in timeline.entries.into_iter().rev() {
        history.tell(|| format!("  {} {}", entry.at, entry.text));
    }
    Ok(())
}

/// Checks what all licenses say beside the plan and the time.
fn units(
    history: &mut History,
    who: usize,
    licenses: &[IssuedLicense],
    stripe: Option<(&Truth, &String)>,
) {
    let paid = stripe.map(|(truth, stripe_id)| (truth, Paid::of(history, truth, stripe_id)));
    if let Some((truth, paid)) = &paid {
        unit_checks::current(history, who, licenses.first(), (truth, paid));
    }
    let paid: Vec<Paid> = paid.into_iter().map(|(_, paid)| paid).collect();
    let says = |license: &IssuedLicense| {
        (license.plan.clone(), license.quantity, license.addons.clone(), license.updates_until)
    };
    for (place, license) in licenses.iter().enumerate() {
        // A refresh says the same again, perhaps before the service hears of a change.
        let is_refresh = licenses.get(place + 1).is_some_and(|older| says(older) == says(license));
        if !is_refresh {
            unit_checks::ever(history, who, license, &paid);
        }
    }
}

/// Checks that a deleted customer is not charged any more.
fn deleted(history: &mut History, who: usize, truth: Option<&Truth>) {
    let live = truth.into_iter().flat_map(|truth| &truth.subscriptions);
    let live: Vec<_> = live
        .filter(|s| !matches!(s["status"].as_str(), Some("canceled" | "incomplete_expired")))
        .map(crate::people::id_of)
        .collect();
    if !live.is_empty() {
        history.violation(format!("{who} was deleted, and is still charged by {live:?}"));
    }
}

/// Checks that a customer has at most one open Checkout session.
fn sessions(history: &mut History, who: usize, stripe_id: Option<&String>) {
    let Some(stripe_id) = stripe_id else { return };
    let query = format!("customer={stripe_id}&status=open");
    let open = history.list("/v1/checkout/sessions", &query).len();
    if open > 1 {
        history.violation(format!("{who} has {open} open checkouts"));
    }
}

/// Checks that there is one current license, that the numbers have no gap, and that no license
/// repeats the previous one (A, E).
fn series(history: &mut History, who: usize, id: &CustomerId, licenses: &[IssuedLicense]) {
    let current = licenses.iter().filter(|license| license.superseded_at.is_none()).count();
    // An account whose address has had a trial begins without a license, and one that follows from
    // a purchase has none before the payment.
    let may_have_none = history.has_accounts || history.people[who].bought_first;
    let has_none = may_have_none && licenses.is_empty();
    if current != 1 && !has_none {
        history.violation(format!("A: {who} ({id}) has {current} current licenses"));
    }
    for (place, license) in licenses.iter().rev().enumerate() {
        if license.seq != i64::try_from(place + 1).unwrap_or(0) {
            history.violation(format!(
                "E: {who}: the license {} is numbered {}",
                place + 1,
                license.seq
            ));
        }
    }
    for pair in licenses.windows(2) {
        let [newer, older] = pair else { continue };
        let says = |license: &IssuedLicense| {
            let bought = (license.quantity, license.addons.clone(), license.updates_until);
            (license.source, license.plan.clone(), license.term(), bought)
        };
        let refreshed = older.is_half_used(newer.issued_at)
            || older.is_of_former_key(&newer.key_id, newer.issued_at);
        // The two times may be from different servers' clocks.
        let taken_back = older
            .revoked_at
            .is_some_and(|at| at <= newer.issued_at + TimeDelta::seconds(2 * WRONG_CLOCK));
        let helped = history.people[who].helped;
        if says(newer) == says(older) && !refreshed && !taken_back && !helped {
            let (newer, older) = (newer.seq, older.seq);
            history.violation(format!("E: {who}: license {newer} says what {older} said"));
        }
    }
}

/// Checks that the license matches the payments: not less (A) and not more (B).
fn entitlement(
    history: &mut History,
    who: usize,
    held: Option<&IssuedLicense>,
    truth: Option<&Truth>,
) {
    let now = history.world.now();
    let catalog = history.ground.plans.clone();
    let works = |license: &&IssuedLicense| {
        let phase = license.term().phase(Timestamp::saturating(now));
        license.revoked_at.is_none() && phase != Phase::Over
    };
    let held = held.filter(works);
    let shown = held.map(|l| (l.seq, l.plan.clone(), l.source, l.expires_at, l.grace_until));
    // Credits that are carried over may pay for what nobody paid: then the least is uncertain.
    let certain = truth.filter(|truth| !history.sells || !truth.owes_anything());
    let due = certain.and_then(|truth| truth.due(&catalog, now));
    let bridged = certain.and_then(|truth| truth.bridged(&catalog, now));
    let ends = |time: Option<Timestamp>| time.map_or(i64::MAX, Timestamp::epoch_seconds);
    // With two subscriptions, the higher plan applies while it works, including its grace period,
    // or else the one with more units.
    let has_units = history.sells;
    let reaches = |license: &IssuedLicense, due: &Due, until: i64| {
        let rank = catalog.rank(&license.plan);
        let is_another = !due.alone && (rank > due.rank || has_units);
        rank >= due.rank && (until >= due.until || is_another)
    };
    if let Some(grace) = bridged.filter(|_| due.is_none()) {
        let enough = |license| reaches(license, &grace, ends(license.term().ends()));
        if !held.is_some_and(enough) {
            history.violation(format!("A: {who} has the grace {grace:?} and {shown:?} at {now}"));
        }
    }
    if let Some(due) = due {
        let enough = |license: &IssuedLicense| {
            let term = license.term();
            let until = if due.alone { license.expires_at } else { term.ends() };
            reaches(license, &due, ends(until))
        };
        if !held.is_some_and(enough) {
            history.violation(format!("A: {who} paid for {due:?} and has {shown:?} at {now}"));
        }
    }
    // `unit_checks` checks perpetual licenses, by their updates.
    let is_for_a_time = |license: &&IssuedLicense| {
        license.source == Source::Paid && license.basis == Basis::Subscription
    };
    let Some(license) = held.filter(is_for_a_time) else {
        return;
    };
    let rank = catalog.rank(&license.plan);
    let until = license.expires_at.map_or(i64::MAX, Timestamp::epoch_seconds);
    let grace = license.grace_until.map_or(until, Timestamp::epoch_seconds);
    let allowed = truth.is_some_and(|truth| {
        truth.allows(&catalog, rank, until) && grace <= truth.latest_grace(&catalog, now).max(until)
    });
    if !allowed {
        history.violation(format!("B: {who} has {shown:?} at {now}, which was not paid"));
    }
    if let Some(due) = due.filter(|due| due.alone)
        && rank > due.rank
        && until > now
    {
        history.violation(format!("B: {who} paid for {due:?} and has {shown:?} at {now}"));
    }
}

/// Checks that every license was paid for when it was issued, even if the money was returned later
/// (B).
fn was_paid(history: &mut History, who: usize, license: &IssuedLicense, truths: &[Truth]) {
    if license.source != Source::Paid || license.basis != Basis::Subscription {
        return;
    }
    let rank = history.ground.plans.rank(&license.plan);
    let until = license.expires_at.map_or(i64::MAX, Timestamp::epoch_seconds);
    let issued = license.issued_at.epoch_seconds() + WRONG_CLOCK;
    let plans = &history.ground.plans;
    if !truths.iter().any(|truth| truth.ever_paid(plans, rank, until, issued)) {
        let (seq, plan) = (license.seq, &license.plan);
        let what = format!("B: {who}: license {seq} ({plan} until {until}) was never paid");
        history.violation(what);
    }
}

/// Checks that every license that has not expired verifies with the published keys (F).
fn verifies(history: &mut History, who: usize, license: &IssuedLicense) {
    let app = &history.servers[0].app;
    let issued = (license.issued_at + TimeDelta::seconds(60)).to_system_time();
    match licentia_verify::verify(license.token.expose(), &app.keys.current().trusted, issued) {
        Ok(_) | Err(Rejection::TokenExpired { .. } | Rejection::LicenseExpired { .. }) => {}
        Err(rejection) => {
            let seq = license.seq;
            history.violation(format!("F: {who}: license {seq} does not verify: {rejection}"));
        }
    }
}

/// Checks that each payment has one order with the right status (E).
fn ordered(history: &mut History, who: usize, invoice: &Invoice, orders: &Orders) {
    if invoice.amount == 0 {
        return;
    }
    let found = orders.get(&invoice.id).map_or(&[][..], Vec::as_slice);
    let wanted = if !invoice.is_paid() {
        None
    } else if invoice.refunded {
        Some("refunded")
    } else if invoice.disputed {
        Some("disputed")
    } else {
        Some("succeeded")
    };
    let right = match (wanted, found) {
        (Some(wanted), [status]) => status == wanted,
        (None, found) => found.iter().all(|s| s == "pending" || s == "failed"),
        (Some(_), _) => false,
    };
    if !right {
        let (id, status) = (&invoice.id, &invoice.status);
        let what = format!("E: {who}: {id} is {status}, {wanted:?}; its orders are {found:?}");
        history.violation(what);
    }
}

/// Checks that every event that got a 200 is stored (D), unless it is old enough to be deleted.
async fn acknowledged(history: &mut History) -> Result<()> {
    let stored = database::events(&history.ground.store).await?;
    let stored: BTreeSet<String> = stored.into_iter().map(|event| event.id).collect();
    let since = history.world.now() - KEPT;
    for id in history.acknowledged.clone() {
        let (kind, created) = history.world.stripe.look(&id, |event| {
            (event["type"].as_str().unwrap_or_default().to_owned(), event["created"].as_i64())
        });
        let ours = EVENT_TYPES.contains(&&*kind) && created > Some(since);
        if ours && !stored.contains(&id) {
            history.violation(format!("D: {id} ({kind}) was answered with 200 and is not there"));
        }
    }
    Ok(())
}
