//! Decides every change to our records that follows from Stripe's state. A pure function from our
//! [`Record`] and the [`StripeState`] to a [`Settlement`], which lists the changes.
//! [`crate::flows::sale::settle`] applies it in one transaction; a dry run prints it instead.
//!
//! Settling again after a settlement was applied changes nothing.

mod billed;
mod closed_invoices;
mod describe;
mod kept;
mod licenses;
mod mail;
mod orders;
mod unknown;

use std::collections::BTreeSet;

use crate::domain::account::customer::Customer;
use crate::domain::ids::{LicenseId, OrderId};
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::message::Kind;
use crate::domain::sale::accepted_loss::AcceptedLosses;
use crate::domain::sale::entitlement::{Alert, Assessment, assess};
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::stripe_ids::{InvoiceId, StripeCustomerId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{BilledItems, Status, SubscriptionRow};
use crate::domain::sale::trial::{Notice, notices};
use crate::domain::time::Timestamp;

pub use kept::KeptId;

/// Our stored data about a customer, as far as a settlement depends on it. It is read once, while
/// the customer is locked.
#[derive(Clone, Debug)]
pub struct Record {
    /// The customer.
    pub customer: Customer,
    /// The current subscription, as of the last sync.
    pub subscription: Option<SubscriptionRow>,
    /// The customer's orders that have an invoice or wait for one, and every other order whose
    /// invoice is in Stripe's state: of a deleted account, or of another customer.
    pub orders: Vec<Order>,
    /// The license that was issued last.
    pub current_license: Option<IssuedLicense>,
    /// Every license that was issued for a payment and still works, including former ones.
    pub paid_licenses: Vec<IssuedLicense>,
    /// The license that an operator granted last, unless it was revoked.
    pub last_grant: Option<IssuedLicense>,
    /// The losses that the customer accepted.
    pub accepted_losses: AcceptedLosses,
    /// Whether the account has a password. It is read only while there is no license.
    pub has_password: bool,
    /// Whether the customer is recorded to have had a trial at Stripe. It is read only if the state
    /// has one.
    pub had_trial: bool,
    /// The keys of the due [`Notice`]s that were sent.
    pub sent_notices: BTreeSet<String>,
}

/// One change to our records.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<'a> {
    /// The current subscription is another one, or has changed.
    Subscription {
        /// The row as of the last sync.
        before: Option<SubscriptionRow>,
        /// The row to store.
        after: SubscriptionRow,
    },
    /// Two orders are for the same purchase. This one is deleted; the other one stays.
    DeleteOrder(OrderId),
    /// An order is new, or has changed.
    Order {
        /// `None` for a new order, and for an order of a deleted account.
        before: Option<Order>,
        /// The order to store.
        after: Box<Order>,
    },
    /// A license is issued and becomes the current one.
    Issue {
        /// The id of the new license.
        license_id: LicenseId,
        /// The entitlement that it grants.
        entitlement: Entitlement<'a>,
    },
    /// A license is revoked, because the customer is no longer entitled to it.
    Revoke(IssuedLicense),
    /// A mail is sent to the customer.
    Mail {
        /// The kind of mail.
        kind: Kind,
        /// The license that the mail carries or is about, if there is one.
        license_id: Option<LicenseId>,
        /// The order whose payment the mail reports, or whose invoice is unpaid.
        order_id: Option<OrderId>,
    },
    /// The customer has the first trial at Stripe.
    FirstTrial,
    /// A mail about a trial at Stripe is sent to the customer.
    Notice {
        /// The mail.
        notice: Notice,
        /// The license that works during the trial.
        license_id: Option<LicenseId>,
    },
    /// The Stripe customer was deleted, so the link to it is removed.
    Unlink(StripeCustomerId),
}

/// The changes that follow from Stripe's state.
#[derive(Clone, Debug)]
pub struct Settlement<'a> {
    /// The changes, in the order in which they are applied.
    pub changes: Vec<Change<'a>>,
    /// The cases that an operator should check.
    pub alerts: Vec<Alert>,
    /// Whether an operator must act on the alerts: the customer pays twice, or pays without getting
    /// a license.
    pub needs_action: bool,
    /// The customer's default payment method at Stripe, or else that of the current subscription.
    pub default_payment_method: Option<String>,
    /// The newest invoice that is closed together with every older one: the next sync need not
    /// fetch them.
    pub closed_invoice: Option<InvoiceId>,
    /// The purchases that the next sync fetches, however old they are: a perpetual license depends
    /// on them.
    pub kept: BTreeSet<KeptId>,
}

