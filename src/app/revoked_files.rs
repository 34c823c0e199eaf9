//! Keys whose files were put away as revoked, but whose records are not revoked: the database was
//! restored from a backup that is older than the revocation.

use crate::app::keys::StoredKeys;
use crate::domain::license::signing_key::KeyRecord;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::keys::{KeyRing, RevokedFile};
use crate::store::Tx;

/// A record that must be revoked, and the file that says so.
pub(super) struct RevokedByFile {
    pub record: KeyRecord,
    file: RevokedFile,
}

impl RevokedByFile {
    /// Returns the warning for the operator.
    pub fn warning(&self) -> String {
        format!(
            "{} says that the key {} was revoked, and the database did not know it: it was \
             probably restored from a backup. The key is revoked now (docs/keys.md, \"After a \
             backup was restored\")",
            self.file.file.display(),
            self.file.kid
        )
    }
}

/// Returns the revoked records of the keys that are revoked by their files, and not in `records`. A
/// key that the database does not know gets a record too, so that the bundle lists it as revoked.
pub(super) async fn revoked_by_files(
    tx: &mut Tx,
    ring: &KeyRing,
    records: &[KeyRecord],
    now: Timestamp,
) -> Result<Vec<RevokedByFile>> {
    let mut revoked = Vec::new();
    for file in ring.revoked_files() {
        let record = match records.iter().find(|record| record.kid == file.kid) {
            Some(record) if record.revoked_at.is_some() => continue,
            Some(record) => KeyRecord { revoked_at: Some(now), ..record.clone() },
            None => {
                let public_key = Some(file.public_key.clone());
                let first_issue = tx.first_issue(&file.kid).await?;
                KeyRecord::of_revoked(file.kid.clone(), public_key, first_issue, now)
            }
        };
        revoked.push(RevokedByFile { record, file: file.clone() });
    }
    Ok(revoked)
}

impl StoredKeys {
    /// Replaces records, or adds them.
    pub(super) fn put(&mut self, changed: impl IntoIterator<Item = KeyRecord>) {
        for new in changed {
            self.records.retain(|record| record.kid != new.kid);
            self.records.push(new);
        }
    }
}
