//! The events that outgoing webhooks report, and their payloads. Each follows from an entry of the
//! audit log, which every change of a customer passes in its transaction.

use serde_json::{Map, Value, json};

use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::AuditAction;
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// The kind of an event: the `type` of its payload. Receivers rely on the text.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum EventKind {
        /// A customer signed up, was imported, or was created for a Stripe customer.
        CustomerCreated = "customer.created",
        /// A customer's data changed, or the email address was verified.
        CustomerChanged = "customer.changed",
        /// A customer was deleted.
        CustomerDeleted = "customer.deleted",
        /// A license was issued.
        LicenseIssued = "license.issued",
        /// A license was revoked.
        LicenseRevoked = "license.revoked",
        /// The current subscription changed.
        SubscriptionChanged = "subscription.changed",
        /// An order was paid.
        OrderPaid = "order.paid",
        /// An order was refunded in full.
        OrderRefunded = "order.refunded",
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The kind.
    pub kind: EventKind,
    /// The customer.
    pub customer_id: &'a CustomerId,
    /// Ids and states. Nothing that names a person.
    data: Map<String, Value>,
}

impl<'a> Event<'a> {
    /// Returns the event that an audit entry reports, if there is one.
    #[must_use]
    pub fn of(action: AuditAction, customer_id: &'a CustomerId, detail: &Value) -> Option<Self> {
        let kind = kind(action, detail)?;
        Some(Self { kind, customer_id, data: data(kind, customer_id, detail) })
    }

    /// Returns the payload, as JSON: the same in every attempt.
    #[must_use]
    pub fn payload(&self, at: Timestamp) -> String {
        let (kind, at) = (self.kind.as_str(), at.to_string());
        json!({ "type": kind, "timestamp": at, "data": self.data }).to_string()
    }
}

fn kind(action: AuditAction, detail: &Value) -> Option<EventKind> {
    // Every action is listed, so that a new one needs a decision.
    match action {
        AuditAction::CustomerSignedUp
        | AuditAction::CustomerCreated
        | AuditAction::CustomerImported => Some(EventKind::CustomerCreated),
        AuditAction::CustomerChanged
        | AuditAction::CustomerVerified
        | AuditAction::CustomerAddressChanged
        | AuditAction::CustomerAddressUndone => Some(EventKind::CustomerChanged),
        AuditAction::CustomerDeleted => Some(EventKind::CustomerDeleted),
        AuditAction::LicenseIssued
        | AuditAction::LicenseGranted
        | AuditAction::LicenseExtended
        | AuditAction::LicenseReissued => Some(EventKind::LicenseIssued),
        // It was sent as a new issue, or only mailed again.
        AuditAction::LicenseResent if !detail["after"].is_null() => Some(EventKind::LicenseIssued),
        AuditAction::LicenseRevoked => Some(EventKind::LicenseRevoked),
        AuditAction::SubscriptionChanged => Some(EventKind::SubscriptionChanged),
        AuditAction::OrderChanged => match detail["to"].as_str()?.parse().ok()? {
            OrderStatus::Succeeded => Some(EventKind::OrderPaid),
            OrderStatus::Refunded => Some(EventKind::OrderRefunded),
            OrderStatus::Pending | OrderStatus::Failed | OrderStatus::Disputed => None,
        },
        AuditAction::CustomerPasswordChanged
        | AuditAction::PasswordResetRequested
        | AuditAction::CustomerAddressRequested
        | AuditAction::CustomerExported
        | AuditAction::SessionsEnded
        | AuditAction::CustomerSynced
        | AuditAction::CustomerConverted
        | AuditAction::CustomerChurned
        | AuditAction::LicenseResent
        | AuditAction::OrderMerged
        | AuditAction::SubscriptionChangeRequested
        | AuditAction::SubscriptionCancelRequested
        | AuditAction::SubscriptionResumeRequested
        | AuditAction::TrialRefused
        | AuditAction::StripeLinked
        | AuditAction::StripeUnlinked
        | AuditAction::PurchaseClaimed
        | AuditAction::PlansReduced
        | AuditAction::StripeCompared
        | AuditAction::EventReplayed
        | AuditAction::MailRetried
        | AuditAction::AdminKeyCreated
        | AuditAction::AdminKeyRevoked
        | AuditAction::AdminKeyUsed
        | AuditAction::WebhookCreated
        | AuditAction::WebhookChanged
        | AuditAction::WebhookDeleted
        | AuditAction::WebhookDisabled
        | AuditAction::WebhookReplayed => None,
    }
}