/// A settlement as text, for reports.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// The changes: the differences from Stripe, and the mail about them.
    pub changes: Vec<String>,
    /// The cases that an operator should check.
    pub alerts: Vec<String>,
    /// Whether an operator must act on the alerts.
    pub needs_action: bool,
}

impl Settlement<'_> {
    /// Returns the settlement as text.
    #[must_use]
    pub fn report(&self) -> SyncReport {
        let reported = self.changes.iter().filter(|change| change.is_reported());
        SyncReport {
            changes: reported.map(Change::describe).collect(),
            alerts: self.alerts.iter().map(Alert::to_string).collect(),
            needs_action: self.needs_action,
        }
    }
}

/// Returns everything that changes because of Stripe's state at `now`. `random` provides the bits
/// of new ids.
#[must_use]
pub fn settle<'a>(
    record: &Record,
    state: &'a StripeState,
    catalog: &'a Catalog,
    now: Timestamp,
    mut random: impl FnMut() -> u128,
) -> Settlement<'a> {
    let stored = record.subscription.as_ref();
    let current = stored.map(|row| &row.stripe_subscription_id);
    let mut assessment = assess(state, current, catalog, now);
    for alert in &mut assessment.alerts {
        alert.note_accepted(&record.accepted_losses, catalog);
    }
    let unpaid = licenses::unpaid(record, &assessment, catalog, now);
    let unknown = |policy: &Policy| {
        let payments = unknown::unknown_payments(record, state, catalog, policy);
        unknown::consequences(&payments, &unpaid, catalog, now)
    };
    let kept = kept::kept(state, catalog).into_iter().chain(unknown(&Policy::KEEP_ALL).kept);
    let kept = kept.collect();
    let unknown = unknown(&catalog.policy);
    assessment.is_unclear |= unknown.is_unclear;
    assessment.alerts.extend(unknown.alerts);
    let subscription = subscription(record, state, &assessment, catalog, now);
    let licenses = licenses::decide(record, state, &assessment, catalog, now);
    assessment.alerts.extend(purchases_gone(record, state, &licenses, now));
    let plan = assessment.entitlement.as_ref().map(|entitlement| entitlement.plan);
    let orders = orders::decide(record, state, (catalog, plan), now, &mut random);
    let kind = mail::decide(record, subscription.as_ref(), (&licenses, &orders), catalog, now);
    let (kind, order_id) = mail::with_payment(kind, &orders, now);
    let needs_action = needs_action(record, &assessment, &licenses, now);
    let of_subscription =
        assessment.subscription.and_then(|current| current.default_payment_method.as_ref());
    let default_payment_method = state.default_payment_method.as_ref().or(of_subscription).cloned();

    let mut changes = Vec::new();
    if let Some(after) = subscription.filter(|after| stored != Some(after)) {
        changes.push(Change::Subscription { before: stored.cloned(), after });
    }
    changes.extend(orders);
    let mut mail_license_id =
        record.current_license.as_ref().map(|license| license.license_id.clone());
    if let Some(entitlement) = licenses.issue {
        let license_id = LicenseId::from_random(random());
        mail_license_id = Some(license_id.clone());
        changes.push(Change::Issue { license_id, entitlement });
    }
    changes.extend(licenses.revoke.into_iter().map(Change::Revoke));
    // A receipt is the only mail that may be about no license.
    let kind = kind.filter(|kind| mail_license_id.is_some() || *kind == Kind::Receipt);
    let license_id = mail_license_id.clone();
    changes.extend(kind.map(|kind| Change::Mail { kind, license_id, order_id }));
    changes.extend(trial_changes(record, state, mail_license_id.as_ref(), catalog, now));
    if state.is_deleted {
        changes.extend(record.customer.stripe_customer_id.clone().map(Change::Unlink));
    }
    let closed_invoice =
        closed_invoices::closed_through(state, closed_invoices::ALWAYS_FETCHED, now).cloned();
    Settlement {
        changes,
        alerts: assessment.alerts,
        needs_action,
        default_payment_method,
        closed_invoice,
        kept,
    }
}

