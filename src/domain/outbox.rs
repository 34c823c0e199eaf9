//! The rows of the outbox: mails to send. Their texts are in [`crate::domain::message`].

use crate::domain::account::customer::Customer;
use crate::domain::column::row;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, LicenseId, MailId, OrderId};
use crate::domain::message::{Kind, Language};
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
    /// The address of a customer that is being deleted.
    Former(&'a Customer),
}

impl<'a> To<'a> {
    /// Returns the customer.
    #[must_use]
    pub fn customer_id(self) -> Option<&'a CustomerId> {
        match self {
            Self::License(id, _) | Self::Customer(id) | Self::Other(id, _) => Some(id),
            Self::Address(_) | Self::Former(_) => None,
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
            Self::License(..) | Self::Customer(_) => None,
            Self::Other(_, email) | Self::Address(email) => Some(email),
            Self::Former(customer) => Some(&customer.email),
        }
    }

    /// Returns the language, if it is not the customer's.
    #[must_use]
    pub fn language(self) -> Option<Language> {
        if let Self::Former(customer) = self { customer.language } else { None }
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
    /// The order that the mail reports.
    pub order_id: Option<&'a OrderId>,
    /// Names the occasion of a mail that is sent once: the kind, the customer, and a time.
    pub once_key: Option<String>,
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
        /// The order that the mail reports.
        pub order_id: Option<OrderId>,
        /// The address, if it is not the customer's.
        pub recipient: Option<Email>,
        /// The language, if it is not the customer's.
        pub language: Option<Language>,
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
        waits_for: None,
        obeys_retry_after: false,
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
