//! The signing keys: load, generate, sign and publish. `keys/README.md` describes the directory and
//! its modes. Verification is in the `licentia-verify` crate.
//!
//! A key is one file, `<time>.pem`, or a setting. The database records since when each key is
//! published (`domain/license/signing_key.rs`), and that decides which one signs ([`Keys`]).
//! Without records, a key signs from the time in its name until a newer key signs.

pub mod bundle;
mod files;
mod jose;
mod live;
mod modes;
mod pem;
mod revoked;
mod root;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};
use licentia_verify::{Algorithm, Claims, Header, Jwk, LICENSE_TYPE};
use secrecy::ExposeSecret;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::modes::Role;
use crate::config::Config;
use crate::domain::license::LicenseToken;
use crate::domain::license::signing_key::{HeldKey, KeyRecord, NewKey, public_jwk};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::random::Random;

pub use crate::domain::license::signing_key::{KeyState, PUBLISHED_BEFORE_SIGNING};
pub use files::{ROOT_FILE, command_for_a_secret};
pub use live::{COMPARED_EVERY, Keys, Snapshot};
pub use pem::is_private;
pub use revoked::RevokedFile;
pub use root::RootKey;

/// The maximum number of keys: years of monthly rotation. More than that means a wrong directory.
const MAX_KEYS: usize = 100;

/// The keys, oldest first. There is always at least one.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
    revoked_files: Vec<RevokedFile>,
    warnings: Vec<String>,
    algorithm: Algorithm,
}

/// One signing key.
#[derive(Clone)]
pub struct Key {
    /// The key id: the RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// The time in its file's name; 1970 for a key from the environment. It signs from then on,
    /// unless the database has records of keys: then they decide.
    pub named_time: Timestamp,
    /// The key's file; `None` for a key from the environment.
    pub file: Option<PathBuf>,
    /// Whether it signs instead of newer keys: the setting `signing_key`.
    pub is_preferred: bool,
    public: Jwk,
    algorithm: Algorithm,
    signer: Arc<jose::Ed25519Signer>,
}

/// The published keys (RFC 7517).
#[derive(Clone, Debug, Serialize)]
pub struct Jwks {
    /// The public keys.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// Returns the key set with these keys. `alg` is omitted when licenses use its newer name:
    /// older licenses still have the older name, and a key may have only one.
    fn new(keys: impl Iterator<Item = Jwk>, algorithm: Algorithm) -> Self {
        let alg = Some(Algorithm::EdDSA).filter(|older| algorithm == *older);
        Self { keys: keys.map(|key| Jwk { alg, ..key }).collect() }
    }
}

impl KeyRing {
    /// Loads all configured keys. Returns `None` when there is no key.
    ///
    /// # Errors
    /// [`Error::Setup`] when a file is readable by others, damaged, misnamed, or encrypted without
    /// the right passphrase.
    pub fn load(config: &Config) -> Result<Option<Self>> {
        let (files, mut problems) = files::list(&config.keys_dir)?;
        let mut keys = Vec::new();
        let mut add = |key: Result<Key>| match key {
            Ok(key) => keys.push(key),
            Err(error) => problems.push(error.to_string()),
        };
        // Keys from the environment sign from 1970 on. The former ones are the oldest of all keys,
        // and `signing_key` is the newest.
        let always = Timestamp::saturating(0);
        let former = config.former_signing_keys.as_ref();
        for text in former.map(|text| pem::blocks(text.expose_secret())).unwrap_or_default() {
            add(Key::read(&text, "LICENTIA_FORMER_SIGNING_KEYS", always, config));
        }
        for file in files {
            let shown = file.path.display().to_string();
            let key = files::read(&file.path, Role::Signing)
                .and_then(|text| Key::read(&text, &shown, file.named_time, config));
            add(key.map(|key| Key { file: Some(file.path), ..key }));
        }
        if let Some(text) = &config.signing_key {
            let key = Key::read(text.expose_secret(), "LICENTIA_SIGNING_KEY", always, config);
            add(key.map(|key| Key { is_preferred: true, ..key }));
        }
        problems.extend(duplicates(&keys));
        if !problems.is_empty() {
            return Err(Error::Setup(problems));
        }
        let (revoked_files, warnings) = revoked::load(config)?;
        let ring = Self { keys, revoked_files, warnings, algorithm: config.license_algorithm };
        Ok(Some(ring).filter(|ring| !ring.keys.is_empty()))
    }

