//! A signed JWT by `jsonwebtoken`, with Ed25519 from `ed25519-dalek` and nothing else: no other
//! algorithm is compiled in, so none can be chosen.

use std::sync::Once;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey};
use licentia_verify::{Claims, Header};

use crate::error::{Error, Result};

/// The key in the form that [`sign`] takes: the 32 bytes of the seed, wiped when dropped.
pub fn private_key(key: &SigningKey) -> EncodingKey {
    EncodingKey::from_ed_der(key.as_bytes())
}

/// Signs a header and claims (RFC 7515, section 3.1).
pub fn sign(header: &Header, claims: &Claims, key: &EncodingKey) -> Result<String> {
    static INSTALL: Once = Once::new();
    // A second provider in one process is refused; ours is the only one that is ever offered.
    INSTALL.call_once(|| {
        let _ = PROVIDER.install_default();
    });

    let failed =
        |error: &dyn std::fmt::Display| Error::Internal(format!("signing failed: {error}"));
    let header = serde_json::to_vec(header).map_err(|error| failed(&error))?;
    let claims = serde_json::to_vec(claims).map_err(|error| failed(&error))?;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, Algorithm::EdDSA);
    Ok(format!("{signed}.{}", signature.map_err(|error| failed(&error))?))
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Ed25519Signer::new(key)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    // Licenses are verified by `licentia-verify`, never here.
    verifier_factory: |_, _| -> std::result::Result<Box<dyn JwtVerifier>, JwtError> {
        Ok(Box::new(NoVerifier))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Ed25519Signer(SigningKey);

impl Ed25519Signer {
    fn new(key: &EncodingKey) -> std::result::Result<Self, JwtError> {
        let seed = <&[u8; 32]>::try_from(key.as_bytes()).map_err(|_| ErrorKind::InvalidEddsaKey)?;
        Ok(Self(SigningKey::from_bytes(seed)))
    }
}

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(ed25519_dalek::Signer::sign(&self.0, message).to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct NoVerifier;

impl Verifier<Vec<u8>> for NoVerifier {
    fn verify(&self, _: &[u8], _: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        Err(signature::Error::new())
    }
}

impl JwtVerifier for NoVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
