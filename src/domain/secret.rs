//! Random secrets as stored: by their hash. What makes a session token or an admin key is in the
//! areas; passwords are hashed in [`crate::passwords`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::column::{ColumnType, Parameter, Value};

/// The hash of a session token or an admin key. These have 256 random bits, so a plain SHA-256
/// cannot be reversed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(String);

impl SecretHash {
    /// Returns the hash of a secret.
    #[must_use]
    pub fn of(secret: &SecretString) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::digest(secret.expose_secret())))
    }
}

impl Parameter for SecretHash {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}
