//! The use cases, which HTTP, the command line and the worker call. A flow reads, lets
//! [`crate::domain`] decide, and writes the result in one transaction.

pub mod account;
pub mod idempotency;
pub mod license;
pub mod mail;
pub mod operator;
mod queue;
pub mod sale;
pub mod secret;

use crate::app::App;
use crate::domain::ids::AuditId;
use crate::domain::operator::audit::AuditEntry;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::operator::outgoing;
use crate::request_id;
use crate::store::Tx;

/// Whether changes are applied or only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The changes are applied.
    Apply,
    /// The changes are only reported: neither the customers' records nor Stripe change. Leases,
    /// logs and metrics are still written.
    DryRun,
}

/// Writes an audit entry with the id of the current request, in the transaction of the change, and
/// the deliveries of outgoing webhooks that report it.
async fn audit(app: &App, tx: &mut Tx, entry: AuditEntry<'_>, now: Timestamp) -> Result<()> {
    outgoing::report(app, tx, &entry, now).await?;
    let request_id = request_id::current();
    let id = AuditId::from_random(app.random.bits());
    tx.insert_audit_entry(id, entry, request_id.as_deref(), now).await
}

/// The longest stored error or other free text, in characters.
const MAX_CHARACTERS: usize = 500;

/// Returns the part of a text that is stored.
fn brief(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}
