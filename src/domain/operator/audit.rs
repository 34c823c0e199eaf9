//! Entries of the audit log: actor, action, customer, detail, and the values before and after a
//! change. Addresses and names are only in [`AuditEntry::personal`]. The flows write them.

use std::fmt;

use serde_json::{Value, json};

use crate::domain::column::row;
use crate::domain::ids::{AdminKeyId, AuditId, CustomerId};
use crate::domain::private::Private;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// The actor of an audited action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// The customer, logged in.
    Customer,
    /// An operator, on the command line.
    Operator,
    /// The service itself, in a sync with Stripe.
    System,
    /// The holder of this admin key.
    Admin(&'a AdminKeyId),
}

/// An actor who outlives the request, for work in a task of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedActor {
    /// The customer, logged in.
    Customer,
    /// An operator, on the command line.
    Operator,
    /// The holder of this admin key.
    Admin(AdminKeyId),
}

impl OwnedActor {
    /// Returns the actor.
    #[must_use]
    pub fn actor(&self) -> Actor<'_> {
        match self {
            Self::Customer => Actor::Customer,
            Self::Operator => Actor::Operator,
            Self::Admin(id) => Actor::Admin(id),
        }
    }
}

/// Writes the actor as in the log; an admin key by its id: `admin:akey_…`.
impl fmt::Display for Actor<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Customer => formatter.write_str("customer"),
            Self::Operator => formatter.write_str("operator"),
            Self::System => formatter.write_str("system"),
            Self::Admin(id) => write!(formatter, "admin:{id}"),
        }
    }
}

text_enum! {
    /// An audited action. Its text is stored, so it must never change.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AuditAction {
        /// A customer signed up.
        CustomerSignedUp = "customer.signed_up",
        /// A customer was created for an existing Stripe customer, or by support.
        CustomerCreated = "customer.created",
        /// A customer was imported from a file.
        CustomerImported = "customer.imported",
        /// A customer verified their email address.
        CustomerVerified = "customer.verified",
        /// A customer requested another email address.
        CustomerAddressRequested = "customer.address_requested",
        /// A customer confirmed a new email address.
        CustomerAddressChanged = "customer.address_changed",
        /// The owner of a former email address undid its change.
        CustomerAddressUndone = "customer.address_undone",
        /// A customer set a new password.
        CustomerPasswordChanged = "customer.password_changed",
        /// A customer's data changed.
        CustomerChanged = "customer.changed",
        /// Support requested the mail with the link that sets a password.
        PasswordResetRequested = "password.reset_requested",
        /// Support ended all login sessions of a customer.
        SessionsEnded = "session.ended_all",
        /// Support synced a customer with Stripe.
        CustomerSynced = "customer.synced",
        /// A customer got the first license for a payment.
        CustomerConverted = "customer.converted",
        /// A customer's subscription ended.
        CustomerChurned = "customer.churned",
        /// A customer exported their data.
        CustomerExported = "customer.exported",
        /// An account was deleted.
        CustomerDeleted = "customer.deleted",
        /// A license was issued for a trial, a subscription or a restored grant.
        LicenseIssued = "license.issued",
        /// An operator granted a license.
        LicenseGranted = "license.granted",
        /// Support extended a license.
        LicenseExtended = "license.extended",
        /// Support sent a license again, perhaps as a new issue.
        LicenseResent = "license.resent",
        /// A license was reissued: its key was revoked, or a reset proved whose the account is.
        LicenseReissued = "license.renewed",
        /// A license was revoked.
        LicenseRevoked = "license.revoked",
        /// An order changed.
        OrderChanged = "order.changed",
        /// An order was merged into another one.
        OrderMerged = "order.merged",
        /// The current subscription changed.
        SubscriptionChanged = "subscription.changed",
        /// A customer requested a change of the subscription.
        SubscriptionChangeRequested = "subscription.change_requested",
        /// A customer requested the end of the subscription.
        SubscriptionCancelRequested = "subscription.cancel_requested",
        /// A customer requested to resume the subscription.
        SubscriptionResumeRequested = "subscription.resume_requested",
        /// A trial at Stripe was refused: its card has had one.
        TrialRefused = "trial.refused",
        /// A customer was linked to a Stripe customer.
        StripeLinked = "stripe.linked",
        /// The link to a Stripe customer was removed: by support, or because it was deleted.
        StripeUnlinked = "stripe.unlinked",
        /// A single payment was given to a customer: of a guest, or of another Stripe customer.
        PurchaseClaimed = "purchase.claimed",
        /// A changed plans file no longer grants everything that it granted.
        PlansReduced = "plans.reduced",
        /// All customers were reconciled with Stripe.
        StripeCompared = "stripe.compared",
        /// An event was replayed.
        EventReplayed = "event.replayed",
        /// A mail that was given up was scheduled again.
        MailRetried = "mail.retried",
        /// An admin key was created.
        AdminKeyCreated = "admin_key.created",
        /// An admin key was revoked.
        AdminKeyRevoked = "admin_key.revoked",
        /// An admin key was used.
        AdminKeyUsed = "admin_key.used",
        /// An outgoing webhook was created.
        WebhookCreated = "webhook.created",
        /// An outgoing webhook was changed.
        WebhookChanged = "webhook.changed",
        /// An outgoing webhook was deleted.
        WebhookDeleted = "webhook.deleted",
        /// An outgoing webhook was disabled, because its receiver returned a 410.
        WebhookDisabled = "webhook.disabled",
        /// A delivery of an outgoing webhook was replayed.
        WebhookReplayed = "webhook.replayed",
    }
}

