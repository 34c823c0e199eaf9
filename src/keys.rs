//! The signing keys: load, make, sign, publish. `keys/README.md` describes the layout and the
//! modes.
//!
//! A key is one file, `<time>.pem`, and the time in its name is when it begins to sign: of the
//! keys whose time has come, the newest signs; all are published. So rotating is adding a file.

mod files;
mod jose;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use licentia_verify::{Algorithm, Claims, Header, Jwk, KeySet, LICENSE_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::domain::time::{DAY, SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::random::Random;

/// How long a new key is published before it signs, in seconds: an app that fetches the key set
/// once a day knows it by then.
pub const PUBLISHED_BEFORE_SIGNING: i64 = DAY;

/// The most keys that are loaded: years of monthly rotation. More is a wrong directory.
const MAX_KEYS: usize = 100;

/// The keys, the oldest first. There is always at least one.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Key>,
    algorithm: Algorithm,
}

/// One signing key.
#[derive(Clone)]
pub struct Key {
    /// The RFC 7638 thumbprint of its public half.
    pub kid: String,
    /// When it begins to sign.
    pub signs_from: Timestamp,
    /// Where it came from; `None` is the environment.
    pub file: Option<PathBuf>,
    public: Jwk,
    signer: Arc<jose::Ed25519Signer>,
}

/// What a key does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published, and will sign later.
    Next,
    /// Signs now.
    Signing,
    /// Signs no more; its licenses still verify.
    Retired,
}

/// The published keys (RFC 7517).
#[derive(Clone, Debug, Serialize)]
pub struct Jwks {
    /// The public halves.
    pub keys: Vec<Jwk>,
}

impl KeyRing {
    /// Loads every key that the configuration names; `None` when there is no key at all.
    ///
    /// # Errors
    /// [`Error::Setup`] when a file is readable by others, damaged, misnamed, or encrypted without
    /// the right passphrase.
    pub fn load(config: &Config) -> Result<Option<Self>> {
        let passphrase = config.keys_passphrase.as_ref();
        let (files, mut problems) = files::list(&config.keys_dir)?;
        let mut keys = Vec::new();
        let mut keep = |key: Result<Key>| match key {
            Ok(key) => keys.push(key),
            Err(error) => problems.push(error.to_string()),
        };
        for file in files {
            let shown = file.path.display().to_string();
            keep(files::read(&file.path).and_then(|pem| {
                Key::from_pem(&pem, &shown, file.signs_from, Some(file.path), passphrase)
            }));
        }
        if let Some(pem) = &config.signing_key {
            // Last, and from the beginning of time: it signs whatever the files say.
            let (shown, from) = ("LICENTIA_SIGNING_KEY", Timestamp::saturating(0));
            keep(Key::from_pem(pem.expose_secret(), shown, from, None, passphrase));
        }
        problems.extend(repeated(&keys));
        if !problems.is_empty() {
            return Err(Error::Setup(problems));
        }
        let ring = Self { keys, algorithm: config.license_algorithm };
        Ok(Some(ring).filter(|ring| !ring.keys.is_empty()))
    }

    /// Makes the first key, unless another process was faster; then that one's is the first.
    ///
    /// # Errors
    /// As [`KeyRing::generate`].
    pub fn generate_first(config: &Config, now: Timestamp, random: &Random) -> Result<()> {
        let _one_at_a_time = files::lock(&config.keys_dir)?;
        if Self::load(config)?.is_none() {
            let path = Self::generate(config, now, random)?;
            tracing::info!(path = %path.display(), "made the first signing key; keep a backup");
        }
        Ok(())
    }

