//! The use cases. HTTP, the command line and tests call the same ones.

pub mod account;
pub mod admin;
pub mod backfill;
mod buyers;
pub mod checkout;
pub mod claim;
pub mod drift;
pub mod events;
pub mod import;
pub mod inbox;
mod lease;
pub mod license;
pub mod mail;
pub mod order;
mod queue;
pub mod reconcile;
pub mod session;
pub mod settle;
pub mod setup;
pub mod signup;
mod stripe_customer;
pub mod subscription;
pub mod sync;
pub mod webhook;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::domain::audit::AuditEntry;
use crate::domain::ids::AuditId;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;

/// Whether what was decided is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is written.
    Apply,
    /// It is only reported.
    DryRun,
}

/// Notes what was done, in the transaction that did it.
async fn audit(app: &App, tx: &mut Tx, entry: AuditEntry<'_>, now: Timestamp) -> Result<()> {
    tx.insert_audit_entry(AuditId::from_random(app.random.bits()), entry, now).await
}

/// The most that is kept of an error, or of another text that may be long, in characters.
const MAX_CHARACTERS: usize = 500;

/// As much of such a text as is kept in the database.
fn brief(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// What is kept of a session token or an admin key. It has 256 random bits, so a plain hash cannot be
/// turned back.
fn secret_hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}
