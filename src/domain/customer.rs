//! Customers, who are billed and licensed, and their users, who log in: one of each, always.

use crate::domain::column::row;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::stripe_ids::StripeCustomerId;
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
        /// Whether Stripe knows what this record says; none while there is nobody at Stripe.
        pub stripe_sync_status: Option<SyncStatus>,
        /// When they signed up.
        pub created_at: Timestamp,
        /// When this record changed last.
        pub updated_at: Timestamp,
    }
}

text_enum! {
    /// Whether Stripe knows a customer's name and address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum SyncStatus {
        /// They changed here, and Stripe is to be told.
        Due = "due",
        /// Stripe was told.
        Synced = "synced",
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