    /// Makes the newest key: it signs at once if it is the first or if that is asked for, and
    /// otherwise when apps know it ([`PUBLISHED_BEFORE_SIGNING`]). A key that is named later than a
    /// key made now can be was made by a clock that was ahead, or by hand for a later time: it is
    /// renamed to come before the new key. Returns the new file's path and when the key signs.
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
        let published = now.plus(PUBLISHED_BEFORE_SIGNING);
        let keys = Self::load(config)?.map(|ring| ring.keys);
        let signs_from = if at_once || keys.is_none() { now } else { published };
        let mut before = signs_from;
        for key in keys.iter().flatten().rev().filter(|key| key.signs_from > published) {
            if let Some(file) = &key.file {
                before = before.plus(-1);
                let path = files::rename(file, before)?;
                tracing::warn!(
                    from = %file.display(), to = %path.display(),
                    "renamed a key from the future, so that it signs before the new one"
                );
            }
        }
        Ok((Self::generate(config, signs_from, random)?, signs_from))
    }

    /// Returns the ring once the key that signs now has a name whose time has come. A clock that
    /// was ahead names the first key after a time in the future. Such a key signs for want of
    /// another, and would sign again from that time on, in place of the keys made in between. It
    /// is the oldest key, so an earlier name changes nothing about which key signs when,
    /// whichever clock is wrong. A file that cannot be renamed is logged.
    ///
    /// # Errors
    /// As [`KeyRing::load`].
    pub fn with_the_right_clock(self, config: &Config, now: Timestamp) -> Result<Self> {
        let signing = self.signing(now);
        let Some(file) = signing.file.as_ref().filter(|_| signing.signs_from > now.plus(SKEW))
        else {
            return Ok(self);
        };
        let renamed = files::lock(&config.keys_dir).and_then(|_lock| files::rename(file, now));
        match renamed {
            Ok(path) => tracing::warn!(
                from = %file.display(), to = %path.display(),
                "renamed the signing key: its name was a time in the future, as a clock that is \
                 ahead makes it"
            ),
            Err(error) => tracing::warn!(
                %error,
                "the signing key is named after a time in the future; rename it to the present, or \
                 it signs again from that time on, in place of newer keys"
            ),
        }
        Ok(Self::load(config)?.unwrap_or(self))
    }

    /// Makes a key that signs from the given time, and writes its file. Returns the file's path.
    ///
    /// # Errors
    /// [`Error::Setup`] when the directory cannot be made or written, or has loose modes.
    pub fn generate(config: &Config, signs_from: Timestamp, random: &Random) -> Result<PathBuf> {
        let secret = Zeroizing::new(random.bytes::<32>());
        // Without the public half beside it (RFC 5958, version 1): what OpenSSL reads.
        let key = KeypairBytes { secret_key: *secret, public_key: None };
        let pem = match &config.keys_passphrase {
            None => key.to_pkcs8_pem(LineEnding::LF),
            Some(passphrase) => {
                key.to_pkcs8_encrypted_pem(passphrase.expose_secret(), LineEnding::LF)
            }
        };
        let pem =
            pem.map_err(|error| Error::Internal(format!("a key cannot be written: {error}")))?;
        files::write(&config.keys_dir, signs_from, &pem, random.bits())
    }

    /// Puts the file of a key out of use, so that it is neither published nor signs. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// [`Error::Setup`] when the key comes from the environment, or its file cannot be renamed.
    pub fn put_away(&self, kid: &str) -> Result<bool> {
        let Some(key) = self.keys.iter().find(|key| key.kid == kid) else { return Ok(false) };
        let Some(file) = &key.file else {
            return Err(Error::setup("this key is set as LICENTIA_SIGNING_KEY; unset it first"));
        };
        files::put_away(file)?;
        Ok(true)
    }

    /// The keys, the oldest first, each with what it does at `now`.
    pub fn states(&self, now: Timestamp) -> impl Iterator<Item = (&Key, KeyState)> {
        let signing = self.signing_place(now);
        self.keys.iter().enumerate().map(move |(place, key)| {
            let state = match key.signs_from > now {
                _ if place == signing => KeyState::Signing,
                true => KeyState::Next,
                false => KeyState::Retired,
            };
            (key, state)
        })
    }

    /// The key that signs at `now`.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> &Key {
        &self.keys[self.signing_place(now)]
    }

    /// Signs a license with a key of this ring. Answers the token.
    ///
    /// # Errors
    /// [`Error::Internal`] when the claims or the key cannot be written, which must not happen.
    pub fn sign(&self, claims: &Claims, key: &Key) -> Result<String> {
        let header =
            Header { alg: self.algorithm, typ: LICENSE_TYPE.to_owned(), kid: key.kid.clone() };
        jose::sign(&header, claims, &*key.signer)
    }

    /// The public halves of all keys, as published. `alg` is left out when licenses use its newer
    /// name: those issued before still carry the older one, and a key may name only one.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let alg = Some(Algorithm::EdDSA).filter(|older| self.algorithm == *older);
        Jwks { keys: self.keys.iter().map(|key| Jwk { alg, ..key.public.clone() }).collect() }
    }

    /// What the server itself verifies with: the same that is published.
    ///
    /// # Errors
    /// [`Error::Internal`] when our own key set does not parse, which must not happen.
    pub fn key_set(&self, audience: &str) -> Result<KeySet> {
        let json = serde_json::to_string(&self.jwks())
            .map_err(|error| Error::Internal(error.to_string()))?;
        KeySet::from_jwks(&json, audience).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Makes sure that licenses in the field, signed with these keys, still verify.
    ///
    /// # Errors
    /// [`Error::Setup`] that names the keys that are missing.
    pub fn must_hold(&self, kids: &[String], directory: &Path) -> Result<()> {
        let missing = kids.iter().filter(|kid| !self.keys.iter().any(|key| key.kid == **kid));
        let missing: Vec<_> = missing.map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::setup(format!(
            "licenses in the field are signed with keys that are missing: {}\n  \
             restore their files to {} from a backup; for one that is lost for good, run \
             `licentia keys revoke`, which issues its licenses anew",
            missing.join(", "),
            directory.display(),
        )))
    }

    fn signing_place(&self, now: Timestamp) -> usize {
        // With a clock that is behind every key, the oldest signs.
        self.keys.iter().rposition(|key| key.signs_from <= now).unwrap_or(0)
    }
}

