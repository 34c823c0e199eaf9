//! The rows of the outbox: mails to send. Their texts are in [`crate::domain::message`].

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, LicenseId, MailId};
use crate::domain::message::Kind;
use crate::domain::queue::{Leased, Queue};
use crate::domain::time::Timestamp;

/// A new mail.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// The id, also used as the Message-ID.
    pub mail_id: MailId,
    /// The recipient.
    pub customer_id: &'a CustomerId,
    /// The license that the mail is about.
    pub license_id: &'a LicenseId,
    /// The event that the mail reports.
    pub kind: Kind,
}

row! {
    /// A mail that a worker has leased to send it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedMail {
        /// The id, also used as the Message-ID.
        pub mail_id: MailId,
        /// The recipient.
        pub customer_id: CustomerId,
        /// The license that the mail is about.
        pub license_id: LicenseId,
        /// The event that the mail reports: a [`Kind`], perhaps of a newer version.
        pub kind: String,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The number of failed attempts.
        pub attempts: i64,
        /// The fencing token of the lease.
        pub fence: i64,
    }
}

row! {
    /// A mail that was given up.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GivenUpMail {
        /// The id.
        pub mail_id: MailId,
        /// The intended recipient.
        pub customer_id: CustomerId,
        /// The event that the mail reports: a [`Kind`], perhaps of a newer version.
        pub kind: String,
        /// The time at which it was given up.
        pub given_up_at: Timestamp,
        /// The code of the last failure.
        pub last_error: Option<String>,
    }
}

impl Leased for LeasedMail {
    const QUEUE: Queue = Queue {
        table: "outbox",
        id: "mail_id",
        since: "created_at",
        done: "sent_at",
        kept_for: None,
    };

    fn id(&self) -> &str {
        self.mail_id.as_str()
    }

    fn since(&self) -> Timestamp {
        self.created_at
    }

    fn fence(&self) -> i64 {
        self.fence
    }
}
