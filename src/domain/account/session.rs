//! Login sessions and their tokens. Checkout sessions are in
//! [`crate::domain::sale::stripe_state`].

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::column::row;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::secret::SecretHash;
use crate::domain::time::Timestamp;

/// The prefix of session tokens, by which secret scanners and people recognize them.
const PREFIX: &str = "lses_";

/// The random bytes of a session token: it cannot be guessed, so attempts need no throttle.
pub const RANDOM_BYTES: usize = 32;

/// A session token as its holder has it. Only its hash is stored.
#[derive(Clone, Debug)]
pub struct SessionToken(SecretString);

impl SessionToken {
    /// Returns the token with these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; RANDOM_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// Returns the whole token, a secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the hash that is stored.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl FromStr for SessionToken {
    type Err = NoSessionToken;

    fn from_str(text: &str) -> Result<Self, NoSessionToken> {
        if text.starts_with(PREFIX) { Ok(Self(text.into())) } else { Err(NoSessionToken) }
    }
}

/// A text that is not a session token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a session token; session tokens begin with {PREFIX:?}")]
pub struct NoSessionToken;

row! {
    /// A login session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Session {
        /// The id, for listing and ending the session. It is not the session token.
        pub session_id: SessionId,
        /// The user.
        pub user_id: UserId,
        /// The name that the client sent at login.
        pub client: Option<String>,
        /// The time of the login.
        pub created_at: Timestamp,
        /// The time at which the session expires.
        pub expires_at: Timestamp,
    }
}
