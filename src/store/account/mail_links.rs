//! The table of links in mails. It has the hash of a link's token, never the token.

use crate::domain::account::mail_link::{KEPT_FOR, LinkKind, MailLink};
use crate::domain::ids::CustomerId;
use crate::domain::secret::SecretHash;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::statement::{Insert, sql};
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Inserts a link, and deletes a few that expired long ago. Only the hash of its token is
    /// stored.
    pub async fn insert_mail_link(
        &mut self,
        link: &MailLink,
        token_hash: &SecretHash,
    ) -> Result<()> {
        self.insert(Insert::new("mail_links", link).with("token_hash", token_hash)).await?;
        let table = ("mail_links", "token_hash", "expires_at");
        self.sweep_table(table, link.created_at - KEPT_FOR, SWEPT_AT_ONCE).await
    }

    /// Returns the link with this token hash that has this page, used and expired ones too.
    pub async fn mail_link(
        &mut self,
        token_hash: &SecretHash,
        page: LinkKind,
    ) -> Result<Option<MailLink>> {
        let link = sql!(
            self,
            fetch_optional: MailLink,
            "SELECT {columns} FROM mail_links WHERE token_hash = $1",
            token_hash,
        )?;
        Ok(link.filter(|link: &MailLink| link.kind.page() == page))
    }

    /// Returns the newest links of a customer, at most `most`.
    pub async fn mail_links_of(&mut self, id: &CustomerId, most: i64) -> Result<Vec<MailLink>> {
        sql!(
            self,
            fetch_all: MailLink,
            "SELECT {columns} FROM mail_links WHERE customer_id = $1
             ORDER BY created_at DESC, token_hash LIMIT $2",
            id,
            most,
        )
    }

    /// Deletes the links of a customer that were not used, except those that undo a change of the
    /// address while the former address is reserved: a thief must not end them. The used ones are
    /// kept, so that their holders are told why they do not work.
    pub async fn delete_unused_mail_links(&mut self, customer_id: &CustomerId) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM mail_links WHERE customer_id = $1 AND used_at IS NULL
               AND (kind <> $2 OR email NOT IN (
                   SELECT email FROM former_addresses WHERE customer_id = $1))",
            customer_id,
            LinkKind::Undo,
        )?;
        Ok(())
    }

    /// Marks a link as used. Returns false, and writes nothing, if it was used before or has
    /// expired: of several uses at once, one gets true.
    pub async fn use_mail_link(&mut self, token_hash: &SecretHash, now: Timestamp) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE mail_links SET used_at = $2
             WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2",
            token_hash,
            now,
        )?;
        Ok(updated > 0)
    }
}
