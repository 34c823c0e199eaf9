//! Signs JWTs with Ed25519 from `ed25519-dalek`, through the traits of `jsonwebtoken`. No other
//! algorithm is compiled in, so none can be selected.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::JwtSigner;
use jsonwebtoken::signature::{Error as SignatureError, Signer};
use licentia_verify::{Claims, Header};

use crate::error::{Error, Result};

/// A private key that is parsed once. `jsonwebtoken`'s own keys are parsed again for each
/// signature, and deriving the public key costs as much as the signature itself. It is zeroized on
/// drop.
pub struct Ed25519Signer(SigningKey);

impl Ed25519Signer {
    /// Returns a signer with this key.
    pub fn new(key: SigningKey) -> Self {
        Self(key)
    }
}

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(ed25519_dalek::Signer::sign(&self.0, message).to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

/// Returns a signed JWT in compact form (RFC 7515, section 3.1).
pub fn sign(header: &Header, claims: &Claims, signer: &impl JwtSigner) -> Result<String> {
    let failed =
        |error: &dyn std::fmt::Display| Error::Internal(format!("signing failed: {error}"));
    let header = serde_json::to_vec(header).map_err(|error| failed(&error))?;
    let claims = serde_json::to_vec(claims).map_err(|error| failed(&error))?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.try_sign(token.as_bytes()).map_err(|error| failed(&error))?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}
