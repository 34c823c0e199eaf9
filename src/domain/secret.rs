//! Random secrets: `secret!` declares session tokens and admin keys, and [`SecretHash`] is what is
//! stored of them. [`KeyedHash`] is stored of values that can be guessed. Passwords are hashed in
//! [`crate::passwords`].

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::column::{Column, ColumnType, Parameter, Value};
use crate::domain::text_enum::text_enum;

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

/// Declares a secret: a prefix, by which secret scanners and people recognize it, and random bytes
/// in base64url. The error is for texts that have another form. `Debug` does not show the secret.
macro_rules! secret {
    ($(#[$documentation:meta])* $name:ident, $error:ident, $prefix:expr, $bytes:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Debug)]
        pub struct $name(secrecy::SecretString);

        impl $name {
            /// Returns the secret with these random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; $bytes]) -> Self {
                Self(format!("{}{}", $prefix, $crate::domain::secret::encode(&bytes)).into())
            }

            /// Returns the whole secret as text.
            #[must_use]
            pub fn expose(&self) -> &str {
                secrecy::ExposeSecret::expose_secret(&self.0)
            }

            /// Returns the hash that is stored.
            #[must_use]
            pub fn hash(&self) -> $crate::domain::secret::SecretHash {
                $crate::domain::secret::SecretHash::of(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let random = text.strip_prefix($prefix).ok_or($error)?;
                let has_form = $crate::domain::secret::length(random) == Some($bytes);
                if has_form { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        /// A text that does not have the form of the secret.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("this secret does not begin with {:?} or has another length", $prefix)]
        pub struct $error;
    };
}
pub(crate) use secret;

/// Returns bytes as base64url.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the number of bytes that a text has in base64url, or `None` if it is not base64url.
pub(crate) fn length(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

secret! {
    /// The key of [`KeyedHash`]: a secret of the database.
    HashKey, NoHashKey, "lhky_", 32
}

text_enum! {
    /// The purpose of a [`KeyedHash`]. The same value has another hash for each purpose, so
    /// that rows cannot be joined.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Purpose {
        /// An email address that has had its trial here.
        TrialAddress = "trial_address",
        /// An email address that has had a trial at Stripe.
        StripeTrialAddress = "stripe_trial_address",
        /// The fingerprint of a card that has had a trial.
        TrialCard = "trial_card",
        /// A Stripe account with the checkout options that it was checked for.
        AccountCheck = "account_check",
        /// An account, a mailbox, a client address or a network whose attempts are counted.
        Throttle = "throttle",
        /// The terms of a preview, which a change repeats.
        Preview = "preview",
    }
}

/// The hash of a value that can be guessed, such as an email address. Only the holder of the key
/// can try values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyedHash(String);

impl HashKey {
    /// Returns the hash of a text.
    #[must_use]
    pub fn hash_of(&self, purpose: Purpose, text: &str) -> KeyedHash {
        let parts = [purpose.as_str().as_bytes(), text.as_bytes()];
        KeyedHash::new(self.expose().as_bytes(), &parts)
    }

    /// Returns whether this is the hash of a text. It compares in constant time.
    #[must_use]
    pub fn is_hash_of(&self, purpose: Purpose, text: &str, hash: &str) -> bool {
        let parts = [purpose.as_str().as_bytes(), text.as_bytes()];
        let mac = Hmac::<Sha256>::new_from_slice(self.expose().as_bytes());
        let mac = mac.map(|mac| mac.chain_update(parts.join(&0)));
        let hash = URL_SAFE_NO_PAD.decode(hash).unwrap_or_default();
        mac.is_ok_and(|mac| mac.verify_slice(&hash).is_ok())
    }
}

impl KeyedHash {
    /// Returns the hash of texts under a key. No text but the last may have a zero byte.
    #[must_use]
    pub fn new(key: &[u8], texts: &[&[u8]]) -> Self {
        // HMAC accepts keys of any length, so the error never occurs.
        let mac = Hmac::<Sha256>::new_from_slice(key);
        let digest = mac.map(|mac| mac.chain_update(texts.join(&0)).finalize().into_bytes());
        Self(digest.map(|bytes| encode(&bytes)).unwrap_or_default())
    }
}

/// Writes the hash in base64url.
impl fmt::Display for KeyedHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Parameter for KeyedHash {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl Column for KeyedHash {
    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(Self)
    }
}

impl Parameter for SecretHash {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}
