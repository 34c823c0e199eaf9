//! Customers, who are billed and licensed, and their users, who log in: one of each, always.

use crate::domain::column::row;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

row! {
    /// A customer, as far as flows need it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Customer {
        /// The id that everything else uses.
        pub customer_id: CustomerId,
        /// Who logs in.
        pub user_id: UserId,
        /// Where licenses and bills go.
        pub email: Email,
        /// The person's name.
        pub name: Option<DisplayName>,
        /// The company's name.
        pub company_name: Option<DisplayName>,
        /// The customer at Stripe; none before the first checkout. Never shown to them.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// What of this record Stripe does not have yet. `None` without a Stripe customer.
        pub stripe_sync_status: Option<SyncStatus>,
        /// When they signed up.
        pub created_at: Timestamp,
        /// When this record changed last.
        pub updated_at: Timestamp,
    }
}

text_enum! {
    /// What of a customer's record is still to be sent to Stripe. Only what changed here is sent, so
    /// that a new name does not write an old email address back.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SyncStatus {
        /// Nothing.
        Synced = "synced",
        /// The name.
        NameDue = "name_due",
        /// The email address.
        EmailDue = "email_due",
        /// The name and the email address.
        Due = "due",
    }
}

impl SyncStatus {
    /// Returns the status in which these fields are due.
    #[must_use]
    pub fn due(name: bool, email: bool) -> Self {
        match (name, email) {
            (false, false) => Self::Synced,
            (true, false) => Self::NameDue,
            (false, true) => Self::EmailDue,
            (true, true) => Self::Due,
        }
    }

    /// Whether the name is due.
    #[must_use]
    pub fn is_name_due(self) -> bool {
        matches!(self, Self::NameDue | Self::Due)
    }

    /// Whether the email address is due.
    #[must_use]
    pub fn is_email_due(self) -> bool {
        matches!(self, Self::EmailDue | Self::Due)
    }

    /// Returns the status in which everything is due that is due in one of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::due(
            self.is_name_due() || other.is_name_due(),
            self.is_email_due() || other.is_email_due(),
        )
    }
}

impl Customer {
    /// Returns the name that Stripe shows: the person's, or else the company's.
    #[must_use]
    pub fn stripe_name(&self) -> Option<&str> {
        self.name.as_ref().or(self.company_name.as_ref()).map(DisplayName::as_str)
    }

    /// Returns what Stripe must be told, if it knows the record as it was before.
    #[must_use]
    pub fn due_since(&self, before: &Self) -> SyncStatus {
        let is_name_new = self.stripe_name() != before.stripe_name();
        SyncStatus::due(is_name_new, self.email != before.email)
    }

    /// Returns what is still due after the record `sent` was sent to Stripe, as far as it was due.
    #[must_use]
    pub fn due_after(&self, sent: &Self) -> Option<SyncStatus> {
        let (due, was_due) = (self.stripe_sync_status?, sent.stripe_sync_status?);
        let changed = self.due_since(sent);
        Some(SyncStatus::due(
            due.is_name_due() && (changed.is_name_due() || !was_due.is_name_due()),
            due.is_email_due() && (changed.is_email_due() || !was_due.is_email_due()),
        ))
    }
}

/// A user and customer that are about to exist. No `Debug`: the password's hash is a secret.
pub struct NewAccount {
    /// The new user.
    pub user_id: UserId,
    /// The new customer.
    pub customer_id: CustomerId,
    /// The login, and where mail goes.
    pub email: Email,
    /// The password's hash, a PHC string.
    pub password_hash: String,
    /// The person's name.
    pub name: Option<DisplayName>,
    /// The company's name.
    pub company_name: Option<DisplayName>,
    /// When the address was found to be theirs, if it was.
    pub email_verified_at: Option<Timestamp>,
}
