//! Signs JWTs with Ed25519 from `ed25519-dalek`, through the traits of `jsonwebtoken`. No other
//! algorithm is compiled in, so none can be selected.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtSigner;
use jsonwebtoken::signature::{Error as SignatureError, Signer};
use licentia_verify::Header;
use serde::Serialize;

use crate::error::{Error, Result};

/// A private key that is parsed once, and the encoded header of its JWTs. `jsonwebtoken`'s own keys
/// are parsed again for each signature, and deriving the public key costs as much as the signature
/// itself. The key is zeroized on drop.
pub struct Ed25519Signer {
    key: SigningKey,
    header: String,
}

impl Ed25519Signer {
    /// Returns a signer with this key, whose JWTs have this header.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn new(key: SigningKey, header: &Header) -> Result<Self> {
        let header = serde_json::to_vec(header).map_err(|error| failed(&error))?;
        Ok(Self { key, header: URL_SAFE_NO_PAD.encode(header) })
    }

    /// Returns a license in compact form (RFC 7515, section 3.1).
    ///
    /// # Errors
    /// [`Error::Internal`] when the claims cannot be serialized, which must not happen.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String> {
        self.sign_with(&self.header, claims)
    }

    /// Returns a signed JWT with another header: that of another kind of document.
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub fn sign_as(&self, header: &Header, claims: &impl Serialize) -> Result<String> {
        let header = serde_json::to_vec(header).map_err(|error| failed(&error))?;
        self.sign_with(&URL_SAFE_NO_PAD.encode(header), claims)
    }

    fn sign_with(&self, header: &str, claims: &impl Serialize) -> Result<String> {
        let claims = serde_json::to_vec(claims).map_err(|error| failed(&error))?;
        let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 100);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.try_sign(token.as_bytes()).map_err(|error| failed(&error))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Internal(format!("signing failed: {error}"))
}

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(ed25519_dalek::Signer::sign(&self.key, message).to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
