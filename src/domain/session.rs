//! Sessions: who is logged in, and until when.

use crate::domain::column::row;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::time::Timestamp;

row! {
    /// Somebody who is logged in.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Session {
        /// For listing and ending it.
        pub session_id: SessionId,
        /// Whose it is.
        pub user_id: UserId,
        /// What the client called itself at login.
        pub client: Option<String>,
        /// When it began.
        pub created_at: Timestamp,
        /// When it ends by itself.
        pub expires_at: Timestamp,
    }
}
