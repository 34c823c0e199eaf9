//! Writes what Stripe's state comes to: subscription, orders, license, mail, audit and the events that
//! are done, in one transaction, under the customer's lease. A license is issued anew only if what it
//! says would change.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::license::{Entitlement, Phase, RevocationReason, Source};
use crate::domain::message::Kind;
use crate::domain::plan::Catalog;
use crate::domain::subscription::{Alert, Judgement, Status, judge};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::flows::lease::Lease;
use crate::flows::sync::Found;
use crate::flows::{audit, counterpart, license, mail, order};
use crate::store::{
    Actor, AuditEntry, IssuedLicense, LeasedEvent, SubscriptionRow, SyncStatus, Tx,
};

/// Whether what was found is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// It is.
    Repair,
    /// It is only told.
    Look,
}

/// Counts what an operator should look at, whenever a look at a customer finds it.
pub(super) const ALERTS: &str = "licentia_sync_alerts_total";

/// What a look at a customer found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was not as Stripe has it, in words.
    pub changes: Vec<String>,
    /// What an operator should look at, in words.
    pub alerts: Vec<String>,
    /// Whether somebody must act on those: the customer pays twice, or pays and is granted nothing for it.
    pub is_left: bool,
}

/// Marks events done that had nothing to change.
pub(super) async fn nothing(app: &App, lease: &Lease, events: &[LeasedEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    for event in events {
        tx.event_done(event, app.now()).await?;
    }
    tx.commit().await?;
    app.fail_points.reach("settle.nothing");
    Ok(())
}

/// Writes what was found, all or nothing; or only finds out what it would write.
pub(super) async fn settle(
    app: &App,
    lease: &Lease,
    found: &Found,
    events: &[LeasedEvent],
    intent: Intent,
) -> Result<Looked> {
    let now = app.now();
    let id = &lease.customer_id;
    let mut tx = app.store.write().await?;
    let customer = lease.lock(&mut tx).await?;
    if customer.stripe_customer_id.as_ref() != Some(&found.stripe_id) {
        // What was found is somebody else's by now.
        return Err(Error::Busy);
    }
    let before = tx.subscription(id).await?;
    let held = before.as_ref().map(|row| &row.stripe_subscription_id);
    let judgement = judge(&found.seen, held, &app.plans, now);
    for alert in &judgement.alerts {
        tracing::warn!(customer_id = %id, %alert, "Stripe says what needs a look");
        metrics::counter!(ALERTS).increment(1);
    }
    let after = write_subscription(&mut tx, id, &judgement, before.as_ref(), found, app).await?;
    let orders = order::write(app, &mut tx, id, found, now).await?;
    let changed = write_license(app, &mut tx, id, &judgement, now).await?;
    if let Some((kind, license)) = news(before.as_ref(), after.as_ref(), &changed, now) {
        mail::due(app, &mut tx, kind, id, &license.license_id, now).await?;
    }
    if found.seen.deleted {
        tx.link_stripe_customer(id, None, Some(now)).await?;
        audit(app, &mut tx, by_stripe(id, "stripe.unlinked", json!({})), now).await?;
    } else {
        let first = &found.customer;
        let same = (&first.email, counterpart::name_of(first))
            == (&customer.email, counterpart::name_of(&customer));
        let told = same && found.told;
        let status = if told { Some(SyncStatus::Synced) } else { customer.stripe_sync_status };
        // A checkout leaves the card at the subscription.
        let governing = judgement.governing.and_then(|s| s.default_payment_method.as_deref());
        let method = found.default_payment_method.as_deref().or(governing);
        tx.stripe_synced(id, method, status, now).await?;
    }
    for event in events {
        tx.event_done(event, now).await?;
    }
    let looked = Looked {
        changes: drift(before.as_ref(), after.as_ref(), &orders, &changed, found.seen.deleted),
        alerts: judgement.alerts.iter().map(Alert::to_string).collect(),
        is_left: is_left(&judgement, &changed, now),
    };
    if intent == Intent::Look {
        // Dropped without a commit: nothing happened.
        return Ok(looked);
    }
    app.fail_points.reach("settle.written");
    tx.commit().await?;
    app.fail_points.reach("settle.committed");
    app.mail_due.notify_one();
    Ok(looked)
}

/// Whether what the judgement alerts to must be acted on. What is sold beside a plan, or to somebody who was
/// granted a license by hand, need not be.
fn is_left(judgement: &Judgement<'_>, changed: &Changed, now: Timestamp) -> bool {
    let held = changed.issued.as_ref().or(changed.before.as_ref());
    let granted = held.is_some_and(|held| held.source == Source::Operator && works(held, now));
    judgement.alerts.iter().any(|alert| match alert {
        Alert::SeveralLive => true,
        Alert::UnknownPrice(_) | Alert::NoItems(_) | Alert::UnknownStatus(_) => {
            judgement.due.is_none() && !granted
        }
    })
}

/// What was not as Stripe has it, in words.
fn drift(
    before: Option<&SubscriptionRow>,
    after: Option<&SubscriptionRow>,
    orders: &[String],
    changed: &Changed,
    unlinked: bool,
) -> Vec<String> {
    let mut drift = Vec::new();
    if before != after {
        drift.push(format!("subscription: {}", subscription_change(before, after)));
    }
    drift.extend_from_slice(orders);
    if changed.revoked {
        drift.push("license: taken back".to_owned());
    }
    if changed.former > 0 {
        drift.push(format!("former licenses: {} taken back", changed.former));
    }
    if let Some(license) = &changed.issued {
        let until = license.expires_at.map_or("for ever".into(), |end| format!("until {end}"));
        drift.push(format!("license: {} {until}", license.plan));
    }
    if unlinked {
        drift.push("Stripe's customer: deleted there, unlinked here".to_owned());
    }
    drift
}

/// How a subscription changed: its state, and of the rest what differs.
fn subscription_change(
    before: Option<&SubscriptionRow>,
    after: Option<&SubscriptionRow>,
) -> String {
    let state = |row: Option<&SubscriptionRow>| match row {
        Some(row) => format!("{} ({})", row.status, row.plan.as_deref().unwrap_or("no plan")),
        None => "none".to_owned(),
    };
    let mut change = arrow(state(before), state(after));
    let (Some(before), Some(after)) = (before, after) else { return change };
    let time = |time: Option<Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
    let id = |row: &SubscriptionRow| row.stripe_subscription_id.to_string();
    for (what, before, after) in [
        ("id", id(before), id(after)),
        ("end of the period", time(before.current_period_end), time(after.current_period_end)),
        ("to end at", time(before.cancel_at), time(after.cancel_at)),
        ("end of the trial", time(before.trial_end), time(after.trial_end)),
    ] {
        if before != after {
            change.push_str(&format!(", {what} {}", arrow(before, after)));
        }
    }
    change
}

/// From one to the other; only one if they are the same.
fn arrow(before: String, after: String) -> String {
    if before == after { after } else { format!("{before} -> {after}") }
}

/// Something that followed from what Stripe said.
fn by_stripe<'a>(
    customer_id: &'a CustomerId,
    action: &'static str,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry { actor: Actor::System, action, customer_id: Some(customer_id), detail }
}

