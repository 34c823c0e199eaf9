//! The keys that an app trusts: a JWKS (RFC 7517), or a root key whose bundles list the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::{Root, timed_keys};
use crate::json::{self, Json, Members};
use crate::{Algorithm, Rejection};

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
    pub(crate) trust: Trust,
    pub(crate) audience: String,
    pub(crate) issuer: Option<String>,
}

/// The origin of the keys.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The keys are known: from a JWKS, or from the content of a bundle.
    Keys(Keys),
    /// The app has the root, and gets the keys in bundles.
    Root(Root),
}

impl KeySet {
    /// Returns the key set of a JWKS, as the server publishes it under `/.well-known/jwks.json`.
    /// `audience` is the product: the required `aud` of licenses.
    ///
    /// Keys of other types and unusable keys are ignored (RFC 7517, section 5).
    ///
    /// # Errors
    /// When the text is not a JWKS, is longer than [`MAX_JWKS_BYTES`], contains a private key or
    /// the same `kid` twice, or contains no usable Ed25519 key; or when the audience is empty.
    pub fn from_jwks(jwks: &str, audience: &str) -> Result<Self, KeySetError> {
        let document = document(jwks)?;
        let Some(Json::Array(entries)) = document.get("keys") else {
            return Err(KeySetError("it has no array \"keys\"".into()));
        };
        let mut keys = Keys::default();
        for entry in entries.iter().filter_map(Json::as_object) {
            let (Some(key), Some(kid)) = (ed25519_key(entry)?, kid(entry)) else { continue };
            if !keys.insert(kid.to_owned(), TrustedKey { key, times: None }) {
                return Err(KeySetError(format!("the kid {kid:?} is used twice")));
            }
        }
        if keys.by_kid.is_empty() {
            return Err(KeySetError("it has no usable Ed25519 key".into()));
        }
        Self::new(Trust::Keys(keys), audience)
    }

    /// Returns the key set of a root key (a JWK). The keys themselves come in bundles that the root
    /// signed: [`crate::Request::keys`]. Without a bundle, every key is unknown.
    ///
    /// # Errors
    /// When the text is not a usable Ed25519 key, or is a private one; or when the audience is
    /// empty.
    pub fn from_root(root: &str, audience: &str) -> Result<Self, KeySetError> {
        let document = document(root)?;
        let key = ed25519_key(&document)?;
        let key = key.ok_or_else(|| KeySetError("it is not a usable Ed25519 key".into()))?;
        let kid = match document.get("kid") {
            None => thumbprint(&key),
            Some(_) => kid(&document)
                .map(str::to_owned)
                .ok_or_else(|| KeySetError("its \"kid\" is not a string, or is empty".into()))?,
        };
        Self::new(Trust::Root(Root { kid, key: TrustedKey { key, times: None } }), audience)
    }

    /// Returns the key set with the content of a key bundle: `keys` with their times, and
    /// `revoked`. Nothing says who wrote it: this is for a server that knows its own keys. An app
    /// uses [`KeySet::from_root`].
    ///
    /// # Errors
    /// When the text is not such content, or the audience is empty.
    pub fn from_bundle_content(content: &str, audience: &str) -> Result<Self, KeySetError> {
        let keys = timed_keys(&document(content)?, None);
        let keys = keys.map_err(|problem| KeySetError(problem.into()))?;
        Self::new(Trust::Keys(keys), audience)
    }

    fn new(trust: Trust, audience: &str) -> Result<Self, KeySetError> {
        if audience.is_empty() {
            return Err(KeySetError("the audience is empty; it is your product's id".into()));
        }
        Ok(Self { trust, audience: audience.to_owned(), issuer: None })
    }

    /// Returns whether this is the key set of a root, whose keys come in bundles.
    #[must_use]
    pub fn has_root(&self) -> bool {
        matches!(self.trust, Trust::Root(_))
    }

    /// Returns the key set with a required `iss`. Use it when the set has the keys of several
    /// vendors.
    #[must_use]
    pub fn issued_by(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }
}