    /// Generates the first key, unless another process has done so.
    ///
    /// # Errors
    /// As [`KeyRing::generate`].
    pub fn generate_first(config: &Config, now: Timestamp, random: &Random) -> Result<()> {
        let _one_at_a_time = files::lock(&config.keys_dir)?;
        if Self::load(config)?.is_none() {
            let path = Self::generate(config, now, random)?;
            let path = path.display();
            tracing::info!(%path, "generated the first signing key; keep a backup");
        }
        Ok(())
    }

    /// Adds a new key. It signs at once if it is the first key or `at_once` is set, otherwise after
    /// [`PUBLISHED_BEFORE_SIGNING`]. Returns the new file's path and the time from which it signs.
    ///
    /// Existing keys whose names lie further in the future (from a clock that was ahead, or chosen
    /// by the operator) are renamed to sign before the new key.
    ///
    /// # Errors
    /// As [`KeyRing::load`] and [`KeyRing::generate`].
    pub fn add(
        config: &Config,
        now: Timestamp,
        at_once: bool,
        random: &Random,
    ) -> Result<(PathBuf, Timestamp)> {
        let _one_at_a_time = files::lock(&config.keys_dir)?;
        let published = now + PUBLISHED_BEFORE_SIGNING;
        let keys = Self::load(config)?.map(|ring| ring.keys);
        let named_time = if at_once || keys.is_none() { now } else { published };
        let named_time = files::free_time(&config.keys_dir, named_time);
        let mut before = named_time;
        for key in keys.iter().flatten().rev().filter(|key| key.named_time > published) {
            if let Some(file) = &key.file {
                before = before - TimeDelta::seconds(1);
                let path = files::rename(file, before)?;
                tracing::warn!(
                    from = %file.display(), to = %path.display(),
                    "renamed a key with a time in the future, so that it signs before the new key"
                );
            }
        }
        Ok((Self::generate(config, named_time, random)?, named_time))
    }

    /// Corrects the name of a key from a clock that was ahead, and returns the reloaded ring.
    ///
    /// Without another key, a key with a time in the future signs immediately. At that time, it
    /// would sign again instead of newer keys. Only the oldest key can be in this state, so
    /// renaming it to the present does not change which key signs when. A failure to rename is only
    /// logged.
    ///
    /// # Errors
    /// As [`KeyRing::load`].
    pub fn with_the_right_clock(self, config: &Config, now: Timestamp) -> Result<Self> {
        let signing = self.signing(now);
        let Some(file) = signing.file.as_ref().filter(|_| signing.named_time > now + SKEW) else {
            return Ok(self);
        };
        let renamed = files::lock(&config.keys_dir).and_then(|_lock| files::rename(file, now));
        match renamed {
            Ok(path) => tracing::warn!(
                from = %file.display(), to = %path.display(),
                "renamed the signing key: the time in its name was in the future, probably from a \
                 clock that was ahead"
            ),
            Err(error) => tracing::warn!(
                %error,
                "the time in the signing key's name is in the future; rename the file to the \
                 present, or the key will sign again from that time on, instead of newer keys"
            ),
        }
        Ok(Self::load(config)?.unwrap_or(self))
    }

    /// Generates a key that signs from the given time. Returns the path of its file.
    ///
    /// # Errors
    /// [`Error::Setup`] when the directory cannot be created or written, or others can use it.
    pub fn generate(config: &Config, named_time: Timestamp, random: &Random) -> Result<PathBuf> {
        let (_, text) = write_private_key(config, random)?;
        files::write(&config.keys_dir, named_time, &text, random.bits())
    }

    /// Renames the file of a key, so that this server no longer loads its private part. If that is
    /// impossible, returns what the operator must do instead.
    #[must_use]
    pub fn put_away(&self, kid: &str) -> Option<String> {
        let key = self.key(kid)?;
        let Some(file) = &key.file else {
            let setting = key.setting();
            return Some(format!("the servers have it as {setting}: remove it there, and restart"));
        };
        let problem = files::put_away(file).err()?;
        Some(format!("{problem}: remove it from the Secret or volume that is mounted there"))
    }

