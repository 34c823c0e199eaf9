//! Customers, which are billed and licensed, and users, which log in. Each customer has exactly one
//! user. How changes are sent to Stripe is in `flows/sale/stripe_customer.rs`.

use crate::domain::column::row;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::message::Language;
use crate::domain::sale::stripe_ids::{InvoiceId, StripeCustomerId};
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

row! {
    /// A customer, as far as flows need it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Customer {
        /// The id.
        pub customer_id: CustomerId,
        /// The user of the customer.
        pub user_id: UserId,
        /// The email address, for the login, licenses and invoices.
        pub email: Email,
        /// The time at which the address was verified; `None` if it was not.
        pub email_verified_at: Option<Timestamp>,
        /// The new address, which replaces `email` once it is confirmed; `None` if none waits.
        pub pending_email: Option<Email>,
        /// The person's name.
        pub name: Option<DisplayName>,
        /// The company's name.
        pub company_name: Option<DisplayName>,
        /// The time at which a change of the address was undone, until a mailed link sets a
        /// password.
        pub reset_required_at: Option<Timestamp>,
        /// The language of mails; `None` is the server's.
        pub language: Option<Language>,
        /// The Stripe customer; `None` if there is none yet. Customers never see it.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// The changes that are not sent to Stripe yet. `None` without a Stripe customer.
        pub stripe_sync_status: Option<SyncStatus>,
        /// The newest invoice that is closed together with every older one: a sync need not fetch
        /// them again.
        pub stripe_closed_invoice_id: Option<InvoiceId>,
        /// The time of the sign-up.
        pub created_at: Timestamp,
        /// The time of the last change of this row.
        pub updated_at: Timestamp,
    }
}

row! {
    /// An address that a customer had before. The link in the mail to it undoes the change.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FormerAddress {
        /// The customer.
        pub customer_id: CustomerId,
        /// The address.
        pub email: Email,
        /// The number of the change, counted for each customer.
        pub seq: i64,
        /// The time at which it was verified; `None` if it was not.
        pub email_verified_at: Option<Timestamp>,
        /// Until when no other customer can have the address.
        pub reserved_until: Timestamp,
    }
}

text_enum! {
    /// The fields of a customer that changed and must still be sent to Stripe. Only changed fields
    /// are sent. Otherwise a new name would overwrite a newer email address at Stripe.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SyncStatus {
        /// No field.
        Synced = "synced",
        /// The name.
        NameDue = "name_due",
        /// The email address.
        EmailDue = "email_due",
        /// The name and the email address.
        Due = "due",
        /// The company's name.
        CompanyDue = "company_due",
        /// The name and the company's.
        NameAndCompanyDue = "name_and_company_due",
        /// The email address and the company's name.
        EmailAndCompanyDue = "email_and_company_due",
        /// Every field.
        AllDue = "all_due",
    }
}

/// The fields that must still be sent to Stripe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueFields {
    /// The name that Stripe shows.
    pub name: bool,
    /// The email address.
    pub email: bool,
    /// The company's name, which invoices show.
    pub company: bool,
}

impl SyncStatus {
    /// Returns the status in which these fields are due.
    #[must_use]
    pub fn of(DueFields { name, email, company }: DueFields) -> Self {
        match (name, email, company) {
            (false, false, false) => Self::Synced,
            (true, false, false) => Self::NameDue,
            (false, true, false) => Self::EmailDue,
            (true, true, false) => Self::Due,
            (false, false, true) => Self::CompanyDue,
            (true, false, true) => Self::NameAndCompanyDue,
            (false, true, true) => Self::EmailAndCompanyDue,
            (true, true, true) => Self::AllDue,
        }
    }

    /// Returns the fields that are due.
    #[must_use]
    pub fn fields(self) -> DueFields {
        use SyncStatus::{
            AllDue, CompanyDue, Due, EmailAndCompanyDue, EmailDue, NameAndCompanyDue, NameDue,
        };
        DueFields {
            name: matches!(self, NameDue | Due | NameAndCompanyDue | AllDue),
            email: matches!(self, EmailDue | Due | EmailAndCompanyDue | AllDue),
            company: matches!(self, CompanyDue | NameAndCompanyDue | EmailAndCompanyDue | AllDue),
        }
    }

    /// Returns the status in which each field is due that is due in either of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (one, other) = (self.fields(), other.fields());
        Self::of(DueFields {
            name: one.name || other.name,
            email: one.email || other.email,
            company: one.company || other.company,
        })
    }
}

impl Customer {
    /// Returns whether the email address is verified. Only then may a mail to it contain a text
    /// that was typed here (security_34).
    #[must_use]
    pub fn is_email_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }

    /// Returns the address that waits for its confirmation: the new one, or else the present one if
    /// it is not verified.
    #[must_use]
    pub fn unverified_email(&self) -> Option<&Email> {
        let present = (!self.is_email_verified()).then_some(&self.email);
        self.pending_email.as_ref().or(present)
    }

    /// Returns the name that Stripe shows: the person's, or else the company's.
    #[must_use]
    pub fn stripe_name(&self) -> Option<&str> {
        self.name.as_ref().or(self.company_name.as_ref()).map(DisplayName::as_str)
    }

    /// Returns the fields that must be sent to Stripe, if Stripe has the record `before`.
    #[must_use]
    pub fn due_since(&self, before: &Self) -> SyncStatus {
        SyncStatus::of(DueFields {
            name: self.stripe_name() != before.stripe_name(),
            email: self.email != before.email,
            company: self.company_name != before.company_name,
        })
    }

    /// Returns the fields that are still due after the due fields of `sent` were sent to Stripe.
    /// `None` without a Stripe customer.
    #[must_use]
    pub fn due_after(&self, sent: &Self) -> Option<SyncStatus> {
        let due = self.stripe_sync_status?.fields();
        let was_due = sent.stripe_sync_status?.fields();
        let changed = self.due_since(sent).fields();
        Some(SyncStatus::of(DueFields {
            name: due.name && (changed.name || !was_due.name),
            email: due.email && (changed.email || !was_due.email),
            company: due.company && (changed.company || !was_due.company),
        }))
    }
}

/// The trials that an address has had, with an account that has it no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerTrials {
    /// Whether it has had one here.
    pub here: bool,
    /// Whether it has had one at Stripe.
    pub at_stripe: bool,
}

/// A customer to create, with its user. There is no `Debug`: the password hash is a secret.
pub struct NewAccount {
    /// The new user.
    pub user_id: UserId,
    /// The new customer.
    pub customer_id: CustomerId,
    /// The email address, which is also the login.
    pub email: Email,
    /// The password hash, a PHC string.
    pub password_hash: String,
    /// The person's name.
    pub name: Option<DisplayName>,
    /// The company's name.
    pub company_name: Option<DisplayName>,
    /// The time at which the address was verified; `None` if it was not.
    pub email_verified_at: Option<Timestamp>,
    /// The language of mails; `None` is the server's.
    pub language: Option<Language>,
}
