//! The audit log, append-only. Entries have the customer's id, never an email address. The actions
//! are listed in [`crate::domain::operator::audit`].

use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::operator::audit::{AuditAction, AuditEntry};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Returns whether the customer has an entry with this action.
    pub async fn has_audit_entry(&mut self, id: &CustomerId, action: AuditAction) -> Result<bool> {
        let entry = sql!(
            self,
            fetch_optional: (String,),
            "SELECT audit_id FROM audit_log WHERE customer_id = $1 AND action = $2 LIMIT 1",
            id,
            action,
        )?;
        Ok(entry.is_some())
    }

    /// Inserts an entry, in the transaction of the change that it records.
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

    /// Returns the time and the detail of the last reconciliation until `latest`. A later one was
    /// recorded by a clock that was ahead.
    pub async fn last_reconciliation(
        &mut self,
        latest: Timestamp,
    ) -> Result<Option<(Timestamp, String)>> {
        sql!(
            self,
            fetch_optional: (Timestamp, String),
            // The action is a literal, so that the partial index is used.
            "SELECT at, detail FROM audit_log WHERE action = 'stripe.compared' AND at <= $1
             ORDER BY at DESC LIMIT 1",
            latest,
        )
    }
}