    /// Returns the keys, oldest first, each with its state at `now`.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = (&Key, KeyState)> {
        let signing = self.signing_index(now);
        self.keys.iter().enumerate().map(move |(index, key)| {
            let state = match key.named_time > now {
                _ if index == signing => KeyState::Signing,
                true => KeyState::Next,
                false => KeyState::Former,
            };
            (key, state)
        })
    }

    /// Returns the key that signs at `now`.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> &Key {
        &self.keys[self.signing_index(now)]
    }

    /// Returns the key set of the ring: the public part of every key.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks::new(self.keys.iter().map(|key| key.public.clone()), self.algorithm)
    }

    /// Returns the keys, for the decision which one signs.
    #[must_use]
    pub fn held(&self) -> Vec<HeldKey<'_>> {
        self.keys
            .iter()
            .map(|key| HeldKey { kid: &key.kid, is_preferred: key.is_preferred })
            .collect()
    }

    /// Returns the key with this id.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// Returns the keys whose files were put away as revoked, oldest first.
    #[must_use]
    pub fn revoked_files(&self) -> &[RevokedFile] {
        &self.revoked_files
    }

    /// Returns the file that says that this key was revoked.
    #[must_use]
    pub fn revoked_file(&self, kid: &str) -> Option<&Path> {
        let revoked = self.revoked_files.iter().find(|revoked| revoked.kid == kid);
        revoked.map(|revoked| revoked.file.as_path())
    }

    /// Returns the files of revoked keys in the directory of the keys, read or not.
    ///
    /// # Errors
    /// [`Error::Setup`] when the directory cannot be read.
    pub fn revoked_in(config: &Config) -> Result<Vec<PathBuf>> {
        files::list_revoked(&config.keys_dir)
    }

    /// Returns the warnings about files of revoked keys that cannot be read.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the key in this file.
    #[must_use]
    pub fn of_file(&self, path: &Path) -> Option<&Key> {
        self.keys.iter().find(|key| key.file.as_deref() == Some(path))
    }

    /// Returns the keys without a record, in the order in which they sign.
    #[must_use]
    pub fn without_record(&self, is_known: impl Fn(&str) -> bool) -> Vec<NewKey> {
        let new = self.keys.iter().filter(|key| !is_known(&key.kid));
        new.map(|key| NewKey {
            kid: key.kid.clone(),
            public_key: key.public.x.clone(),
            named_time: key.named_time,
            first_issue: None,
        })
        .collect()
    }

    /// Returns a text that changes when a file in the directory of the keys changes: reading
    /// encrypted keys takes long.
    #[must_use]
    pub fn fingerprint(config: &Config) -> String {
        files::fingerprint(&config.keys_dir)
    }

    /// Returns the newest key other than `kid` that was neither retired nor revoked.
    #[must_use]
    pub fn newest_usable(&self, records: &[KeyRecord], kid: &str) -> Option<&str> {
        let record = |kid: &str| records.iter().find(|record| record.kid == kid);
        let is_usable = |kid: &str| record(kid).is_none_or(KeyRecord::is_usable);
        let kids = self.keys.iter().rev().map(|key| key.kid.as_str());
        kids.into_iter().find(|held| *held != kid && is_usable(held))
    }

    /// Returns whether any key is a file.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.keys.iter().any(|key| key.file.is_some())
    }

    /// Checks that the ring has all of these keys, so that licenses in the field still verify.
    ///
    /// # Errors
    /// [`Error::Setup`] with the missing keys. For those that were revoked by their files or in
    /// `records`, it does not advise to restore them.
    pub fn must_hold(
        &self,
        kids: &[String],
        records: &[KeyRecord],
        directory: &Path,
    ) -> Result<()> {
        let is_recorded = |kid: &str| {
            records.iter().any(|record| record.kid == kid && record.revoked_at.is_some())
        };
        let (mut problems, mut lost) = (Vec::new(), Vec::new());
        for kid in kids.iter().filter(|kid| self.key(kid).is_none()) {
            match self.revoked_file(kid) {
                _ if is_recorded(kid) => problems.push(format!(
                    "the key {kid} is revoked, and some of its licenses are not\n  \
                     run: licentia keys revoke {kid}"
                )),
                None => lost.push(kid.as_str()),
                Some(file) => problems.push(format!(
                    "{} says that the key {kid} was revoked, and the database does not know it; \
                     it was probably restored from a backup\n  \
                     run: licentia keys revoke {kid}\n  \
                     do not restore the key's file: whoever has the key could sign licenses again",
                    file.display()
                )),
            }
        }
        if !lost.is_empty() {
            problems.push(format!(
                "the keys of licenses in the field are missing: {}\n  \
                 restore their files to {} from a backup, or add them to `former_signing_keys`; if \
                 a key is permanently lost, run `licentia keys revoke`, which reissues its licenses",
                lost.join(", "),
                directory.display(),
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Setup(problems)) }
    }

    fn signing_index(&self, now: Timestamp) -> usize {
        // If every key has a time in the future (the clock is behind), the oldest one signs.
        self.keys.iter().rposition(|key| key.named_time <= now).unwrap_or(0)
    }
}

