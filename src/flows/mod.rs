//! The use cases. HTTP, the command line and tests call the same ones.

pub mod account;
pub mod backfill;
pub mod checkout;
mod counterpart;
pub mod import;
pub mod inbox;
mod lease;
pub mod license;
pub mod mail;
pub mod order;
pub mod reconcile;
pub mod session;
pub mod settle;
pub mod setup;
pub mod signup;
pub mod subscription;
pub mod sync;
pub mod webhook;

use crate::app::App;
use crate::domain::ids::AuditId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::{AuditEntry, Tx};

/// Notes what was done, in the transaction that did it.
async fn audit(app: &App, tx: &mut Tx, entry: AuditEntry<'_>, now: Timestamp) -> Result<()> {
    tx.insert_audit_entry(AuditId::from_random(app.random.bits()), entry, now).await
}

/// The most that is kept of an error, in characters.
const MAX_ERROR_CHARACTERS: usize = 500;

/// As much of an error as is kept in the database.
fn brief(error: &str) -> String {
    error.chars().take(MAX_ERROR_CHARACTERS).collect()
}
