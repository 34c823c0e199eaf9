//! What the outbox keeps: mails that are due.

use crate::domain::column::row;
use crate::domain::ids::{CustomerId, LicenseId, MailId};
use crate::domain::message::Kind;
use crate::domain::queue::{Leased, Queue};
use crate::domain::time::Timestamp;

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

impl Leased for LeasedMail {
    const QUEUE: Queue = Queue {
        table: "outbox",
        id: "mail_id",
        since: "created_at",
        done: "sent_at",
        kept_seconds: None,
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
