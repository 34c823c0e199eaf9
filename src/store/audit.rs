//! The audit log: who did what, append-only. It names customers by id, never by address.

use super::Tx;
use super::statement::sql;
use crate::domain::audit::{AuditAction, AuditEntry};
use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// Whether this customer was ever done this.
    pub async fn has_audit_entry(&mut self, id: &CustomerId, action: AuditAction) -> Result<bool> {
        let found = sql!(
            self,
            fetch_optional: (String,),
            "SELECT audit_id FROM audit_log WHERE customer_id = $1 AND action = $2 LIMIT 1",
            id,
            action,
        )?;
        Ok(found.is_some())
    }

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
            entry.actor.to_string(),
            entry.action,
            entry.customer_id,
            entry.detail.to_string(),
        )?;
        Ok(())
    }

    /// When everybody was last compared with Stripe, and the detail of that entry.
    pub async fn last_comparison(&mut self) -> Result<Option<(Timestamp, String)>> {
        sql!(
            self,
            fetch_optional: (Timestamp, String),
            // A literal, so that the partial index on it is used.
            "SELECT at, detail FROM audit_log WHERE action = 'stripe.compared'
             ORDER BY at DESC LIMIT 1",
        )
    }
}