/// Returns the data of an event. Only these fields of the audit entry are published.
fn data(kind: EventKind, customer_id: &CustomerId, detail: &Value) -> Map<String, Value> {
    // The name in the payload, and in the audit entry.
    let fields: &[(&str, &str)] = match kind {
        EventKind::CustomerCreated | EventKind::CustomerDeleted => &[],
        // The verification of an address has no such detail.
        EventKind::CustomerChanged if detail["changed"].is_null() => &[],
        EventKind::CustomerChanged => &[("changed", "changed")],
        EventKind::LicenseIssued => &[
            ("license_id", "license_id"),
            ("plan", "plan"),
            ("basis", "basis"),
            ("quantity", "quantity"),
            ("addons", "addons"),
            ("updates_until", "updates_until"),
        ],
        EventKind::LicenseRevoked => &[("license_id", "license_id"), ("plan", "plan")],
        EventKind::SubscriptionChanged => {
            &[("plan", "plan"), ("status", "to"), ("previous_status", "from")]
        }
        EventKind::OrderPaid | EventKind::OrderRefunded => &[
            ("order_id", "order_id"),
            ("plan", "plan"),
            ("amount", "amount"),
            ("currency", "currency"),
            ("interval", "interval"),
            ("quantity", "quantity"),
            ("tax", "tax"),
            ("refunded_amount", "refunded_amount"),
            ("status", "to"),
            ("previous_status", "from"),
        ],
    };
    let mut data = Map::new();
    data.insert("customer_id".to_owned(), customer_id.as_str().into());
    for (name, source) in fields {
        data.insert((*name).to_owned(), detail[*source].clone());
    }
    if kind == EventKind::CustomerChanged {
        data.entry("changed").or_insert_with(|| json!(["email_verified"]));
    }
    if kind == EventKind::SubscriptionChanged {
        let end = detail["cancel_at"].as_i64().map(Timestamp::saturating);
        data.insert("cancel_at".to_owned(), end.map(|end| end.to_string()).into());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(action: AuditAction, detail: Value) -> Option<Value> {
        let id = CustomerId::from_random(7);
        let event = Event::of(action, &id, &detail)?;
        let payload: Value =
            serde_json::from_str(&event.payload(Timestamp::saturating(1_795_186_800))).unwrap();
        assert_eq!(payload["timestamp"], "2026-11-20T15:00:00Z");
        assert_eq!(payload["type"], event.kind.as_str());
        assert_eq!(payload["data"]["customer_id"], id.as_str());
        Some(payload)
    }

    #[test]
    fn an_order_is_reported_when_it_is_paid_and_when_it_is_refunded() {
        let order = |to: &str| {
            let detail = json!({
                "order_id": "ord_1", "from": "pending", "to": to, "plan": "starter",
                "amount": 1900, "currency": "usd", "stripe_invoice_id": "in_1",
                "interval": "month", "quantity": 3, "tax": 190, "refunded_amount": 0,
            });
            of(AuditAction::OrderChanged, detail)
        };
        let paid = order("succeeded").unwrap();
        assert_eq!(paid["type"], "order.paid");
        let mut data = paid["data"].clone();
        data.as_object_mut().unwrap().remove("customer_id");
        let expected = json!({
            "order_id": "ord_1", "plan": "starter", "amount": 1900, "currency": "usd",
            "interval": "month", "quantity": 3, "tax": 190, "refunded_amount": 0,
            "status": "succeeded", "previous_status": "pending",
        });
        assert_eq!(data, expected, "another field of the audit entry is published");
        assert_eq!(order("refunded").unwrap()["type"], "order.refunded");
        for silent in ["pending", "failed", "disputed", "unknown"] {
            assert_eq!(order(silent), None, "{silent}");
        }
    }

    #[test]
    fn an_issued_license_is_reported_with_what_it_is_for() {
        let detail = json!({
            "license_id": "lic_1", "plan": "team", "source": "subscription", "basis": "once",
            "quantity": 5, "addons": ["pdf"], "updates_until": "2027-11-20T15:00:00Z",
        });
        let mut data = of(AuditAction::LicenseIssued, detail).unwrap()["data"].clone();
        data.as_object_mut().unwrap().remove("customer_id");
        let expected = json!({
            "license_id": "lic_1", "plan": "team", "basis": "once", "quantity": 5,
            "addons": ["pdf"], "updates_until": "2027-11-20T15:00:00Z",
        });
        assert_eq!(data, expected);
    }

    #[test]
    fn a_subscription_is_reported_with_its_states_and_its_end() {
        let detail = json!({
            "from": null, "to": "active", "plan": "starter", "cancel_at": 1_795_186_800,
        });
        let data = of(AuditAction::SubscriptionChanged, detail).unwrap()["data"].clone();
        assert_eq!(data["status"], "active");
        assert_eq!(data["previous_status"], Value::Null);
        assert_eq!(data["cancel_at"], "2026-11-20T15:00:00Z");
    }

    #[test]
    fn a_change_of_a_customer_names_the_fields_and_not_their_values() {
        let changed = |action, detail| of(action, detail).unwrap()["data"]["changed"].clone();
        let detail = json!({ "changed": ["name"], "before": "Ada", "after": "Ada King" });
        assert_eq!(changed(AuditAction::CustomerChanged, detail), json!(["name"]));
        let verified = changed(AuditAction::CustomerVerified, json!({}));
        assert_eq!(verified, json!(["email_verified"]));
    }

    #[test]
    fn the_use_of_an_admin_key_is_no_event() {
        assert_eq!(of(AuditAction::AdminKeyUsed, json!({ "operation": "getDrift" })), None);
    }
}
