//! The root key: apps pin its public part, and it signs the key bundle and nothing else. It may be
//! kept on another machine.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use licentia_verify::{Algorithm, BUNDLE_TYPE, Header};

use super::files::{self, MAX_KEY_BYTES, ROOT_FILE};
use super::modes::Role;
use super::{jose, pem, public_part, write_private_key};
use crate::config::Config;
use crate::domain::license::key_bundle::{BundleClaims, RootRecord};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::random::Random;

/// The root key with its private part.
pub struct RootKey {
    /// The public part.
    pub public: RootRecord,
    /// Its file.
    pub file: PathBuf,
    signer: jose::Ed25519Signer,
}

impl RootKey {
    /// Returns the root key in the directory of the keys; `None` if it is not on this machine.
    ///
    /// # Errors
    /// [`crate::error::Error::Setup`] when others can read the file, or it is damaged.
    pub fn load(config: &Config) -> Result<Option<Self>> {
        let path = config.keys_dir.join(ROOT_FILE);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        Self::read(&path, config).map(Some)
    }

    /// Returns the root key in a file.
    ///
    /// # Errors
    /// As [`RootKey::load`].
    pub fn read(path: &Path, config: &Config) -> Result<Self> {
        // The mode of the public part is no mistake.
        if read_text(path, MAX_KEY_BYTES).is_ok_and(|text| pem::is_public(&text)) {
            let path = path.display();
            return Err(Error::setup(format!(
                "{path} has the public part of a key; give the root key itself, which `licentia \
                 keys root init` or the server wrote (root.key)"
            )));
        }
        let text = files::read(path, Role::Root)?;
        let key =
            pem::private_key(&text, &path.display().to_string(), config.keys_passphrase.as_ref())?;
        Self::of(key, path.to_owned())
    }

    /// Creates the root key in the directory of the keys, or in `file`.
    ///
    /// # Errors
    /// [`crate::error::Error::Setup`] when the file exists or cannot be written.
    pub fn create(config: &Config, file: Option<&Path>, random: &Random) -> Result<Self> {
        let (key, text) = write_private_key(config, random)?;
        let path = match file {
            Some(path) => files::write_new(path, &text, random.bits())?,
            None => {
                let _one_at_a_time = files::lock(&config.keys_dir)?;
                files::write_root(&config.keys_dir, &text, random.bits())?
            }
        };
        Self::of(key, path)
    }

    /// Returns whether its file has the name of a signing key.
    #[must_use]
    pub fn is_named_as_signing_key(&self) -> bool {
        files::is_named_after_a_time(&self.file)
    }

    fn of(key: SigningKey, file: PathBuf) -> Result<Self> {
        let (public_key, kid) = public_part(&key);
        let header =
            Header { alg: Algorithm::default(), typ: BUNDLE_TYPE.to_owned(), kid: kid.clone() };
        let signer = jose::Ed25519Signer::new(key, &header)?;
        Ok(Self { public: RootRecord { kid, public_key }, file, signer })
    }

    /// Returns a signed bundle.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when the claims cannot be serialized, which must not
    /// happen.
    pub fn sign(&self, claims: &BundleClaims) -> Result<String> {
        self.signer.sign(claims)
    }
}
