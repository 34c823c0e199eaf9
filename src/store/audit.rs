//! The audit log: who did what, append-only. It names customers by id, never by address.

use std::fmt;

use super::{Tx, sql};
use crate::domain::ids::{AdminKeyId, AuditId, CustomerId};
use crate::domain::time::Timestamp;
use crate::error::Result;

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

impl Tx {
    /// Whether this customer was ever done this.
    pub async fn has_audit_entry(&mut self, id: &CustomerId, action: &str) -> Result<bool> {
        let found = sql!(
            &mut *self,
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
            "SELECT at, detail FROM audit_log WHERE action = 'stripe.compared'
             ORDER BY at DESC LIMIT 1",
        )
    }
}
