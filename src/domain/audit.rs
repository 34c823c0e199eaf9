//! Entries of the audit log: who did what to whom. They name customers by id, never by address.

use std::fmt;

use crate::domain::ids::{AdminKeyId, CustomerId};

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

/// Something that was done.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// Who did it.
    pub actor: Actor<'a>,
    /// What was done, for example `customer.signed_up`.
    pub action: &'static str,
    /// To whom; none when it is about no customer, or about several.
    pub customer_id: Option<&'a CustomerId>,
    /// What else is worth knowing.
    pub detail: serde_json::Value,
}
