//! Why a customer has the current license: what caused it, the payment, the event and the policy,
//! as sentences with their times. What the license says is in
//! [`crate::domain::license::explanation`].

use super::audit::StoredAuditEntry;
use super::timeline::Entry;
use crate::domain::account::customer::Customer;
use crate::domain::license::{Basis, IssuedLicense, Source};
use crate::domain::sale::inbox::StoredEvent;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::{Consequence, Policy};
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// The subject of a reason.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Subject {
        /// The license.
        License = "license",
        /// An entry of the audit log.
        Action = "action",
        /// The subscription.
        Subscription = "subscription",
        /// A payment.
        Payment = "payment",
        /// An event from Stripe.
        Event = "event",
        /// The vendor's plans file.
        Policy = "policy",
    }
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The time.
    pub at: Timestamp,
    /// The reason, as a sentence.
    pub text: String,
    /// The subject.
    pub subject: Subject,
    /// The id of the license, audit entry, subscription, order or event; `None` for the policy.
    pub id: Option<String>,
}

/// The facts that the reasons depend on. The lists are newest first.
pub struct Facts<'a> {
    /// The customer.
    pub customer: &'a Customer,
    /// The current license.
    pub license: Option<&'a IssuedLicense>,
    /// The subscription, as of the last sync.
    pub subscription: Option<&'a SubscriptionRow>,
    /// The orders with an invoice.
    pub orders: &'a [Order],
    /// The entries of the audit log.
    pub actions: &'a [StoredAuditEntry],
    /// The events from Stripe.
    pub events: &'a [StoredEvent],
    /// The plans.
    pub catalog: &'a Catalog,
    /// The time.
    pub now: Timestamp,
}

/// Returns the reasons, the license first.
#[must_use]
pub fn reasons(facts: &Facts<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    match facts.license {
        None => reasons.push(Reason {
            at: facts.customer.created_at,
            text: "The customer has no license: none was issued since the account was created."
                .to_owned(),
            subject: Subject::License,
            id: None,
        }),
        Some(license) => {
            reasons.push(of_license(license));
            reasons.extend(of_action(license, facts.actions));
            reasons.extend(of_trial(license, facts.catalog));
        }
    }
    reasons.extend(facts.subscription.map(of_subscription));
    let payment = payment(facts.orders);
    reasons.extend(payment.map(|order| of_payment(order, &facts.catalog.policy)));
    reasons.extend(of_event(facts));
    if facts.subscription.is_some() || payment.is_some() {
        let at = facts.license.map_or(facts.now, |license| license.issued_at);
        reasons.push(of_policy(facts, at));
    }
    reasons
}

/// Returns what the text of the license does not say: its source and its revocation. The rest is in
/// its explanation ([`crate::domain::license::explanation`]).
fn of_license(license: &IssuedLicense) -> Reason {
    let revoked = license.revoked_at.map_or(String::new(), |at| {
        let reason = license.revocation_reason.map_or("unknown", |reason| reason.as_str());
        format!(" It was revoked at {at} (reason `{reason}`).")
    });
    Reason {
        at: license.issued_at,
        text: format!(
            "The current license {} is for the plan `{}`{} (source {}).{}{revoked}",
            license.license_id,
            license.plan,
            license.parts_text(),
            source(license),
            perpetual(license)
        ),
        subject: Subject::License,
        id: Some(license.license_id.to_string()),
    }
}

/// Returns why a license was issued. The source of everything that was paid for is `subscription`,
/// so a perpetual license also has its basis.
fn source(license: &IssuedLicense) -> String {
    match license.bought_by() {
        Some(basis @ (Basis::Once | Basis::Fallback)) => {
            format!("`{}`, basis `{basis}`", license.source)
        }
        Some(Basis::Subscription) | None => format!("`{}`", license.source),
    }
}

/// Returns why a license is perpetual, as a sentence; an empty text for other licenses.
fn perpetual(license: &IssuedLicense) -> &'static str {
    match license.basis {
        Basis::Subscription => "",
        Basis::Once => " It is perpetual: it was bought by a single payment.",
        Basis::Fallback => {
            " It is perpetual: it remains of a subscription that was paid for long enough without \
             a gap."
        }
    }
}

