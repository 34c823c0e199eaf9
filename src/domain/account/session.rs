//! Login sessions. Checkout sessions are in [`crate::domain::sale::stripe_state`].

use crate::domain::column::row;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::time::Timestamp;

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
