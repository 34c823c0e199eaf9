//! The outbox: mail that is due, and who is sending it. A worker leases what it sends; the lease
//! carries a number that counts up, so that a worker which slept past its lease cannot write.

use super::{Tx, due, row, sql};
use crate::domain::ids::{CustomerId, LicenseId, MailId};
use crate::domain::message::Kind;
use crate::domain::retry::Due;
use crate::domain::time::Timestamp;
use crate::error::Result;

/// A mail that is about to be due.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// Its own id, and its Message-ID.
    pub mail_id: MailId,
    /// Who gets it.
    pub customer_id: &'a CustomerId,
    /// What it carries.
    pub license_id: &'a LicenseId,
    /// What it is about.
    pub kind: Kind,
}

row! {
    /// A mail that this worker may send until its lease ends.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedMail {
        /// Its own id, and its Message-ID.
        pub mail_id: MailId,
        /// Who gets it.
        pub customer_id: CustomerId,
        /// What it carries.
        pub license_id: LicenseId,
        /// What it is about: a [`Kind`], or one of a newer version.
        pub kind: String,
        /// When it was written.
        pub created_at: Timestamp,
        /// How often it was tried before.
        pub attempts: i64,
        /// The number of this lease.
        pub fence: i64,
    }
}

row! {
    /// A mail that was given up.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GivenUpMail {
        /// Its own id.
        pub mail_id: MailId,
        /// Who should have received it.
        pub customer_id: CustomerId,
        /// What it is about: a [`Kind`], or one of a newer version.
        pub kind: String,
        /// When it was given up.
        pub given_up_at: Timestamp,
        /// The code of the last failure.
        pub last_error: Option<String>,
    }
}

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

    /// How many mails wait, those that were not accepted yet among them, and how many were given up.
    pub async fn count_mails(&mut self) -> Result<(i64, i64)> {
        sql!(
            self,
            fetch_one: (i64, i64),
            "SELECT (SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL AND given_up_at IS NULL),
                    (SELECT COUNT(*) FROM outbox WHERE given_up_at IS NOT NULL)",
        )
    }

    /// Whether anything is due, without writing.
    pub async fn has_due_mail(&mut self, now: Timestamp) -> Result<bool> {
        let due = Due::at(now);
        let found = sql!(
            self,
            fetch_optional: (i64,),
            concat!(
                "SELECT attempts FROM outbox
                 WHERE sent_at IS NULL AND given_up_at IS NULL AND ",
                due!("created_at"),
                " LIMIT 1"
            ),
            due.now,
            due.latest,
            due.latest_fresh,
            due.fresh_since,
            due.latest_lease,
        )?;
        Ok(found.is_some())
    }

    /// Leases what is due, `most` at the most, the oldest first.
    pub async fn lease_mail(&mut self, now: Timestamp, most: i64) -> Result<Vec<LeasedMail>> {
        let due = Due::at(now);
        // The conditions stand twice: of two workers that chose the same rows, the second looks
        // again when it gets the row.
        sql!(
            self,
            fetch_all: LeasedMail,
            concat!(
                "UPDATE outbox SET leased_until = $6, fence = fence + 1
                 WHERE sent_at IS NULL AND given_up_at IS NULL AND ",
                due!("created_at"),
                " AND mail_id IN (
                     SELECT mail_id FROM outbox
                     WHERE sent_at IS NULL AND given_up_at IS NULL AND ",
                due!("created_at"),
                " ORDER BY due_at LIMIT $7)
                 RETURNING mail_id, customer_id, license_id, kind, created_at, attempts, fence"
            ),
            due.now,
            due.latest,
            due.latest_fresh,
            due.fresh_since,
            due.latest_lease,
            due.until,
            most,
        )
    }

    /// Notes that a mail was accepted. Answers whether the lease still held.
    pub async fn mail_sent(&mut self, mail: &LeasedMail, now: Timestamp) -> Result<bool> {
        let written = sql!(
            self,
            execute,
            "UPDATE outbox SET sent_at = $3, leased_until = NULL, last_error = NULL,
                 attempts = attempts + 1
             WHERE mail_id = $1 AND fence = $2 AND sent_at IS NULL",
            &mail.mail_id,
            mail.fence,
            now,
        )?;
        Ok(written > 0)
    }

    /// Notes that a mail was not accepted, and when to try again; never, if `due` is `None`.
    pub async fn mail_failed(
        &mut self,
        mail: &LeasedMail,
        error: &str,
        due: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE outbox SET leased_until = NULL, last_error = $3, attempts = attempts + 1,
                 due_at = COALESCE($4, due_at),
                 given_up_at = CASE WHEN CAST($4 AS BIGINT) IS NULL THEN CAST($5 AS BIGINT) END
             WHERE mail_id = $1 AND fence = $2 AND sent_at IS NULL",
            &mail.mail_id,
            mail.fence,
            error,
            due,
            now,
        )?;
        Ok(())
    }

    /// Returns the mails that were given up, the oldest first, `most` at the most.
    pub async fn given_up_mails(&mut self, most: i64) -> Result<Vec<GivenUpMail>> {
        sql!(
            self,
            fetch_all: GivenUpMail,
            "SELECT mail_id, customer_id, kind, given_up_at, last_error FROM outbox
             WHERE given_up_at IS NOT NULL ORDER BY given_up_at, mail_id LIMIT $1",
            most,
        )
    }

    /// Makes a mail due again that was given up. Returns whether it still was.
    pub async fn retry_mail(&mut self, id: &MailId, now: Timestamp) -> Result<bool> {
        let written = sql!(
            self,
            execute,
            "UPDATE outbox SET given_up_at = NULL, due_at = $2, attempts = 0
             WHERE mail_id = $1 AND given_up_at IS NOT NULL",
            id,
            now,
        )?;
        Ok(written > 0)
    }
}
