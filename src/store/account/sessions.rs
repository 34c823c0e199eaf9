//! The table of login sessions. It has the hash of a session token, never the token.

use crate::domain::account::customer::Customer;
use crate::domain::account::session::Session;
use crate::domain::column::{Both, row};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::secret::SecretHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::{Insert, sql};
use crate::store::{SWEPT_AT_ONCE, Store, Tx};

row! {
    /// A login session without its user, selected together with the user's customer.
    struct OpenSession {
        session_id: SessionId,
        client: Option<String>,
        opened_at: Timestamp,
        password_at: Timestamp,
        expires_at: Timestamp,
    }
}

impl Store {
    /// Returns the login session with this token hash, if it is valid at `now`, and its customer.
    pub async fn session_by_token(
        &self,
        token_hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<(Session, Customer)>> {
        let row = sql!(
            self,
            fetch_optional: Both<OpenSession, Customer>,
            "SELECT {columns} FROM (
                 SELECT session_id, user_id AS opened_by, client, created_at AS opened_at,
                     password_at, expires_at
                 FROM sessions WHERE token_hash = $1 AND expires_at > $2
             ) AS open_session
             JOIN customers ON user_id = opened_by",
            token_hash,
            now,
        )?;
        Ok(row.map(|Both(open, customer)| {
            let OpenSession { session_id, client, opened_at, password_at, expires_at } = open;
            let (user_id, created_at) = (customer.user_id.clone(), opened_at);
            let session =
                Session { session_id, user_id, client, created_at, password_at, expires_at };
            (session, customer)
        }))
    }
}

impl Tx {
    /// Inserts a new login session. Only the hash of its session token is stored.
    pub async fn insert_session(
        &mut self,
        session: &Session,
        token_hash: &SecretHash,
    ) -> Result<()> {
        let insert = Insert::new("sessions", session).with("token_hash", token_hash);
        self.insert(insert).await?;
        Ok(())
    }

    /// Returns the user's valid login sessions, newest first.
    pub async fn sessions_of(&mut self, user_id: &UserId, now: Timestamp) -> Result<Vec<Session>> {
        sql!(
            self,
            fetch_all: Session,
            "SELECT {columns} FROM sessions WHERE user_id = $1 AND expires_at > $2
                 ORDER BY created_at DESC, session_id",
            user_id,
            now,
        )
    }

    /// Ends one login session of a user. Returns whether it existed.
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

    /// Ends all login sessions of a user, except `kept`. A repeated request that opened one does
    /// not get another one either.
    pub async fn delete_sessions(
        &mut self,
        user_id: &UserId,
        kept: Option<&SessionId>,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM sessions WHERE user_id = $1 AND session_id <> $2",
            user_id,
            kept.map_or("", SessionId::as_str),
        )?;
        self.forget_requests_that_created(user_id.as_str()).await
    }

    /// Returns whether a login session was not ended.
    pub async fn has_session(&mut self, id: &SessionId) -> Result<bool> {
        let found = sql!(
            self,
            fetch_optional: (SessionId,),
            "SELECT session_id FROM sessions WHERE session_id = $1",
            id,
        )?;
        Ok(found.is_some())
    }

    /// Records that the password was entered in a login session. Returns false if the session has
    /// ended.
    pub async fn password_entered(&mut self, id: &SessionId, now: Timestamp) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE sessions SET password_at = $2 WHERE session_id = $1",
            id,
            now,
        )?;
        Ok(updated > 0)
    }

    /// Deletes the user's oldest login sessions beyond `most`, except `opened`. Sessions with a
    /// time of creation in the future, from a wrong clock, are deleted first. It also deletes a few
    /// expired sessions of any user, so that they do not accumulate.
    pub async fn trim_sessions(
        &mut self,
        opened: &Session,
        most: i64,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM sessions WHERE user_id = $1 AND session_id <> $2 AND session_id NOT IN (
                 SELECT session_id FROM sessions WHERE user_id = $1 AND session_id <> $2
                 ORDER BY CASE WHEN created_at > $3 THEN 0 ELSE created_at END DESC, session_id
                 LIMIT $4)",
            &opened.user_id,
            &opened.session_id,
            now,
            most - 1,
        )?;
        let table = ("sessions", "session_id", "expires_at");
        self.sweep_table(table, now, SWEPT_AT_ONCE).await
    }
}