impl Key {
    fn from_pem(
        pem: &str,
        shown: &str,
        signs_from: Timestamp,
        file: Option<PathBuf>,
        passphrase: Option<&SecretString>,
    ) -> Result<Self> {
        let encrypted = pem.contains("BEGIN ENCRYPTED PRIVATE KEY");
        let key = match passphrase {
            Some(passphrase) if encrypted => {
                SigningKey::from_pkcs8_encrypted_pem(pem, passphrase.expose_secret())
            }
            None if encrypted => {
                return Err(Error::setup(format!(
                    "the key {shown} is encrypted; set LICENTIA_KEYS_PASSPHRASE or …_FILE"
                )));
            }
            _ => SigningKey::from_pkcs8_pem(pem),
        };
        let key = key.map_err(|_| {
            let wrong =
                if encrypted { "cannot be opened with this passphrase" } else { "is damaged" };
            Error::setup(format!(
                "the key {shown} {wrong}: an Ed25519 key in PKCS#8 PEM is expected; restore it \
                 from a backup"
            ))
        })?;
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let kid = thumbprint(&x);
        let public = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x,
            kid: kid.clone(),
            alg: None,
            public_key_use: Some("sig".into()),
        };
        Ok(Self { kid, signs_from, file, public, signer: Arc::new(jose::Ed25519Signer::new(key)) })
    }
}

/// RFC 7638, section 3: the SHA-256 of the required members in order, without white space.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// The keys that are there twice, or too many of them.
fn repeated(keys: &[Key]) -> Vec<String> {
    let mut problems = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        if keys[..place].iter().any(|earlier| earlier.kid == key.kid) {
            let file = key.file.as_deref();
            let file = file.map_or("LICENTIA_SIGNING_KEY".into(), Path::to_string_lossy);
            problems
                .push(format!("the same key is there twice ({file} repeats another); remove one"));
        }
    }
    if keys.len() > MAX_KEYS {
        problems.push(format!("there are more than {MAX_KEYS} keys; put away the oldest"));
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
