//! The outbox: mails to send. A worker leases a mail before it sends it. The lease has a fencing
//! token, so that a worker whose lease has expired cannot write. Leases, retries and counts are in
//! `queue.rs`.

use super::Tx;
use super::statement::sql;
use crate::domain::column::Parameter;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, MailId};
use crate::domain::outbox::{GivenUpMail, LeasedMail, NewMail, StoredMail};
use crate::domain::page::PageRequest;
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// Inserts a mail that is due now, in the transaction of the change that it reports. Returns
    /// false, and inserts nothing, if there is a mail with its `once_key`.
    pub async fn insert_mail(&mut self, mail: NewMail<'_>, now: Timestamp) -> Result<bool> {
        let inserted = sql!(
            self,
            execute,
            "INSERT INTO outbox
                 (mail_id, customer_id, license_id, order_id, recipient, language, kind, once_key,
                  created_at, due_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
             ON CONFLICT (once_key) DO NOTHING",
            mail.mail_id,
            mail.to.customer_id(),
            mail.to.license_id(),
            mail.order_id,
            mail.to.recipient(),
            mail.to.language(),
            mail.kind,
            mail.once_key,
            now,
        )?;
        Ok(inserted > 0)
    }

    /// Returns whether there is a mail with this key.
    pub async fn has_mail(&mut self, once_key: &str) -> Result<bool> {
        let row = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT COUNT(*) FROM outbox WHERE once_key = $1",
            once_key,
        )?;
        Ok(row.is_some_and(|(count,)| count > 0))
    }

    /// Records that a mail was accepted, or needs not be sent. An address of its own is removed,
    /// and a mail without a customer is deleted. Returns whether the lease still held.
    pub async fn mail_sent(&mut self, mail: &LeasedMail, now: Timestamp) -> Result<bool> {
        if mail.customer_id.is_none() {
            let deleted = sql!(
                self,
                execute,
                "DELETE FROM outbox WHERE mail_id = $1 AND fence = $2 AND sent_at IS NULL",
                mail.mail_id,
                mail.fence,
            )?;
            return Ok(deleted > 0);
        }
        let attempts = ("attempts", (mail.attempts + 1).to_value());
        self.done(mail, vec![attempts, ("recipient", None::<Email>.to_value())], now).await
    }

    /// Returns the mails to a customer, newest first, for one page.
    pub async fn mails_of(
        &mut self,
        id: &CustomerId,
        request: &PageRequest,
    ) -> Result<Vec<StoredMail>> {
        let (at, mail_id) = request.before();
        sql!(
            self,
            fetch_all: StoredMail,
            "SELECT {columns} FROM outbox
             WHERE customer_id = $1 AND (created_at, mail_id) < ($2, $3)
             ORDER BY created_at DESC, mail_id DESC LIMIT $4",
            id,
            at,
            mail_id,
            request.rows(),
        )
    }

    /// Returns the mails that were given up, oldest first, at most `most`.
    pub async fn given_up_mails(&mut self, most: i64) -> Result<Vec<GivenUpMail>> {
        sql!(
            self,
            fetch_all: GivenUpMail,
            "SELECT mail_id, customer_id, kind, given_up_at, last_error FROM outbox
             WHERE given_up_at IS NOT NULL ORDER BY given_up_at, mail_id LIMIT $1",
            most,
        )
    }

    /// Makes a mail that was given up due now. Returns false if it is not given up.
    pub async fn retry_mail(&mut self, id: &MailId, now: Timestamp) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE outbox SET given_up_at = NULL, due_at = $2, attempts = 0
             WHERE mail_id = $1 AND given_up_at IS NOT NULL",
            id,
            now,
        )?;
        Ok(updated > 0)
    }
}
