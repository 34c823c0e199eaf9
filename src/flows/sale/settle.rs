//! Applies a settlement: reads our record of a customer, lets [`crate::domain::sale::settlement`]
//! decide the changes, and writes them in one transaction, under the customer's lease. A dry run
//! only reads. `sync.rs` fetches Stripe's state.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{Phase, RevocationReason, Source};
use crate::domain::message::Kind;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::outbox::To;
use crate::domain::sale::inbox::LeasedEvent;
use crate::domain::sale::settlement::{self, Change, KeptId, Record, Settlement, SyncReport};
use crate::domain::sale::stripe_ids::{InvoiceId, StripeCustomerId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::trial::{FirstTrial, Notice, notices};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::password;
use crate::flows::sale::inbox;
use crate::flows::sale::lease::Lease;
use crate::flows::{Mode, audit, license, mail};
use crate::store::Tx;

/// The maximum number of orders of a customer that a sync reads at once, newest first.
/// [`read_record`] reads older ones by their invoice.
pub(in crate::flows) const MAX_ORDERS: i64 = 3000;

/// The state that a sync fetched from Stripe, and what was known before the fetch.
pub(in crate::flows) struct Fetched {
    /// The customer before the fetch.
    pub customer: Customer,
    /// Whether the due name and email address of that customer were sent to Stripe.
    pub is_pushed: bool,
    /// The Stripe customer; `None` in a dry run for a customer who has none.
    pub stripe_id: Option<StripeCustomerId>,
    /// The purchases that were kept before the fetch. The lease keeps them as they are.
    pub kept: Vec<KeptId>,
    /// Everything that Stripe says about the customer.
    pub state: StripeState,
    /// The first trials of cards, which are to be remembered.
    pub first_trials: Vec<FirstTrial>,
}

/// Marks events as done that change nothing.
pub(in crate::flows) async fn finish_events(
    app: &App,
    lease: &Lease,
    events: &[LeasedEvent],
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.write().await?;
    lease.lock(&mut tx).await?;
    for event in events {
        tx.event_done(event, app.now()).await?;
    }
    tx.commit(app.fail_points.at(Place::SettleNothing)).await?;
    Ok(())
}

/// Brings our record in line with Stripe's state in one transaction. A dry run only reports.
///
/// # Errors
/// [`Error::Busy`] when the customer was linked to another Stripe customer in the meantime, or a
/// failure of the database.
pub(in crate::flows) async fn settle(
    app: &App,
    lease: &Lease,
    fetched: &Fetched,
    events: &[LeasedEvent],
    mode: Mode,
) -> Result<SyncReport> {
    let now = app.now();
    let (mut tx, customer) = match mode {
        Mode::Apply => {
            let mut tx = app.store.write().await?;
            let customer = lease.lock(&mut tx).await?;
            (tx, customer)
        }
        Mode::DryRun => {
            let mut tx = app.store.read().await?;
            let customer = tx.customer(&lease.customer_id).await?;
            (tx, customer.ok_or(Error::NotFound("customer"))?)
        }
    };
    if customer.stripe_customer_id != fetched.stripe_id {
        return Err(Error::Busy);
    }
    let record = read_record(app, &mut tx, customer, &fetched.state, now).await?;
    let random = || app.random.bits();
    let settlement = settlement::settle(&record, &fetched.state, &app.plans, now, random);
    for alert in settlement.alerts.iter().filter(|alert| !alert.is_information(now)) {
        tracing::warn!(customer_id = %lease.customer_id, %alert, "an operator should look at this");
        app.metrics.sync_alerts.inc();
    }
    if mode == Mode::DryRun {
        return Ok(settlement.report());
    }
    apply(app, &mut tx, &record, &settlement, now).await?;
    for first in &fetched.first_trials {
        // Another customer began a trial with the same card in the meantime: the repeated sync
        // refuses this one.
        if !tx.remember_trial_card(first, now).await? {
            return Err(Error::Busy);
        }
    }
    if !fetched.state.is_deleted {
        note_synced(&mut tx, fetched, &record, &settlement, now).await?;
    }
    for event in events {
        tx.event_done(event, now).await?;
    }
    app.fail_points.reach(Place::SettleWritten);
    tx.commit(app.fail_points.at(Place::SettleCommitted)).await?;
    app.mail_due.notify_one();
    if settlement.changes.iter().any(|change| matches!(change, Change::Unlink(_))) {
        app.events_due.notify_one();
    }
    Ok(settlement.report())
}

async fn read_record(
    app: &App,
    tx: &mut Tx,
    customer: Customer,
    state: &StripeState,
    now: Timestamp,
) -> Result<Record> {
    let id = &customer.customer_id;
    let mut orders = tx.orders_to_settle(id, MAX_ORDERS).await?;
    let listed = orders.iter().filter_map(|order| order.stripe_invoice_id.clone());
    let listed: HashSet<InvoiceId> = listed.collect();
    for invoice in state.invoices.iter().filter(|invoice| !listed.contains(&invoice.id)) {
        // The order may belong to a deleted account or another customer, or be too old to be
        // listed.
        orders.extend(tx.order_of_invoice(&invoice.id).await?);
    }
    for session in &state.paid_sessions {
        let is_listed = orders
            .iter()
            .any(|order| order.stripe_checkout_session_id.as_ref() == Some(&session.id));
        if !is_listed {
            orders.extend(tx.order_of_session(&session.id).await?);
        }
    }
    let current_license = tx.current_license(id).await?;
    let has_password =
        current_license.is_some() || password::has_password(tx, &customer.email).await?;
    let mut sent_notices = BTreeSet::new();
    for key in notices(state, &app.plans, now).iter().map(Notice::key) {
        if tx.has_mail(&key).await? {
            sent_notices.insert(key);
        }
    }
    Ok(Record {
        had_trial: state.has_trial() && tx.has_had_stripe_trial(id).await?,
        sent_notices,
        subscription: tx.subscription(id).await?,
        orders,
        current_license,
        has_password,
        paid_licenses: tx.paid_licenses(id, now).await?,
        last_grant: tx.last_grant(id).await?,
        accepted_losses: tx.accepted_losses(id).await?,
        customer,
    })
}

/// Writes every change of a settlement.
async fn apply(
    app: &App,
    tx: &mut Tx,
    record: &Record,
    settlement: &Settlement<'_>,
    now: Timestamp,
) -> Result<()> {
    let id = &record.customer.customer_id;
    for change in &settlement.changes {
        if let Some(action) = milestone(tx, id, change).await? {
            audit(app, tx, by_stripe(id, action, json!({})), now).await?;
        }
        match change {
            Change::Subscription { after, .. } => tx.put_subscription(after).await?,
            Change::DeleteOrder(order_id) => tx.delete_order(order_id).await?,
            Change::Order { before, after } => {
                tx.put_order(after).await?;
                // A return that is older than the order's row counts on the day of the payment.
                let at = after.purchased_at.filter(|_| before.is_none()).unwrap_or(now);
                tx.record_return(&after.order_id, after.returned, at).await?;
            }
            Change::Issue { license_id, entitlement } => {
                license::issue_as(app, tx, license_id.clone(), id, entitlement, now).await?;
            }
            Change::Revoke(license) => {
                tx.revoke_license(&license.license_id, Some(RevocationReason::Payment), now)
                    .await?;
            }
            Change::Mail { kind, license_id, order_id } => {
                let to = about(id, license_id.as_ref());
                // A reminder may have said that this license has ended.
                let ended = record.current_license.as_ref().filter(|license| {
                    let is_over = license.term().phase(now) == Phase::Over;
                    *kind == Kind::Cancellation
                        && Some(&license.license_id) == license_id.as_ref()
                        && is_over
                });
                let once_key = ended.and_then(|license| Kind::LicenseEnded.once_key(license));
                mail::enqueue_as(app, tx, *kind, to, (order_id.as_ref(), once_key), now).await?;
            }
            Change::FirstTrial => tx.had_stripe_trial(id, now).await?,
            Change::Notice { notice, license_id } => {
                let to = about(id, license_id.as_ref());
                let once_key = Some(notice.key());
                mail::enqueue_as(app, tx, notice.kind, to, (None, once_key), now).await?;
            }
            Change::Unlink(_) => {
                tx.link_stripe_customer(id, None, Some(now)).await?;
                inbox::queue_sync_of_claimed(app, tx, id, now).await?;
            }
        }
        if let Some((action, detail)) = change.audit() {
            audit(app, tx, by_stripe(id, action, detail), now).await?;
        }
    }
    Ok(())
}

/// Returns the address of a mail about a license, or about none.
fn about<'a>(id: &'a CustomerId, license_id: Option<&'a LicenseId>) -> To<'a> {
    license_id.map_or(To::Customer(id), |license_id| To::License(id, license_id))
}

/// Returns the action for the statistics, if the change is the customer's first paid license or the
/// end of the subscription.
async fn milestone(
    tx: &mut Tx,
    id: &CustomerId,
    change: &Change<'_>,
) -> Result<Option<AuditAction>> {
    Ok(match change {
        Change::Issue { entitlement, .. } if entitlement.source == Source::Paid => {
            let is_first = !tx.has_paid_license(id).await?;
            is_first.then_some(AuditAction::CustomerConverted)
        }
        change => change.is_churn().then_some(AuditAction::CustomerChurned),
    })
}

/// Records the time of the sync, and which fields are still to be sent to Stripe.
async fn note_synced(
    tx: &mut Tx,
    fetched: &Fetched,
    record: &Record,
    settlement: &Settlement<'_>,
    now: Timestamp,
) -> Result<()> {
    let customer = &record.customer;
    let status = if fetched.is_pushed {
        customer.due_after(&fetched.customer)
    } else {
        customer.stripe_sync_status
    };
    let method = settlement.default_payment_method.as_deref();
    let closed_invoice = settlement.closed_invoice.as_ref();
    tx.keep_purchases(&customer.customer_id, &fetched.kept, &settlement.kept).await?;
    tx.stripe_synced(&customer.customer_id, method, closed_invoice, status, now).await
}

/// Returns an audit entry for a change that follows from Stripe's state.
fn by_stripe<'a>(
    customer_id: &'a CustomerId,
    action: AuditAction,
    detail: Value,
) -> AuditEntry<'a> {
    AuditEntry::new(Actor::System, action, Some(customer_id), detail)
}
