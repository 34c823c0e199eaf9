//! The rows of the outbox: mails to send. Their texts are in [`crate::domain::message`].

use crate::domain::column::row;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, LicenseId, MailId};
use crate::domain::message::Kind;
use crate::domain::queue::{Leased, Queue};
use crate::domain::time::Timestamp;

/// The recipient of a new mail, and what it is about.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// The customer, about a license.
    License(&'a CustomerId, &'a LicenseId),
    /// The customer, about the account.
    Customer(&'a CustomerId),
    /// Another address of the customer: a new or a former one. It is removed once the mail is sent.
    Other(&'a CustomerId, &'a Email),
    /// This address, which may belong to no customer. The mail is deleted once it is sent, so that
    /// no address is kept.
    Address(&'a Email),
}

impl<'a> To<'a> {
    /// Returns the customer.
    #[must_use]
    pub fn customer_id(self) -> Option<&'a CustomerId> {
        match self {
            Self::License(id, _) | Self::Customer(id) | Self::Other(id, _) => Some(id),
            Self::Address(_) => None,
        }
    }

    /// Returns the license.
    #[must_use]
    pub fn license_id(self) -> Option<&'a LicenseId> {
        if let Self::License(_, id) = self { Some(id) } else { None }
    }

    /// Returns the address, if it is not the customer's.
    #[must_use]
    pub fn recipient(self) -> Option<&'a Email> {
        match self {
            Self::Other(_, email) | Self::Address(email) => Some(email),
            Self::License(..) | Self::Customer(_) => None,
        }
    }
}

/// A new mail.
#[derive(Debug)]
pub struct NewMail<'a> {
    /// The id, also used as the Message-ID.
    pub mail_id: MailId,
    /// The event that the mail reports.
    pub kind: Kind,
    /// The recipient.
    pub to: To<'a>,
}

row! {
    /// A mail that a worker has leased to send it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LeasedMail {
        /// The id, also used as the Message-ID.
        pub mail_id: MailId,
        /// The customer; `None` for a mail to an address without one.
        pub customer_id: Option<CustomerId>,
        /// The license that the mail is about.
        pub license_id: Option<LicenseId>,
        /// The address, if it is not the customer's.
        pub recipient: Option<Email>,
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
    /// A mail to a customer, in any state.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredMail {
        /// The id.
        pub mail_id: MailId,
        /// The license that the mail is about.
        pub license_id: Option<LicenseId>,
        /// The event that the mail reports: a [`Kind`], perhaps of a newer version.
        pub kind: String,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The number of attempts.
        pub attempts: i64,
        /// The time at which it was accepted.
        pub sent_at: Option<Timestamp>,
        /// The time at which it was given up.
        pub given_up_at: Option<Timestamp>,
        /// The code of the last failure.
        pub last_error: Option<String>,
    }
}

row! {
    /// A mail that was given up.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GivenUpMail {
        /// The id.
        pub mail_id: MailId,
        /// The customer; `None` for a mail to an address without one.
        pub customer_id: Option<CustomerId>,
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
