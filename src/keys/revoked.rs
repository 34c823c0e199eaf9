//! The files of revoked keys. `licentia keys revoke` renames a key's file to `….revoked`. So the
//! file also says that the key stays revoked when the database was restored from an older backup.

use std::path::{Path, PathBuf};

use super::files::{self, MAX_KEY_BYTES};
use super::{pem, public_part};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::read_text;

/// A key whose file was put away as revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedFile {
    /// The key id.
    pub kid: String,
    /// The 32 bytes of the public key, base64url.
    pub public_key: String,
    /// The file.
    pub file: PathBuf,
}

/// Returns the keys in the files of revoked keys, and a warning for each file that cannot be read.
/// Such a file stops nothing: its key does not sign, and its passphrase may be a former one.
pub fn load(config: &Config) -> Result<(Vec<RevokedFile>, Vec<String>)> {
    let (mut revoked, mut warnings) = (Vec::new(), Vec::new());
    for file in files::list_revoked(&config.keys_dir)? {
        match read(&file, config) {
            Ok(key) => revoked.push(key),
            Err(error) => warnings.push(format!(
                "{error}\n  {} says which key stays revoked after the database was restored from \
                 a backup; when `licentia keys list` shows the key as revoked, you may delete it",
                file.display()
            )),
        }
    }
    Ok((revoked, warnings))
}

/// Returns the key in the file of a revoked key. Its mode does not matter any more.
fn read(file: &Path, config: &Config) -> Result<RevokedFile> {
    let shown = file.display().to_string();
    let text = read_text(file, MAX_KEY_BYTES)
        .map_err(|problem| Error::setup(format!("{shown} cannot be read: {problem}")))?;
    let key = pem::private_key(&text, &shown, config.keys_passphrase.as_ref())?;
    let (public_key, kid) = public_part(&key);
    Ok(RevokedFile { kid, public_key, file: file.to_owned() })
}
