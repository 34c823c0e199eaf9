//! Sessions: who is logged in, and until when. Only the hash of a session's token is kept.

use super::{Customer, Tx, sql};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
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

impl Tx {
    /// Writes a new session; `token_hash` is all that is kept of its token.
    pub async fn insert_session(&mut self, session: &Session, token_hash: &str) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO sessions (session_id, user_id, token_hash, client, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &session.session_id,
            &session.user_id,
            token_hash,
            &session.client,
            session.created_at,
            session.expires_at,
        )?;
        Ok(())
    }

    /// The session that a token opens now, and its customer.
    pub async fn session_by_token(
        &mut self,
        token_hash: &str,
        now: Timestamp,
    ) -> Result<Option<(Session, Customer)>> {
        let session = sql!(
            &mut *self,
            fetch_optional: Session,
            "SELECT * FROM sessions WHERE token_hash = $1 AND expires_at > $2",
            token_hash,
            now,
        )?;
        let Some(session) = session else { return Ok(None) };
        let customer = sql!(
            self,
            fetch_optional: Customer,
            "SELECT * FROM customers WHERE user_id = $1",
            &session.user_id,
        )?;
        Ok(customer.map(|customer| (session, customer)))
    }

    /// The sessions that a user has open, the newest first.
    pub async fn sessions_of(&mut self, user_id: &UserId, now: Timestamp) -> Result<Vec<Session>> {
        sql!(
            self,
            fetch_all: Session,
            "SELECT * FROM sessions WHERE user_id = $1 AND expires_at > $2
             ORDER BY created_at DESC, session_id",
            user_id,
            now,
        )
    }

    /// Ends one session of a user. Answers whether it was there.
    pub async fn delete_session(&mut self, user_id: &UserId, id: &SessionId) -> Result<bool> {
        let deleted = sql!(
            self,
            execute,
            "DELETE FROM sessions WHERE user_id = $1 AND session_id = $2",
            user_id,
            id,
        )?;
        Ok(deleted > 0)
    }

    /// Forgets the sessions of a user that are over, and the oldest ones beyond `most`.
    pub async fn trim_sessions(
        &mut self,
        user_id: &UserId,
        most: i64,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM sessions WHERE user_id = $1 AND (expires_at <= $2 OR session_id NOT IN (
                 SELECT session_id FROM sessions WHERE user_id = $1
                 ORDER BY created_at DESC, session_id LIMIT $3))",
            user_id,
            now,
            most,
        )?;
        Ok(())
    }
}
