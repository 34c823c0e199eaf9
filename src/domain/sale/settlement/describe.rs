//! The descriptions of changes: as text for reports, and as entries for the audit log.

use serde_json::{Value, json};

use super::Change;
use crate::domain::message::Kind;
use crate::domain::operator::audit::AuditAction;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Interval;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::sale::trial::Notice;
use crate::domain::time::Timestamp;

impl Change<'_> {
    /// Returns the change as text, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Subscription { before, after } => {
                format!("subscription: {}", subscription_change(before.as_ref(), after))
            }
            Self::DeleteOrder(id) => format!("order {id}: merged into the order of its checkout"),
            Self::Order { before, after } => order_change(before.as_ref(), after),
            Self::Issue { entitlement, .. } => {
                let end = entitlement.term.expires;
                let until = end.map_or("forever".into(), |end| format!("until {end}"));
                format!("license: {} {until}{}", entitlement.plan.id, entitlement.parts_text())
            }
            Self::Revoke(license) if license.superseded_at.is_some() => {
                format!("former license {}: {} revoked", license.license_id, license.plan)
            }
            Self::Revoke(license) => format!("license: {} revoked", license.plan),
            Self::Mail { kind, .. } | Self::Notice { notice: Notice { kind, .. }, .. } => {
                format!("mail: {kind}")
            }
            Self::FirstTrial => "trial: the customer's first at Stripe".into(),
            Self::Unlink(id) => format!("Stripe customer {id}: deleted at Stripe, unlinked here"),
        }
    }

    /// Returns whether the change only adds what was not recorded yet: an earlier version did not
    /// store it. It is applied without being reported.
    fn only_fills_in(&self) -> bool {
        match self {
            Self::Subscription { before: Some(before), after } => after.only_fills_in(before),
            Self::Order { before: Some(before), after } => after.only_fills_in(before),
            _ => false,
        }
    }

    /// Returns whether a report mentions the change. A mail for which Stripe's event is not due yet
    /// is no difference from Stripe.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        match self {
            Self::Notice { notice, .. } => !notice.is_early,
            _ => !self.only_fills_in(),
        }
    }

    /// Returns the action and the details for the audit log; `None` for a mail, which the outbox
    /// records, for an order whose status stays the same, and for what was not recorded yet.
    #[must_use]
    pub fn audit(&self) -> Option<(AuditAction, Value)> {
        if self.only_fills_in() {
            return None;
        }
        Some(match self {
            Self::Subscription { before, after } => {
                let detail = json!({
                    "from": before.as_ref().map(|row| row.status.to_string()),
                    "to": after.status.to_string(),
                    "plan": after.plan,
                    "cancel_at": after.cancel_at.map(Timestamp::epoch_seconds),
                });
                (AuditAction::SubscriptionChanged, detail)
            }
            Self::Order { before, after } => {
                let from = before.as_ref().map(|order| order.status);
                if from == Some(after.status) {
                    return None;
                }
                let detail = json!({
                    "order_id": after.order_id.as_str(),
                    "plan": after.plan,
                    "amount": after.amount,
                    "currency": after.currency,
                    "interval": after.billing_interval.map(Interval::as_str),
                    "quantity": after.quantity,
                    "tax": after.tax,
                    "refunded_amount": after.returned,
                    "from": from.map(OrderStatus::as_str),
                    "to": after.status.as_str(),
                });
                (AuditAction::OrderChanged, detail)
            }
            Self::DeleteOrder(id) => (AuditAction::OrderMerged, json!({ "order_id": id.as_str() })),
            Self::Issue { license_id, entitlement } => {
                (AuditAction::LicenseIssued, entitlement.audit_detail(license_id))
            }
            Self::Revoke(license) => {
                let (id, plan) = (license.license_id.as_str(), &license.plan);
                (AuditAction::LicenseRevoked, json!({ "license_id": id, "plan": plan }))
            }
            Self::Unlink(id) => {
                (AuditAction::StripeUnlinked, json!({ "stripe_customer_id": id.as_str() }))
            }
            Self::Notice { notice, .. } if notice.kind == Kind::TrialCardUsed => {
                let detail = json!({ "trial_end": notice.trial_end.epoch_seconds() });
                (AuditAction::TrialRefused, detail)
            }
            Self::Mail { .. } | Self::Notice { .. } | Self::FirstTrial => return None,
        })
    }
}

impl Change<'_> {
    /// Returns whether the customer leaves: the subscription ended, and no other one took its
    /// place.
    #[must_use]
    pub fn is_churn(&self) -> bool {
        matches!(self, Self::Subscription { before: Some(before), after }
            if before.status.is_live() && !after.status.is_live())
    }
}

/// Returns the status of an order, or its other changes if the status is the same.
fn order_change(before: Option<&Order>, after: &Order) -> String {
    let id = &after.order_id;
    let Some(before) = before.filter(|before| before.status == after.status) else {
        let status = before.map_or("none", |order| order.status.as_str());
        return format!("order {id}: {status} -> {}", after.status);
    };
    let [was, is] = [order_fields(before), order_fields(after)];
    let changed = was.into_iter().zip(is).filter(|((_, before), (_, after))| before != after);
    let changes: Vec<String> = changed
        .map(|((name, before), (_, after))| format!("{name} {}", arrow(before, after)))
        .collect();
    format!("order {id}: {}", changes.join(", "))
}

/// Returns what an order says besides its status, with the names of the fields.
fn order_fields(order: &Order) -> [(&'static str, String); 14] {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or("none".to_owned(), |value| value.to_string())
    }
    [
        ("plan", order.plan.clone()),
        ("amount", format!("{} {}", order.amount, order.currency)),
        ("interval", text(order.billing_interval)),
        ("quantity", text(order.quantity)),
        ("add-ons", text(order.addons.as_ref())),
        ("tax", text(order.tax)),
        ("discount", text(order.discount)),
        ("returned", order.returned.to_string()),
        ("customer", text(order.customer_id.as_ref())),
        ("session", text(order.stripe_checkout_session_id.as_ref())),
        ("invoice", text(order.stripe_invoice_id.as_ref())),
        ("payment", text(order.stripe_payment_intent_id.as_ref())),
        ("created at", order.created_at.to_string()),
        ("paid at", text(order.purchased_at)),
    ]
}

/// Returns the status of a subscription, and its other changes.
fn subscription_change(before: Option<&SubscriptionRow>, after: &SubscriptionRow) -> String {
    let state = |row: &SubscriptionRow| {
        format!("{} ({})", row.status, row.plan.as_deref().unwrap_or("no plan"))
    };
    let mut change = arrow(before.map_or("none".to_owned(), state), state(after));
    let Some(before) = before else { return change };
    let time = |time: Option<Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
    let id = |row: &SubscriptionRow| row.stripe_subscription_id.to_string();
    for (name, before, after) in [
        ("id", id(before), id(after)),
        ("end of the period", time(before.current_period_end), time(after.current_period_end)),
        ("scheduled end", time(before.cancel_at), time(after.cancel_at)),
        ("end of the trial", time(before.trial_end), time(after.trial_end)),
        ("waits for a payment until", time(before.pending_until), time(after.pending_until)),
    ] {
        if before != after {
            change.push_str(&format!(", {name} {}", arrow(before, after)));
        }
    }
    change
}

/// Returns `before -> after`, or only one of them if they are the same.
fn arrow(before: String, after: String) -> String {
    if before == after { after } else { format!("{before} -> {after}") }
}