/// Writes the subscription that governs. Answers how it is now.
async fn write_subscription(
    tx: &mut Tx,
    id: &CustomerId,
    judgement: &Judgement<'_>,
    before: Option<&SubscriptionRow>,
    found: &Found,
    app: &App,
) -> Result<Option<SubscriptionRow>> {
    let now = app.now();
    let after = match judgement.governing {
        Some(governing) => Some(SubscriptionRow {
            customer_id: id.clone(),
            stripe_subscription_id: governing.id.clone(),
            plan: governing.plan(&app.plans).map(|(plan, _)| plan.id.to_string()),
            status: governing.status.clone(),
            current_period_end: governing.period_end(&app.plans),
            cancel_at: governing.ends_at(&app.plans),
            trial_end: governing.trial_end,
            created_at: governing.created,
            updated_at: now,
        }),
        // The customer is gone at Stripe, and every subscription with them.
        None => before.filter(|_| found.seen.deleted).map(|row| SubscriptionRow {
            status: Status::Canceled,
            updated_at: now,
            ..row.clone()
        }),
    };
    let Some(after) = after else { return Ok(before.cloned()) };
    let same = before
        .is_some_and(|row| *row == SubscriptionRow { updated_at: row.updated_at, ..after.clone() });
    if same {
        return Ok(before.cloned());
    }
    tx.put_subscription(&after).await?;
    let status = |row: &SubscriptionRow| row.status.to_string();
    let detail = json!({
        "from": before.map(status),
        "to": status(&after),
        "plan": after.plan,
        "cancel_at": after.cancel_at.map(Timestamp::epoch_seconds),
    });
    audit(app, tx, by_stripe(id, "subscription.changed", detail), now).await?;
    Ok(Some(after))
}

/// What became of the customer's license.
struct Changed {
    before: Option<IssuedLicense>,
    issued: Option<IssuedLicense>,
    revoked: bool,
    /// How many former ones were taken back.
    former: usize,
}

/// Issues the license that is due, unless the current one says so already; takes back what is not
/// due any more.
async fn write_license(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    judgement: &Judgement<'_>,
    now: Timestamp,
) -> Result<Changed> {
    let before = tx.current_license(id).await?;
    let (mut issued, mut revoked) = (None, false);
    match &judgement.due {
        Some(due) if is_news(due, before.as_ref(), judgement.unclear, &app.plans, now) => {
            let license = license::issue(app, tx, id, due, now).await?;
            let detail = json!({ "license_id": license.license_id.as_str(), "plan": license.plan });
            audit(app, tx, by_stripe(id, "license.issued", detail), now).await?;
            issued = Some(license);
        }
        Some(_) => {}
        None => {
            let paid = before.as_ref().filter(|license| license.source == Source::Subscription);
            revoked = paid.is_some_and(|held| works(held, now) && !judgement.unclear);
            if paid.is_some_and(|license| revoked || !works(license, now)) {
                issued = bring_back_a_grant(app, tx, id, now).await?;
            }
        }
    }
    let taken_back = match judgement.unclear {
        true => 0,
        false => take_back(app, tx, id, judgement.due.as_ref(), now).await?,
    };
    let former = taken_back.saturating_sub(usize::from(revoked));
    Ok(Changed { before, issued, revoked, former })
}