impl Key {
    /// Reads a key from a text. `shown` names the text in errors.
    fn read(text: &str, shown: &str, named_time: Timestamp, config: &Config) -> Result<Self> {
        let key = pem::private_key(text, shown, config.keys_passphrase.as_ref())?;
        let (x, kid) = public_part(&key);
        let algorithm = config.license_algorithm;
        let header = Header { alg: algorithm, typ: LICENSE_TYPE.to_owned(), kid: kid.clone() };
        let signer = Arc::new(jose::Ed25519Signer::new(key, &header)?);
        let public = public_jwk(x, kid.clone());
        Ok(Self { kid, named_time, file: None, is_preferred: false, public, algorithm, signer })
    }

    /// Returns the variable of a key that is not a file.
    fn setting(&self) -> &'static str {
        if self.is_preferred { "LICENTIA_SIGNING_KEY" } else { "LICENTIA_FORMER_SIGNING_KEYS" }
    }

    /// Signs a license. Returns the license token.
    ///
    /// # Errors
    /// [`Error::Internal`] when the claims cannot be serialized, which must not happen.
    pub fn sign(&self, claims: &Claims) -> Result<LicenseToken> {
        self.signer.sign(claims).map(LicenseToken::new)
    }

    /// Signs another document than a license: one with this `typ`. Returns its compact form.
    ///
    /// # Errors
    /// [`Error::Internal`] when the claims cannot be serialized, which must not happen.
    pub fn sign_as(&self, typ: &str, claims: &impl Serialize) -> Result<String> {
        let (typ, kid) = (typ.to_owned(), self.kid.clone());
        self.signer.sign_as(&Header { alg: self.algorithm, typ, kid }, claims)
    }
}

/// Returns the public part of a key, base64url, and its thumbprint.
fn public_part(key: &SigningKey) -> (String, String) {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let kid = thumbprint(&x);
    (x, kid)
}

/// Returns a new private key and its PEM, which is encrypted if a passphrase is set.
fn write_private_key(config: &Config, random: &Random) -> Result<(SigningKey, Zeroizing<String>)> {
    let secret = Zeroizing::new(random.bytes::<32>());
    // Without the public key (RFC 5958, version 1): OpenSSL does not read version 2.
    let key = KeypairBytes { secret_key: *secret, public_key: None };
    let pem = match &config.keys_passphrase {
        None => key.to_pkcs8_pem(LineEnding::LF),
        Some(passphrase) => key.to_pkcs8_encrypted_pem(passphrase.expose_secret(), LineEnding::LF),
    };
    let pem = pem.map_err(|error| Error::Internal(format!("a key cannot be written: {error}")))?;
    Ok((SigningKey::from_bytes(&secret), pem))
}

/// Returns the key's thumbprint: the SHA-256 of the required members in order, without white space
/// (RFC 7638, section 3).
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// Returns the problems with duplicate keys, or with too many keys.
fn duplicates(keys: &[Key]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|earlier| earlier.kid == key.kid) {
            let setting = || key.setting().into();
            let place = key.file.as_ref().map_or_else(setting, |file| file.to_string_lossy());
            problems.push(format!("{place} has a key that is given twice; remove one of them"));
        }
    }
    if keys.len() > MAX_KEYS {
        problems.push(format!("there are more than {MAX_KEYS} keys; move the oldest elsewhere"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
