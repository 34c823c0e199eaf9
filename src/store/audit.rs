//! The audit log: who did what, append-only. It names customers by id, never by address.

use super::{Tx, sql};
use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Who does things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The customer, signed in.
    Customer,
    /// An operator, on the command line.
    Operator,
    /// The service itself, after what Stripe said.
    System,
}

impl Actor {
    fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// Something that was done.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// Who did it.
    pub actor: Actor,
    /// What was done, for example `customer.signed_up`.
    pub action: &'static str,
    /// To whom; none when it is about no customer, or about several.
    pub customer_id: Option<&'a CustomerId>,
    /// What else is worth knowing.
    pub detail: serde_json::Value,
}

impl Tx {
    /// Writes an entry, in the transaction of what it tells.
    pub async fn insert_audit_entry(
        &mut self,
        id: AuditId,
        entry: AuditEntry<'_>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO audit_log (audit_id, at, actor, action, customer_id, detail)
             VALUES ($1, $2, $3, $4, $5, $6)",
            id,
            now,
            entry.actor.as_str(),
            entry.action,
            entry.customer_id,
            entry.detail.to_string(),
        )?;
        Ok(())
    }
}
