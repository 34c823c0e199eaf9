//! The outbox: mail that is due, and who is sending it. A worker leases what it sends; the lease
//! carries a number that counts up, so that a worker which slept past its lease cannot write.

use super::Tx;
use super::statement::sql;
use crate::domain::column::Parameter;
use crate::domain::outbox::{LeasedMail, NewMail};
use crate::domain::time::Timestamp;
use crate::error::Result;

impl Tx {
    /// Writes a mail that is due now, in the transaction of what it tells.
    pub async fn insert_mail(&mut self, mail: NewMail<'_>, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO outbox (mail_id, customer_id, license_id, kind, created_at, due_at)
             VALUES ($1, $2, $3, $4, $5, $5)",
            mail.mail_id,
            mail.customer_id,
            mail.license_id,
            mail.kind,
            now,
        )?;
        Ok(())
    }

    /// Notes that a mail was accepted. Returns whether the lease still held.
    pub async fn mail_sent(&mut self, mail: &LeasedMail, now: Timestamp) -> Result<bool> {
        self.done(mail, vec![("attempts", (mail.attempts + 1).to_value())], now).await
    }
}