/// Returns the alert about a perpetual license that ends with the deletion of a Stripe customer.
fn purchases_gone(
    record: &Record,
    state: &StripeState,
    licenses: &licenses::LicenseChanges<'_>,
    now: Timestamp,
) -> Option<Alert> {
    let license = record.current_license.as_ref().filter(|_| state.is_deleted)?;
    let is_perpetual = license.source == Source::Paid && license.expires_at.is_none();
    let is_lost = licenses.revoke.contains(license);
    (is_perpetual && license.works(now) && is_lost).then_some(Alert::PurchasesGone)
}

/// Returns the changes that follow from trials at Stripe. The first charge is announced to a
/// customer with a license.
fn trial_changes<'a>(
    record: &Record,
    state: &StripeState,
    license_id: Option<&LicenseId>,
    catalog: &Catalog,
    now: Timestamp,
) -> Vec<Change<'a>> {
    let first = (state.has_trial() && !record.had_trial).then_some(Change::FirstTrial);
    let due = notices(state, catalog, now).into_iter();
    let due = due.filter(|notice| !record.sent_notices.contains(&notice.key()));
    let due = due.filter_map(|notice| {
        let license_id = license_id.filter(|_| notice.kind == Kind::PaymentBegins).cloned();
        let is_sent = notice.kind == Kind::TrialCardUsed || license_id.is_some();
        is_sent.then_some(Change::Notice { notice, license_id })
    });
    first.into_iter().chain(due).collect()
}

/// Returns the current subscription to store. If nothing differs from the stored one, it is
/// unchanged, including `updated_at`.
fn subscription(
    record: &Record,
    state: &StripeState,
    assessment: &Assessment<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> Option<SubscriptionRow> {
    let stored = record.subscription.as_ref();
    let updated_at = stored.map_or(now, |row| row.updated_at);
    let after = match assessment.subscription {
        Some(current) => SubscriptionRow {
            customer_id: record.customer.customer_id.clone(),
            stripe_subscription_id: current.id.clone(),
            plan: current.plan(catalog).map(|(plan, _)| {
                // A new name of a plan is no change of the subscription.
                let former = stored.and_then(|row| row.plan.clone());
                former.filter(|id| plan.has_id(id)).unwrap_or_else(|| plan.id.to_string())
            }),
            status: current.status.clone(),
            items: Some(BilledItems::of(&current.items)),
            currency: current.currency.clone(),
            current_period_end: current.period_end(catalog),
            cancel_at: current.ends_at(catalog),
            trial_end: current.trial_end,
            pending_until: current.pending_until,
            created_at: current.created,
            updated_at,
        },
        // Stripe deletes every subscription together with its customer.
        None if state.is_deleted => SubscriptionRow { status: Status::Canceled, ..stored?.clone() },
        None => stored?.clone(),
    };
    if stored == Some(&after) {
        Some(after)
    } else {
        Some(SubscriptionRow { updated_at: now, ..after })
    }
}

/// Returns whether an operator must act on the alerts. An unknown price or status, and a payment
/// after the end, need action while they keep the license as it is, or while nothing is paid for,
/// unless the customer has a grant. A single payment of long ago needs none.
fn needs_action(
    record: &Record,
    assessment: &Assessment<'_>,
    licenses: &licenses::LicenseChanges<'_>,
    now: Timestamp,
) -> bool {
    let has_grant = match &licenses.issue {
        Some(issued) => issued.source == Source::Operator,
        None => record
            .current_license
            .as_ref()
            .is_some_and(|held| held.source == Source::Operator && held.works(now)),
    };
    let mut alerts = assessment.alerts.iter().filter(|alert| !alert.is_information(now));
    alerts.any(|alert| match alert {
        Alert::SeveralLive
        | Alert::Quantity { .. }
        | Alert::AddonWithoutPlan { .. }
        | Alert::UpdatesNotApplied { .. }
        | Alert::OwnedBefore { .. }
        | Alert::UpdatesCut { .. }
        | Alert::Shrunk { .. }
        | Alert::BilledAndOwned { .. }
        | Alert::SecondPlan { .. }
        | Alert::WithoutEffect { .. }
        | Alert::PaidBeyondEnd { .. }
        | Alert::PurchasesGone => true,
        Alert::PaidAfterEnd(_) => false,
        Alert::UnknownPrice(_)
        | Alert::NoItems(_)
        | Alert::UnknownStatus(_)
        | Alert::UnknownPurchase { .. }
        | Alert::PaidTooLate { .. } => {
            (assessment.is_unclear || assessment.entitlement.is_none()) && !has_grant
        }
    })
}

#[cfg(test)]
mod tests;