/// An audit entry.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// The actor.
    pub actor: Actor<'a>,
    /// The action.
    pub action: AuditAction,
    /// The customer; `None` when the action is about no customer or several.
    pub customer_id: Option<&'a CustomerId>,
    /// Further facts, as a JSON object. They name nobody: only ids, plans, times and amounts.
    pub detail: Value,
    /// The values before and after that name a person, as a JSON object. They are removed when the
    /// customer is deleted.
    pub personal: Option<Private>,
}

impl<'a> AuditEntry<'a> {
    /// Returns an entry with these facts.
    #[must_use]
    pub fn new(
        actor: Actor<'a>,
        action: AuditAction,
        customer_id: Option<&'a CustomerId>,
        detail: Value,
    ) -> Self {
        Self { actor, action, customer_id, detail, personal: None }
    }

    /// Adds the values before and after a change that name nobody, as `before` and `after` of the
    /// detail.
    #[must_use]
    pub fn changed(mut self, before: Value, after: Value) -> Self {
        if let Value::Object(detail) = &mut self.detail {
            detail.insert("before".to_owned(), before);
            detail.insert("after".to_owned(), after);
        }
        self
    }

    /// Adds the values before and after a change that name a person: addresses and names.
    #[must_use]
    pub fn changed_personal(mut self, before: &Value, after: &Value) -> Self {
        let values = json!({ "before": before, "after": after });
        self.personal = Some(values.to_string().into());
        self
    }
}

row! {
    /// An entry of the audit log, as it is stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredAuditEntry {
        /// The id.
        pub audit_id: AuditId,
        /// The time.
        pub at: Timestamp,
        /// The actor, as [`Actor`] writes it.
        pub actor: String,
        /// The action: an [`AuditAction`], perhaps of a newer version.
        pub action: String,
        /// The customer; `None` when the action is about no customer or several.
        pub customer_id: Option<CustomerId>,
        /// Further facts, as a JSON object.
        pub detail: String,
        /// The values before and after that name a person, as a JSON object.
        pub personal: Option<Private>,
        /// The request that made the change; `None` for the command line and background work.
        pub request_id: Option<String>,
    }
}

row! {
    /// An entry of the audit log for the customer whom it is about: with the names and addresses,
    /// and without Stripe's ids.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PersonalAuditEntry {
        /// The time.
        pub at: Timestamp,
        /// The actor, as [`Actor`] writes it.
        pub actor: String,
        /// The action: an [`AuditAction`], perhaps of a newer version.
        pub action: String,
        /// The values before and after a change that name a person, as a JSON object.
        pub personal: Option<Private>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_value_is_in_the_detail_unless_it_names_a_person() {
        let id = CustomerId::from_random(7);
        let actor = Actor::Operator;
        let entry =
            AuditEntry::new(actor, AuditAction::LicenseGranted, Some(&id), json!({ "n": 1 }))
                .changed(json!({ "plan": "starter" }), json!({ "plan": "professional" }))
                .changed_personal(&json!({ "name": "Ada" }), &json!({ "name": "Ada King" }));
        let detail = json!({
            "n": 1, "before": { "plan": "starter" }, "after": { "plan": "professional" },
        });
        assert_eq!(entry.detail, detail);
        let personal = entry.personal.as_ref().map(Private::as_str);
        let values = json!({ "before": { "name": "Ada" }, "after": { "name": "Ada King" } });
        assert_eq!(personal, Some(values.to_string().as_str()));
        assert!(!format!("{entry:?}").contains("King"));
    }
}