/// Returns the newest actions that issued or revoked the license.
fn of_action(license: &IssuedLicense, actions: &[StoredAuditEntry]) -> Vec<Reason> {
    let id = license.license_id.as_str();
    let is_about = |entry: &&StoredAuditEntry| {
        entry.action.starts_with("license.") && entry.detail.contains(id)
    };
    let reasons = actions.iter().filter(is_about).map(|entry| {
        let told = Entry::of_action(entry.clone());
        let text = format!("{} Done by `{}`.", told.text, told.by);
        Reason { at: told.at, text, subject: Subject::Action, id: Some(told.id) }
    });
    reasons.collect()
}

fn of_trial(license: &IssuedLicense, catalog: &Catalog) -> Option<Reason> {
    (license.source == Source::Trial).then(|| Reason {
        at: license.issued_at,
        text: format!(
            "It is the trial of the sign-up, which the plans file gives for {} days; no payment is \
             recorded for a license since.",
            catalog.trial_license_days
        ),
        subject: Subject::Policy,
        id: None,
    })
}

fn of_subscription(row: &SubscriptionRow) -> Reason {
    let plan = row.plan.as_deref().unwrap_or("none: no plan has its price");
    let end = row.current_period_end.map_or("unknown".to_owned(), |end| end.to_string());
    let cancel = row.cancel_at.map_or(String::new(), |at| format!(" It is to end at {at}."));
    Reason {
        at: row.updated_at,
        text: format!(
            "As of the last sync, the subscription {} is `{}`, with the plan `{plan}` and a period \
             until {end}.{cancel}",
            row.stripe_subscription_id, row.status
        ),
        subject: Subject::Subscription,
        id: Some(row.stripe_subscription_id.to_string()),
    }
}

/// Returns the payment that counts: the newest one that was not returned, or else the newest.
fn payment(orders: &[Order]) -> Option<&Order> {
    let is_paid = |order: &&Order| order.status == OrderStatus::Succeeded;
    orders.iter().find(is_paid).or_else(|| orders.first())
}

fn of_payment(order: &Order, policy: &Policy) -> Reason {
    let invoice = order.stripe_invoice_id.as_ref();
    let invoice = invoice.map_or("no invoice yet".to_owned(), |id| format!("invoice {id}"));
    let effect = match order.status {
        OrderStatus::Refunded => format!(" A refunded payment {}.", effect(policy.refund)),
        OrderStatus::Disputed => format!(" A disputed payment {}.", effect(policy.dispute)),
        _ => String::new(),
    };
    Reason {
        at: order.purchased_at.unwrap_or(order.created_at),
        text: format!(
            "The payment of {} {} (smallest unit) for `{}` is `{}`: order {}, {invoice}.{effect}",
            order.amount, order.currency, order.plan, order.status, order.order_id
        ),
        subject: Subject::Payment,
        id: Some(order.order_id.to_string()),
    }
}

fn effect(consequence: Consequence) -> &'static str {
    match consequence {
        Consequence::Keep => "keeps the license until the end of what was paid for",
        Consequence::Revoke => "revokes the license",
    }
}

/// Returns the last event that was processed before the license was issued.
fn of_event(facts: &Facts<'_>) -> Option<Reason> {
    let issued_at = facts.license.filter(|one| one.source == Source::Paid)?.issued_at;
    let is_cause = |event: &&StoredEvent| {
        event.customer_id.is_none() && event.received_at <= issued_at && event.done_at.is_some()
    };
    let event = facts.events.iter().find(is_cause);
    Some(match event {
        Some(event) => Reason {
            at: event.received_at,
            text: format!(
                "Stripe's event `{}` ({}) was the last one before the license was issued.",
                event.kind, event.event_id
            ),
            subject: Subject::Event,
            id: Some(event.event_id.clone()),
        },
        None => Reason {
            at: issued_at,
            text:
                "No event from Stripe before the license was issued is recorded: a sync found the \
                   payment, or the event was deleted since."
                    .to_owned(),
            subject: Subject::Event,
            id: None,
        },
    })
}

fn of_policy(facts: &Facts<'_>, at: Timestamp) -> Reason {
    let policy = &facts.catalog.policy;
    let plan = facts.license.and_then(|license| facts.catalog.plan(&license.plan));
    let grace = plan.map_or("the plan is no longer in it".to_owned(), |plan| {
        format!("{} days of grace after a failed payment", plan.grace_days)
    });
    Reason {
        at,
        text: format!(
            "By the plans file: {grace}; a refund {}; a partial refund {}; an open dispute {}; a \
             lost dispute {}; a forgiven renewal {}.",
            effect(policy.refund),
            effect(policy.partial_refund),
            effect(policy.dispute),
            effect(policy.dispute_lost),
            effect(policy.forgiven)
        ),
        subject: Subject::Policy,
        id: None,
    }
}
