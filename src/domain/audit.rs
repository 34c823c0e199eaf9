//! Entries of the audit log: who did what to whom. They name customers by id, never by address.

use std::fmt;

use crate::domain::ids::{AdminKeyId, CustomerId};
use crate::domain::text_enum::text_enum;

/// Who does things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// The customer, signed in.
    Customer,
    /// An operator, on the command line.
    Operator,
    /// The service itself, after what Stripe said.
    System,
    /// Whoever holds this admin key.
    Admin(&'a AdminKeyId),
}

/// As it stands in the log; an admin key by its id: `admin:akey_…`.
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
    /// What was done. The text is stored, and never changes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AuditAction {
        /// A customer signed up.
        CustomerSignedUp = "customer.signed_up",
        /// The backfill made a customer whom Stripe had.
        CustomerCreated = "customer.created",
        /// A customer was imported from a file.
        CustomerImported = "customer.imported",
        /// A customer changed their account.
        CustomerChanged = "customer.changed",
        /// A customer deleted their account.
        CustomerDeleted = "customer.deleted",
        /// A license was issued for a subscription or a restored grant.
        LicenseIssued = "license.issued",
        /// An operator granted a license.
        LicenseGranted = "license.granted",
        /// A license was issued again because its key was revoked.
        LicenseRenewed = "license.renewed",
        /// A license was revoked.
        LicenseRevoked = "license.revoked",
        /// An order changed.
        OrderChanged = "order.changed",
        /// An order was merged into another one.
        OrderMerged = "order.merged",
        /// The current subscription changed.
        SubscriptionChanged = "subscription.changed",
        /// A customer was linked to a Stripe customer.
        StripeLinked = "stripe.linked",
        /// The Stripe customer was deleted and the link removed.
        StripeUnlinked = "stripe.unlinked",
        /// All customers were compared with Stripe.
        StripeCompared = "stripe.compared",
        /// An event was replayed.
        EventReplayed = "event.replayed",
        /// A mail that was given up was made due again.
        MailRetried = "mail.retried",
        /// An admin key was created.
        AdminKeyCreated = "admin_key.created",
        /// An admin key was revoked.
        AdminKeyRevoked = "admin_key.revoked",
        /// An admin key was used.
        AdminKeyUsed = "admin_key.used",
    }
}

/// Something that was done.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// Who did it.
    pub actor: Actor<'a>,
    /// What was done.
    pub action: AuditAction,
    /// To whom; none when it is about no customer, or about several.
    pub customer_id: Option<&'a CustomerId>,
    /// What else is worth knowing.
    pub detail: serde_json::Value,
}
