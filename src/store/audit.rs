//! The audit log: who did what, append-only. It names customers by id, never by address.

use super::{Tx, sql};
use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Something that was done.
#[derive(Debug)]
pub struct AuditEntry<'a> {
    /// The entry's own id.
    pub audit_id: AuditId,
    /// Who did it: `customer` or `operator`.
    pub actor: &'static str,
    /// What was done, for example `customer.signed_up`.
    pub action: &'static str,
    /// To whom.
    pub customer_id: &'a CustomerId,
    /// What else is worth knowing.
    pub detail: serde_json::Value,
}

impl Tx {
    /// Writes an entry, in the transaction of what it tells.
    pub async fn audit(&mut self, entry: AuditEntry<'_>, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO audit_log (audit_id, at, actor, action, customer_id, detail)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &entry.audit_id,
            now,
            entry.actor,
            entry.action,
            entry.customer_id,
            entry.detail.to_string(),
        )?;
        Ok(())
    }
}
