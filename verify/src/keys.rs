//! The key set of an app: the trusted public keys (a JWKS, RFC 7517) and the product.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Algorithm;
use crate::strict_json;

/// The longest accepted JWKS, in bytes: a few hundred keys, far more than a vendor publishes.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;

/// A public Ed25519 key as a JWK (RFC 8037, section 2). It has no field for a private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: String,
    /// Always `Ed25519`.
    pub crv: String,
    /// The public key, base64url.
    pub x: String,
    /// The RFC 7638 thumbprint of the key.
    pub kid: String,
    /// The only algorithm that may be used with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<Algorithm>,
    /// The use of the key: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub public_key_use: Option<String>,
}

/// The vendor's public keys that an app trusts, for one product.
///
/// ```
/// # use licentia_verify::KeySet;
/// # const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1",
/// #   "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let keys = KeySet::from_jwks(JWKS, "acme-app")?.issued_by("https://licenses.acme.example");
/// # Ok::<(), licentia_verify::KeySetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: BTreeMap<String, VerifyingKey>,
    audience: String,
    issuer: Option<String>,
}

impl KeySet {
    /// Returns the key set of a JWKS, as the server publishes it under `/.well-known/jwks.json`.
    /// `audience` is the product: the required `aud` of licenses.
    ///
    /// Keys of other types and unusable keys are ignored (RFC 7517, section 5).
    ///
    /// # Errors
    /// When the text is not a JWKS, is longer than [`MAX_JWKS_BYTES`], contains a private key or
    /// the same `kid` twice, or contains no usable Ed25519 key.
    pub fn from_jwks(jwks: &str, audience: &str) -> Result<Self, KeySetError> {
        if jwks.len() > MAX_JWKS_BYTES {
            return Err(KeySetError(format!("it is longer than {MAX_JWKS_BYTES} bytes")));
        }
        let mut document =
            strict_json::object(jwks.as_bytes()).map_err(|error| KeySetError(error.to_string()))?;
        let Some(Value::Array(entries)) = document.remove("keys") else {
            return Err(KeySetError("it has no array \"keys\"".into()));
        };
        let mut keys = BTreeMap::new();
        for entry in entries {
            let Some((kid, key)) = ed25519_key(entry)? else { continue };
            if keys.insert(kid.clone(), key).is_some() {
                return Err(KeySetError(format!("the kid {kid:?} is used twice")));
            }
        }
        if keys.is_empty() {
            return Err(KeySetError("it has no usable Ed25519 key".into()));
        }
        Ok(Self { keys, audience: audience.to_owned(), issuer: None })
    }

    /// Returns the key set with a required `iss`. Use it when the set has the keys of several
    /// vendors.
    #[must_use]
    pub fn issued_by(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }

    pub(crate) fn key(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

/// Returns the Ed25519 key in one entry of a JWKS; `None` for a key of another type or use, or an
/// unusable one (RFC 7517, section 5). A private key is an error, because it must not be published.
fn ed25519_key(entry: Value) -> Result<Option<(String, VerifyingKey)>, KeySetError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if text("kty") != Some("OKP") || text("crv") != Some("Ed25519") {
        return Ok(None);
    }
    if entry.get("d").is_some() {
        return Err(KeySetError("it has a private key (\"d\"); publish only the JWKS".into()));
    }
    if entry.get("use").is_some() && text("use") != Some("sig") {
        return Ok(None);
    }
    let Ok(jwk) = serde_json::from_value::<Jwk>(entry) else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok().and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    Ok(key.filter(|key| !key.is_weak()).map(|key| (jwk.kid, key)))
}

/// The reason why a text is not a usable JWKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(String);

impl fmt::Display for KeySetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "this is not a usable key set: {}", self.0)
    }
}

impl std::error::Error for KeySetError {}
