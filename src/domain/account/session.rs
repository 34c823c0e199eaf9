//! Login sessions and their tokens. Checkout sessions are in
//! [`crate::domain::sale::stripe_state`].

use chrono::TimeDelta;

use crate::domain::column::row;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::secret::secret;
use crate::domain::time::{SKEW, Timestamp};

/// The prefix of session tokens, by which secret scanners and people recognize them.
const PREFIX: &str = "lses_";

/// The random bytes of a session token: it cannot be guessed, so attempts need no throttle.
pub const RANDOM_BYTES: usize = 32;

/// How long after the password was entered a session may do what cannot be undone: long enough to
/// decide, short enough that a session left open elsewhere cannot do it.
pub const RECENT: TimeDelta = TimeDelta::minutes(15);

secret! {
    /// A session token as its holder has it. Only its hash is stored.
    SessionToken, NoSessionToken, PREFIX, RANDOM_BYTES
}

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
        /// The time at which the password was last entered: at the login, or to change it.
        pub password_at: Timestamp,
        /// The time at which the session expires.
        pub expires_at: Timestamp,
    }
}

impl Session {
    /// Returns whether the password was entered at most [`RECENT`] ago. A time in the future, from
    /// a wrong clock, does not count.
    #[must_use]
    pub fn is_password_recent(&self, now: Timestamp) -> bool {
        self.password_at <= now + SKEW && now < self.password_at + RECENT
    }
}
