//! The use cases, which HTTP, the command line and tests call. A flow reads, lets
//! [`crate::domain`] decide, and writes the result in one transaction.

pub mod account;
pub mod license;
pub mod mail;
pub mod operator;
mod queue;
pub mod sale;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::domain::ids::AuditId;
use crate::domain::operator::audit::AuditEntry;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;

/// Whether changes are applied or only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The changes are applied.
    Apply,
    /// The changes are only reported.
    DryRun,
}

/// Writes an audit entry, in the transaction of the change.
async fn audit(app: &App, tx: &mut Tx, entry: AuditEntry<'_>, now: Timestamp) -> Result<()> {
    tx.insert_audit_entry(AuditId::from_random(app.random.bits()), entry, now).await
}

/// The longest stored error or other free text, in characters.
const MAX_CHARACTERS: usize = 500;

/// Returns the part of a text that is stored.
fn brief(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// Returns the stored hash of a session token or an admin key. These have 256 random bits, so a
/// plain hash cannot be reversed.
fn secret_hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}
