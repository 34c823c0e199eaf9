//! The public keys that an app trusts, and for which product: a JWKS (RFC 7517) and an audience.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Algorithm;
use crate::strict_json;

/// The longest JWKS that is read, in bytes: a few hundred keys, far more than a vendor publishes.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;

/// One public Ed25519 key as a JWK (RFC 8037, section 2). A private key never takes this form.
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
    /// The only algorithm that the key may be used with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<Algorithm>,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub public_key_use: Option<String>,
}

/// What an app trusts: the vendor's public keys, for one product.
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
    /// Reads a JWKS as published under `/.well-known/jwks.json`. `audience` is the product that
    /// licenses must name in `aud`.
    ///
    /// Keys of other types, and keys that cannot be used, are passed over, as RFC 7517 (section 5)
    /// asks.
    ///
    /// # Errors
    /// When the text is not a JWKS, is longer than [`MAX_JWKS_BYTES`], holds a private key or the
    /// same `kid` twice, or holds no usable Ed25519 key.
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
                return Err(KeySetError(format!("the kid {kid:?} is there twice")));
            }
        }
        if keys.is_empty() {
            return Err(KeySetError("it holds no usable Ed25519 key".into()));
        }
        Ok(Self { keys, audience: audience.to_owned(), issuer: None })
    }

    /// Also requires this exact `iss`. Worth setting when several vendors' keys are in one set.
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

/// The Ed25519 key in one entry of a JWKS; `None` for a key of another type or purpose, or one that
/// cannot be used (RFC 7517, section 5). A private key is an error: it must not be there.
fn ed25519_key(entry: Value) -> Result<Option<(String, VerifyingKey)>, KeySetError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if text("kty") != Some("OKP") || text("crv") != Some("Ed25519") {
        return Ok(None);
    }
    if entry.get("d").is_some() {
        return Err(KeySetError("it holds a private key (\"d\"); publish only the JWKS".into()));
    }
    if entry.get("use").is_some() && text("use") != Some("sig") {
        return Ok(None);
    }
    let Ok(jwk) = serde_json::from_value::<Jwk>(entry) else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).ok().and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    Ok(key.filter(|key| !key.is_weak()).map(|key| (jwk.kid, key)))
}

/// Why a text is no usable JWKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(String);

impl fmt::Display for KeySetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "this is not a usable key set: {}", self.0)
    }
}

impl std::error::Error for KeySetError {}
