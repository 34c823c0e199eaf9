//! Reads the audit log.

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::StoredAuditEntry;
use crate::domain::page::{Cursor, Page, PageRequest};
use crate::error::Result;

/// The entries to list. Each condition that is not `None` must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The customer.
    pub customer_id: Option<CustomerId>,
    /// The action, as it is stored.
    pub action: Option<String>,
    /// The actor, as it is stored: `customer`, `operator`, `system`, or `admin:akey_…`.
    pub actor: Option<String>,
}

/// Returns a page of the audit log, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn list(
    app: &App,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<StoredAuditEntry>> {
    let Filter { customer_id, action, actor } = filter;
    let filters = (customer_id.as_ref(), action.as_deref(), actor.as_deref());
    let entries = app.store.read().await?.audit_entries(filters, request).await?;
    let place = |entry: &StoredAuditEntry| Cursor { at: entry.at, id: entry.audit_id.to_string() };
    Ok(request.page(entries, place))
}
