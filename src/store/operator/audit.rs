//! The audit log, append-only. It names customers by their ids; addresses and names are only in
//! `personal`, which is removed when the customer is deleted. The actions are listed in
//! [`crate::domain::operator::audit`].

use crate::domain::column::Parameter;
use crate::domain::ids::{AuditId, CustomerId};
use crate::domain::operator::audit::{
    AuditAction, AuditEntry, PersonalAuditEntry, StoredAuditEntry,
};
use crate::domain::page::PageRequest;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Statement, sql};

impl Tx {
    /// Returns the time of the customer's first entry with this action.
    pub async fn audited_at(
        &mut self,
        id: &CustomerId,
        action: AuditAction,
    ) -> Result<Option<Timestamp>> {
        let entry = sql!(
            self,
            fetch_optional: (Timestamp,),
            "SELECT at FROM audit_log WHERE customer_id = $1 AND action = $2 ORDER BY at LIMIT 1",
            id,
            action,
        )?;
        Ok(entry.map(|(at,)| at))
    }

    /// Inserts an entry, in the transaction of the change that it records. `request_id` is the
    /// request that makes the change.
    pub async fn insert_audit_entry(
        &mut self,
        id: AuditId,
        entry: AuditEntry<'_>,
        request_id: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO audit_log
                 (audit_id, at, actor, action, customer_id, detail, personal, request_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id,
            now,
            entry.actor.to_string(),
            entry.action,
            entry.customer_id,
            entry.detail.to_string(),
            entry.personal,
            request_id,
        )?;
        Ok(())
    }

    /// Returns a page of the entries about a customer, newest first.
    pub async fn audit_page(
        &mut self,
        id: &CustomerId,
        request: &PageRequest,
    ) -> Result<Vec<StoredAuditEntry>> {
        let (at, audit_id) = request.before();
        sql!(
            self,
            fetch_all: StoredAuditEntry,
            "SELECT {columns} FROM audit_log
             WHERE customer_id = $1 AND (at, audit_id) < ($2, $3)
             ORDER BY at DESC, audit_id DESC LIMIT $4",
            id,
            at,
            audit_id,
            request.rows(),
        )
    }

    /// Returns a page of the log, newest first. `filters` are the customer, the action and the
    /// actor.
    pub async fn audit_entries(
        &mut self,
        (customer_id, action, actor): (Option<&CustomerId>, Option<&str>, Option<&str>),
        request: &PageRequest,
    ) -> Result<Vec<StoredAuditEntry>> {
        let (at, audit_id) = request.before();
        let mut text = "SELECT {columns} FROM audit_log WHERE (at, audit_id) < ($1, $2)".to_owned();
        let mut values = vec![at.to_value(), audit_id.to_value()];
        let filters = [
            ("customer_id", customer_id.map(CustomerId::as_str)),
            ("action", action),
            ("actor", actor),
        ];
        // Each condition is a part of the text, so that its index is used.
        for (column, value) in filters {
            if let Some(value) = value {
                values.push(value.to_value());
                text.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        values.push(request.rows().to_value());
        text.push_str(&format!(" ORDER BY at DESC, audit_id DESC LIMIT ${}", values.len()));
        self.fetch_all(Statement::composed(text, values)).await
    }

    /// Returns the newest entries about a customer with the names and addresses, at most `most`.
    pub async fn personal_audit_entries(
        &mut self,
        id: &CustomerId,
        most: i64,
    ) -> Result<Vec<PersonalAuditEntry>> {
        sql!(
            self,
            fetch_all: PersonalAuditEntry,
            "SELECT {columns} FROM audit_log WHERE customer_id = $1
             ORDER BY at DESC, audit_id DESC LIMIT $2",
            id,
            most,
        )
    }

    /// Removes the addresses and names of a deleted customer from the log.
    pub async fn forget_personal_values(&mut self, id: &CustomerId) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE audit_log SET personal = NULL WHERE customer_id = $1 AND personal IS NOT NULL",
            id,
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