/// Takes back every license for a subscription that says more than what is due, former ones too: the online
/// verdict is asked about any of them. One of the same plan that says a later end is true while the plan is
/// due, and taken back when nothing is. Answers how many there were.
async fn take_back(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    due: Option<&Entitlement<'_>>,
    now: Timestamp,
) -> Result<usize> {
    let mut taken_back = 0;
    let rank = |plan: &str| app.plans.rank(plan);
    for license in tx.paid_licenses(id, now).await? {
        if due.is_none_or(|due| rank(&license.plan) > rank(due.plan.id.as_str())) {
            tx.revoke_license(&license.license_id, RevocationReason::Payment, now).await?;
            let detail = json!({ "license_id": license.license_id.as_str() });
            audit(app, tx, by_stripe(id, "license.revoked", detail), now).await?;
            taken_back += 1;
        }
    }
    Ok(taken_back)
}

/// What an operator granted last takes its place again when nothing paid is left.
async fn bring_back_a_grant(
    app: &App,
    tx: &mut Tx,
    id: &CustomerId,
    now: Timestamp,
) -> Result<Option<IssuedLicense>> {
    let Some(granted) = tx.last_grant(id).await?.filter(|granted| works(granted, now)) else {
        return Ok(None);
    };
    let Some(plan) = app.plans.plan(&granted.plan) else { return Ok(None) };
    let due = Entitlement { plan, source: Source::Operator, term: granted.term() };
    let license = license::issue(app, tx, id, &due, now).await?;
    let detail = json!({ "license_id": license.license_id.as_str(), "plan": license.plan });
    audit(app, tx, by_stripe(id, "license.issued", detail), now).await?;
    Ok(Some(license))
}

fn works(license: &IssuedLicense, now: Timestamp) -> bool {
    license.revoked_at.is_none() && license.term().phase(now) != Phase::Over
}

/// Whether a license that is due differs from the one that the customer has, and may take its place.
fn is_news(
    due: &Entitlement<'_>,
    held: Option<&IssuedLicense>,
    unclear: bool,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let Some(held) = held.filter(|held| held.revoked_at.is_none()) else { return true };
    let rank = |plan: &str| catalog.rank(plan);
    let (held_rank, due_rank) = (rank(&held.plan), rank(due.plan.id.as_str()));
    match held.source {
        Source::Trial => true,
        Source::Subscription if held.plan == due.plan.id.as_str() && held.term() == due.term => {
            false
        }
        Source::Subscription => !(unclear && works(held, now) && held_rank > due_rank),
        // What an operator gave stays where it is worth more.
        Source::Operator => {
            let end = |ends: Option<Timestamp>| ends.unwrap_or(Timestamp::MAX);
            let held_worth = (held_rank, end(held.term().ends()));
            !works(held, now) || held_worth < (due_rank, end(due.term.ends()))
        }
    }
}

/// What the customer is told by mail, and the license that goes with it.
fn news<'c>(
    before: Option<&SubscriptionRow>,
    after: Option<&SubscriptionRow>,
    changed: &'c Changed,
    now: Timestamp,
) -> Option<(Kind, &'c IssuedLicense)> {
    let held = changed.before.as_ref();
    let newly = |holds: fn(&SubscriptionRow) -> bool| {
        after.is_some_and(holds) && !before.is_some_and(holds)
    };
    let ending = newly(|row| row.cancel_at.is_some() && row.status.is_live());
    let past_due = newly(|row| row.status == Status::PastDue);
    let over = newly(|row| matches!(row.status, Status::Canceled | Status::Unpaid));
    let announced = before.is_some_and(|row| row.cancel_at.is_some());
    if let Some(issued) = &changed.issued {
        let goes_on = held.is_some_and(|held| {
            let paid = held.source == Source::Subscription && held.revoked_at.is_none();
            paid && held.plan == issued.plan
        });
        let kind = match (goes_on, ending, past_due) {
            // The first one takes no other's place: they bought before they were here.
            _ if issued.source == Source::Operator || held.is_none() => Kind::Granted,
            (false, ..) => Kind::Upgrade,
            (true, true, _) => Kind::Cancellation,
            (true, false, true) => Kind::PaymentProblem,
            _ if issued.term().phase(now) == Phase::Grace => {
                let failed = after.is_some_and(|row| row.status == Status::PastDue);
                if failed { Kind::PaymentProblem } else { Kind::PaymentPending }
            }
            (true, false, false) => Kind::Renewal,
        };
        return Some((kind, issued));
    }
    let held = held?;
    if changed.revoked {
        return Some((Kind::Cancellation, held));
    }
    let bought = held.source == Source::Subscription;
    let ended = over && !announced && bought;
    match (past_due, (ending && bought && works(held, now)) || ended) {
        (true, _) => Some((Kind::PaymentProblem, held)),
        (false, true) => Some((Kind::Cancellation, held)),
        (false, false) => None,
    }
}
