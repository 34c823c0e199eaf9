//! The tables of sign-ups that wait for the confirmation of their address, and of their links. They
//! have the hash of a link's token, never the token.

use crate::domain::account::signup::PendingSignup;
use crate::domain::contact::Email;
use crate::domain::ids::MailId;
use crate::domain::secret::SecretHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::{Insert, sql};
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Inserts a sign-up, and deletes a few whose time is over.
    pub async fn insert_pending_signup(&mut self, new: &PendingSignup) -> Result<()> {
        self.insert(Insert::new("pending_signups", new)).await?;
        let table = ("pending_signups", "mail_id", "kept_until");
        self.sweep_table(table, new.created_at, SWEPT_AT_ONCE).await
    }

    /// Returns the sign-up whose link is in this mail.
    pub async fn pending_signup(&mut self, mail_id: &MailId) -> Result<Option<PendingSignup>> {
        sql!(
            self,
            fetch_optional: PendingSignup,
            "SELECT {columns} FROM pending_signups WHERE mail_id = $1",
            mail_id,
        )
    }

    /// Inserts a link that confirms a sign-up.
    pub async fn insert_signup_link(
        &mut self,
        token_hash: &SecretHash,
        mail_id: &MailId,
        expires_at: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO signup_links (token_hash, mail_id, expires_at) VALUES ($1, $2, $3)",
            token_hash,
            mail_id,
            expires_at,
        )?;
        Ok(())
    }

    /// Returns the sign-up that a link confirms, and the time from which the link no longer works.
    pub async fn signup_link(
        &mut self,
        token_hash: &SecretHash,
    ) -> Result<Option<(MailId, Timestamp)>> {
        sql!(
            self,
            fetch_optional: (MailId, Timestamp),
            "SELECT mail_id, expires_at FROM signup_links WHERE token_hash = $1",
            token_hash,
        )
    }

    /// Marks a sign-up as confirmed and removes what was typed, and deletes every other sign-up
    /// with its address. Returns false, and writes nothing, if it was confirmed before: of several
    /// at once, one gets true.
    pub async fn confirm_signup(
        &mut self,
        mail_id: &MailId,
        email: &Email,
        now: Timestamp,
    ) -> Result<bool> {
        let confirmed = sql!(
            self,
            execute,
            "UPDATE pending_signups
             SET confirmed_at = $2, email = '', password_hash = '', name = NULL, company_name = NULL
             WHERE mail_id = $1 AND confirmed_at IS NULL",
            mail_id,
            now,
        )?;
        if confirmed > 0 {
            sql!(self, execute, "DELETE FROM pending_signups WHERE email = $1", email)?;
        }
        Ok(confirmed > 0)
    }
}