/// Keys by their `kid`, and the `kid`s that were revoked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    by_kid: BTreeMap<String, TrustedKey>,
    pub(crate) revoked: BTreeSet<String>,
}

impl Keys {
    /// Adds a key. Returns false if its `kid` is used already.
    pub(crate) fn insert(&mut self, kid: String, key: TrustedKey) -> bool {
        self.by_kid.insert(kid, key).is_none()
    }

    /// Returns the key with this `kid`.
    ///
    /// # Errors
    /// [`Rejection::KeyRevoked`] or [`Rejection::UnknownKey`].
    pub(crate) fn find(&self, kid: &str) -> Result<&TrustedKey, Rejection> {
        if self.revoked.contains(kid) {
            return Err(Rejection::KeyRevoked { kid: kid.to_owned() });
        }
        self.by_kid.get(kid).ok_or_else(|| Rejection::UnknownKey { kid: kid.to_owned() })
    }
}

/// A key, and the time during which it signs. A key of a JWKS has none: it may sign at any time. So
/// may the root.
#[derive(Clone, Debug)]
pub(crate) struct TrustedKey {
    pub(crate) key: VerifyingKey,
    pub(crate) times: Option<Times>,
}

/// The time during which a key signs.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) nbf: i64,
    pub(crate) exp: Option<i64>,
}

impl TrustedKey {
    /// Returns whether the key was in use at this time of issue. The signer dates everything
    /// [`BACKDATED_SECONDS`] back.
    pub(crate) fn signs_at(&self, iat: i64) -> bool {
        self.times.as_ref().is_none_or(|times| {
            iat + BACKDATED_SECONDS >= times.nbf && times.exp.is_none_or(|exp| iat < exp)
        })
    }
}

/// How far the signer sets `iat` and `nbf` back, for devices whose clocks are behind.
const BACKDATED_SECONDS: i64 = 60;

fn document(text: &str) -> Result<Members<'_>, KeySetError> {
    if text.len() > MAX_JWKS_BYTES {
        return Err(KeySetError(format!("it is longer than {MAX_JWKS_BYTES} bytes")));
    }
    json::object(text.as_bytes()).map_err(|problem| KeySetError(problem.into()))
}

/// Returns the Ed25519 key of a JWK; `None` for a key of another type or use, or an unusable one
/// (RFC 7517, section 5). A private key is an error, because it must not be published.
pub(crate) fn ed25519_key(jwk: &Members<'_>) -> Result<Option<VerifyingKey>, KeySetError> {
    if jwk.string("kty") != Some("OKP") || jwk.string("crv") != Some("Ed25519") {
        return Ok(None);
    }
    if jwk.has("d") {
        return Err(KeySetError(
            "it has a private key (\"d\"); publish only the public key".into(),
        ));
    }
    let is_for_signatures = !jwk.has("use") || jwk.string("use") == Some("sig");
    let algorithm = jwk.string("alg").and_then(Algorithm::from_name);
    if !is_for_signatures || (jwk.has("alg") && algorithm.is_none()) {
        return Ok(None);
    }
    let bytes = jwk.string("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    // A weak key verifies signatures that nobody made. Another encoding of a point is not a key
    // (RFC 8032, section 5.1.3), although the library decodes it.
    Ok(key.filter(|key| !key.is_weak() && key.to_edwards().compress().as_bytes() == key.as_bytes()))
}

/// Returns the `kid` of a JWK.
pub(crate) fn kid<'a>(jwk: &'a Members<'_>) -> Option<&'a str> {
    jwk.string("kid").filter(|kid| !kid.is_empty())
}

/// Returns the RFC 7638 thumbprint of a key.
fn thumbprint(key: &VerifyingKey) -> String {
    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// The reason why a text is not a usable JWKS or root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetError(String);

impl fmt::Display for KeySetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "this is not a usable key set: {}", self.0)
    }
}

impl std::error::Error for KeySetError {}
